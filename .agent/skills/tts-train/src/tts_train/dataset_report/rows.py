"""The rows of a dataset folder as the report needs them: whatever somebody wrote into them, nothing here fails on it.

Only a file that is no JSON at all is an error. A field of the wrong type counts as absent, so that one odd row of an
imported dataset does not hide the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tts_train.dataset import load_card
from tts_train.dataset_report.coverage import Range, Source, Span
from tts_train.dataset_report.measures import BY_FILTER
from tts_train.errors import ConfigError
from tts_train.files import read_json, read_jsonl
from tts_train.output import progress

MANIFEST, REJECTIONS, ALIGNED = "train_manifest.jsonl", "rejections.jsonl", "train_aligned.jsonl"
ALIGN = "align"
"""A rejection of this step is of a clip that stays in the manifest: it only has no word times."""

Limits = tuple[float | None, float | None]
"""Least and greatest value that is kept; None is no limit."""


@dataclass(frozen=True)
class Entry:
    """A kept or rejected clip. `reason` is empty when it was kept; times are seconds of `source`."""

    id: str
    text: str
    audio_file: str
    source: str
    chapter: str
    speaker: str
    start: float
    end: float
    seconds: float
    measures: Mapping[str, float]
    """Every finite number that is known of the clip."""
    told: Mapping[str, str] = field(default_factory=dict)
    """What is known of it in words: message, step, filter."""
    reason: str = ""

    def value(self, name: str) -> float | None:
        """A measure; `audio_seconds` is the clip's length."""
        return self.seconds if name == "audio_seconds" else self.measures.get(name)

    @property
    def restorable(self) -> bool:
        """Whether `rejections restore` can take it back: it has a text and audio, and no later step refused it."""
        return bool(self.text.strip() and self.audio_file and self.seconds > 0 and self.told.get("step") != ALIGN)


@dataclass(frozen=True)
class Dataset:
    """All that a report tells of."""

    folder: Path
    kept: tuple[Entry, ...]
    rejected: tuple[Entry, ...]
    unaligned: tuple[Entry, ...]
    """Rejections by `align`: these clips are in `kept` as well."""
    sources: tuple[Source, ...]
    restored: Mapping[str, str]
    """Ids of clips that somebody took back, with the reason they had been rejected for."""
    limits: Mapping[str, Limits]
    """Of the filters that the last screening applied, by the measure's name."""
    aligned: int
    card: dict[str, Any] | None

    @property
    def name(self) -> str:
        """The folder as a person in the workspace names it."""
        folder = self.folder.resolve()
        return f"datasets/{folder.name}" if folder.parent.name == "datasets" else folder.name


def read_dataset(folder: Path) -> Dataset:
    """Read manifests, rejections, speech and the card. Raises ConfigError naming lines that are not JSON objects."""
    lost = [_entry(row, row.get("numbers")) for row in _rows(folder / REJECTIONS)]
    return Dataset(
        folder=folder,
        kept=tuple(_entry(row, row.get("measures")) for row in _rows(folder / MANIFEST)),
        rejected=tuple(item for item in lost if item.told.get("step") != ALIGN),
        unaligned=tuple(item for item in lost if item.told.get("step") == ALIGN),
        sources=tuple(_sources(folder / "parts")),
        restored=_restored(folder / "parts" / "restored.json"),
        limits=_limits(folder / "parts" / "screen.json"),
        aligned=_lines(folder / ALIGNED),
        card=_card(folder),
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_jsonl(path)] if path.is_file() else []


def _lines(path: Path) -> int:
    """Without a look at them: the words of an hour are megabytes."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(bool(line.strip()) for line in file)


def _entry(row: Mapping[str, Any], numbers: object) -> Entry:
    known = numbers if isinstance(numbers, Mapping) else {}
    start, end = _number(row.get("start")) or 0.0, _number(row.get("end")) or 0.0
    seconds = _number(row.get("audio_seconds"))
    rejected = "reason" in row or "numbers" in row
    return Entry(
        id=_text(row.get("id")),
        text=_text(row.get("text")),
        audio_file=_text(row.get("audio_file")),
        source=_text(row.get("source")),
        chapter=_text(row.get("chapter")) or _text(known.get("chapter")),
        speaker=_text(row.get("speaker")),
        start=start,
        end=end,
        seconds=max(0.0, end - start) if seconds is None else seconds,
        measures={str(name): number for name, value in known.items() if (number := _number(value)) is not None},
        told={str(name): value for name, value in known.items() if isinstance(value, str) and value},
        reason=(_text(row.get("reason")) or "unknown") if rejected else "",
    )


def _sources(parts: Path) -> list[Source]:
    """What was found in each source, in their order; nothing for a dataset of ready clips."""
    skips = _skips(parts / "skipped.json")
    found = []
    for path in sorted(parts.glob("speech-*.json")):
        row = read_json(path)
        name = _text(row.get("source"))
        found.append(
            Source(
                name=name,
                seconds=_number(row.get("seconds")) or 0.0,
                chapters=tuple(
                    (int(chapter["index"]), str(chapter["title"]), float(chapter["start"]), float(chapter["end"]))
                    for chapter in row.get("chapters", ())
                ),
                spans=tuple(Span(float(start), float(end), int(chapter)) for start, end, chapter in row["spans"]),
                skipped=skips.get(name, ()),
            )
        )
    return found


def _skips(path: Path) -> dict[str, tuple[Range, ...]]:
    if not path.is_file():
        return {}
    return {
        name: tuple((float(start), float(end)) for start, end, *_ in rows) for name, rows in read_json(path).items()
    }


def _restored(path: Path) -> dict[str, str]:
    known = read_json(path)["ids"] if path.is_file() else {}
    return {str(name): str(reason) for name, reason in known.items()}


def _limits(path: Path) -> dict[str, Limits]:
    filters = read_json(path)["filters"] if path.is_file() else ()
    return {
        BY_FILTER[name].name if name in BY_FILTER else str(name): (_number(low), _number(high))
        for name, low, high in filters
    }


def _card(folder: Path) -> dict[str, Any] | None:
    try:
        return load_card(folder).model_dump()
    except ConfigError as error:
        progress(f"the card: {error.message}")
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
