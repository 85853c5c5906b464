"""Resumable pieces of a dataset: receipts, and the manifest made from them.

A part writes its clips (each atomically), then one receipt that names them with their hashes. A receipt counts only
while its key (inputs, options, model) is the one asked for and its files are what it says. Manifests are always written
from all receipts, sorted, so an interrupted and resumed build gives the same bytes as an uninterrupted one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tts_train.audio import Audio, write_audio
from tts_train.clip import Clip, Rejection
from tts_train.dataset import CARD, Card, load_card
from tts_train.errors import ConfigError, InputUnusable
from tts_train.files import TEMPORARY, atomic_write_bytes, read_json, sha256_file, write_json
from tts_train.yaml_config import load_yaml, validate

MANIFEST = "train_manifest.jsonl"
REJECTIONS = "rejections.jsonl"


@dataclass
class Part:
    """What one piece of work produced; `files` maps names inside the dataset to their sha256."""

    clips: list[Clip] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def keep(self, out: Path, clip: Clip, audio: Audio) -> None:
        """Write a clip's audio and take it in."""
        self._write(out, clip.audio_file, audio)
        self.clips.append(clip)

    def reject(self, out: Path, rejection: Rejection, audio: Audio | None) -> None:
        """Take a rejection in, with its playable clip if there is audio."""
        if audio is not None and rejection.audio_file:
            self._write(out, rejection.audio_file, audio)
        self.rejections.append(rejection)

    def _write(self, out: Path, name: str, audio: Audio) -> None:
        write_audio(out / name, audio)
        self.files[name] = sha256_file(out / name)


def claim(out: Path, name: str, identity: str) -> None:
    """Mark the folder as made from one source. Raises ConfigError when it holds another source's dataset."""
    place = out / "parts" / "source.json"
    if place.is_file():
        known = read_json(place)
        if known["identity"] != identity:
            raise ConfigError(
                f"{out} was built from {known['name']}, not from this {name}",
                hint="choose another output folder, or delete this one",
            )
    elif (out / MANIFEST).exists():
        raise ConfigError(f"{out} holds a manifest that was not made here", hint="choose another output folder")
    write_json(place, {"name": name, "identity": identity})


def card_of(out: Path, card: Path | None) -> Card:
    """The card that is given, or the one that is there; nothing is written yet. Raises ConfigError."""
    if card is not None:
        if not card.is_file():
            raise ConfigError(f"{card} is not a file", hint="--card names a dataset.yaml")
        return validate(Card, load_yaml(card), card)
    if not (out / CARD).is_file():
        raise ConfigError(
            f"{out} has no {CARD}, so nobody could say whose voice this is and why it may be used",
            hint="--card FILE with source, licence, speaker, consent_basis and language; see references/formats.md",
        )
    return load_card(out)


def place_card(out: Path, card: Path | None) -> None:
    """Copy a card that `card_of` has read into the dataset. The caller holds the dataset's lock."""
    if card is not None and card.resolve() != (out / CARD).resolve():
        atomic_write_bytes(out / CARD, card.read_bytes())


def load_part(out: Path, name: str, key: str) -> Part | None:
    """The part of a receipt, or None when it must be worked (again)."""
    place = out / "parts" / f"{name}.json"
    if not place.is_file():
        return None
    receipt = read_json(place)
    if receipt["key"] != key or not all(_is_whole(out / file, digest) for file, digest in receipt["files"].items()):
        return None
    return _part(receipt)


def _part(receipt: Mapping[str, Any]) -> Part:
    return Part(
        [Clip(**row) for row in receipt["clips"]], [Rejection(**row) for row in receipt["rejections"]], receipt["files"]
    )


def save_part(out: Path, name: str, key: str, part: Part) -> None:
    """Publish the receipt: from now on the part is done."""
    clips, rejections = [asdict(clip) for clip in part.clips], [asdict(item) for item in part.rejections]
    write_json(
        out / "parts" / f"{name}.json", {"key": key, "clips": clips, "rejections": rejections, "files": part.files}
    )


def all_parts(out: Path) -> dict[str, Part]:
    """Every part that has a receipt, whatever its key: the dataset as it was last built.

    Raises ConfigError for a folder that no station of this product has built.
    """
    places = sorted((out / "parts").glob("part-*.json"))
    if not places:
        raise ConfigError(f"{out} has no receipts in parts/", hint="name a dataset folder that ingest has built")
    return {place.stem: _part(read_json(place)) for place in places}


def refuse_if_poor(result: Mapping[str, Any], total_seconds: float, max_rejected: float, out: Path) -> None:
    """Raise InputUnusable when nothing or too little was kept; everything written stays."""
    share = result["rejected_seconds"] / total_seconds if total_seconds else 1.0
    if result["clips"] and share <= max_rejected:
        return
    what = f"{share:.0%} of the seconds were rejected" if result["clips"] else "no clip is left"
    raise InputUnusable(
        f"{what} ({_counts(result['rejected'])}); the limit is {max_rejected:.0%}",
        hint=f"{out / REJECTIONS} names every rejected clip with its reason and audio; --max-rejected sets the limit",
    )


def reasons(rejections: Iterable[Rejection]) -> dict[str, int]:
    """Rejections counted by reason."""
    return dict(sorted(Counter(item.reason for item in rejections).items()))


def slug(name: str) -> str:
    """A file name's safe, short form for clip ids."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "clip"


def _counts(rejected: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in rejected.items()) or "nothing was found"


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_file(path) == digest


def remove_strays(out: Path, parts: Mapping[str, Part]) -> None:
    """Files and receipts of an earlier plan, and temporary files of writers that died."""
    named = {file for part in parts.values() for file in part.files}
    for folder in ("clips", "rejected"):
        for path in (out / folder).glob("*"):
            if f"{folder}/{path.name}" not in named:
                path.unlink()
    for path in (out / "parts").glob("part-*.json"):
        if path.stem not in parts:
            path.unlink()
    for path in (out / "parts").glob(f"{TEMPORARY}*"):
        path.unlink()
