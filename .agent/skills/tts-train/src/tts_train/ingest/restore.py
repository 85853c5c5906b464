"""Taking rejected clips back: parts/restored.json lists ids that stay whatever a filter or a station says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from tts_train.clip import Clip, Rejection
from tts_train.dataset import load_card
from tts_train.files import read_json, write_json
from tts_train.ingest.parts import Part

RESTORED = "restored.json"
_NOT_MEASURES = {"step", "chapter", "line", "message"}
"""Of a rejection's numbers: what is said of the rejection and not of the sound."""


def restored(out: Path) -> dict[str, str]:
    """Id → the reason that the clip was once rejected for."""
    place = out / "parts" / RESTORED
    return dict(read_json(place)["ids"]) if place.is_file() else {}


def save_restored(out: Path, ids: Mapping[str, str]) -> None:
    """Publish the list."""
    write_json(out / "parts" / RESTORED, {"ids": dict(sorted(ids.items()))})


def divided(out: Path, done: Mapping[str, Part], back: Collection[str]) -> tuple[list[Clip], list[Rejection]]:
    """The stations' rejections: those taken back as clips, and the others."""
    rejections = [item for part in done.values() for item in part.rejections]
    taken = [item for item in rejections if item.id in back and can_return(item)]
    if not taken:
        return [], rejections
    first = next((clip for part in done.values() for clip in part.clips), None)
    card = load_card(out)
    speaker, language = (first.speaker, first.language) if first else (card.speaker, card.language)
    ids = {item.id for item in taken}
    clips = [_as_clip(item, speaker, language) for item in taken]
    return clips, [item for item in rejections if item.id not in ids]


def can_return(rejection: Rejection) -> bool:
    """Whether there is a text and audio to make a clip of."""
    return bool(rejection.text.strip() and rejection.audio_file and rejection.audio_seconds > 0)


def _as_clip(item: Rejection, speaker: str, language: str) -> Clip:
    seconds = round(item.audio_seconds, 4)
    clip = Clip(
        item.id, item.audio_file, item.text, speaker, language, seconds, item.source, item.start, item.end,
        str(item.numbers.get("chapter", "")),
    )  # fmt: skip
    measures = {name: value for name, value in item.numbers.items() if name not in _NOT_MEASURES}
    return replace(clip, measures={**measures, "restored": item.reason})
