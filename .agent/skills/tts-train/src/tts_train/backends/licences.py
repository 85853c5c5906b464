"""Licences of base weights, as far as files say: whoever ships a voice passes its base's terms on.

Nothing here is guessed from a model's name alone unless the family has one publisher: what is not on record is
"unknown", and the model card says that it has to be looked up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

UNKNOWN = "unknown"
_TEXT = 1 << 16
"""Bytes of a licence or card that are looked at."""
_TITLES = {
    r"Apache License\s+Version 2\.0": "Apache-2.0",
    r"Coqui Public Model License": "Coqui Public Model License",
    r"\bMIT License\b": "MIT",
    r"CC0 1\.0 Universal": "CC0-1.0",
}


@dataclass(frozen=True)
class Licence:
    """Terms of a base's weights. `commercial` None: its licence does not say, or is not known."""

    name: str
    link: str = ""
    commercial: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class PackedBase:
    """What of a base a shipped voice needs, and under which terms."""

    name: str
    """For people: as its publisher calls it, never a path of this machine."""
    files: tuple[Path, ...]
    """To be copied side by side, under their own names."""
    path: str | None
    """What `load_speaker` takes as the base among the copies: a file's name, "." for their folder; None: no base."""
    licence: Licence


def licence_files(folder: Path) -> tuple[Path, ...]:
    """LICENSE, NOTICE and the like: most licences want their text beside the weights."""
    return tuple(path for path in sorted(folder.iterdir()) if path.is_file() and path.stem in ("LICENSE", "NOTICE"))


def named_in(files: tuple[Path, ...]) -> str:
    """The licence whose title one of the files bears, else "unknown"."""
    for file in files:
        text = _start(file)
        for title, name in _TITLES.items():
            if re.search(title, text, re.IGNORECASE):
                return name
    return UNKNOWN


def from_piper_card(card: Path) -> Licence:
    """What a Piper voice's MODEL_CARD says of its data's licence, and from which voice it was fine-tuned."""
    text = _start(card) if card.is_file() else ""
    fields = {name.lower(): value.strip() for name, value in re.findall(r"^\* +(\w+): *(.+)$", text, re.MULTILINE)}
    name = fields.get("license", UNKNOWN)
    tuned = re.search(r"^.*\bfine-?tuned from\b.*$", text, re.IGNORECASE | re.MULTILINE)
    note = f"Its card: “{tuned[0].strip()}” That voice's own terms apply to it as well." if tuned else ""
    free = name.upper().replace(" ", "-") in ("CC0", "CC0-1.0", "PUBLIC-DOMAIN")
    return Licence("CC0-1.0" if free else name, fields.get("url", ""), True if free and not tuned else None, note)


def _start(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(_TEXT).decode("utf-8", errors="replace")
