"""Segments made elsewhere: where each sentence is in the book and what it says, instead of recognition.

The list comes from anywhere, so every line is checked by itself; a bad one becomes a rejection with its number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train.clip import Rejection
from tts_train.errors import InputUnusable
from tts_train.ingest.first_pass import Found
from tts_train.ingest.lines import BadLine, checked_line, parsed
from tts_train.ingest.sources import Source

LONGEST_SECONDS = 60.0
"""A segment is held in memory; nothing this long is a sentence."""

_OVERLAP_SECONDS = 0.2
_SLACK_SECONDS = 0.05
"""Times are often rounded: this much beyond the end of the file or chapter is forgiven."""


@dataclass(frozen=True)
class Segment:
    """A sentence in source number `source`, seconds."""

    line: int
    source: int
    chapter: int
    start: float
    end: float
    text: str


def read_segments(path: Path, found: Sequence[Found]) -> tuple[list[Segment], list[Rejection]]:
    """Segments in order of source and time, and a rejection for every line that cannot be one.

    Lines are {"start", "end", "text"} and, with several sources, "source": the file's name. Raises InputUnusable when
    the file is missing or no line can be used.
    """
    if not path.is_file():
        raise InputUnusable(f"{path} is not a file", hint='lines of {"start": 1.2, "end": 3.4, "text": "..."}')
    good: list[Segment] = []
    bad: list[Rejection] = []
    for number, raw in enumerate(path.read_bytes().split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            good.append(_segment(number, raw, found))
        except BadLine as error:
            bad.append(_rejection(path, error))
    apart: list[Segment] = []
    for segment in sorted(good, key=lambda item: (item.source, item.start, item.end, item.line)):
        before = apart[-1] if apart and apart[-1].source == segment.source else None
        if before and before.end - segment.start > _OVERLAP_SECONDS:
            told = (
                f"{segment.start:.2f}-{segment.end:.2f} s overlaps line {before.line}, which ends at {before.end:.2f} s"
            )
            bad.append(_rejection(path, BadLine(segment.line, "overlapping", told)))
        else:
            apart.append(segment)
    if not apart:
        first = f": {bad[0].numbers['message']}" if bad else ""
        raise InputUnusable(f"{path} has no usable line{first}", hint="one JSON object per line: start, end, text")
    return apart, bad


def _segment(number: int, raw: bytes, found: Sequence[Found]) -> Segment:
    row = parsed(number, raw)
    start, end = _time(number, row, "start"), _time(number, row, "end")
    text = checked_line(number, "-", row.get("text")).text
    place = _place(number, row, found)
    if not 0 <= start < end:
        raise BadLine(number, "bad-line", f"'start' {start:g} and 'end' {end:g} are no stretch of time")
    if end > place.seconds + _SLACK_SECONDS:
        told = f"ends at {end:.2f} s, but {place.source.name} at {place.seconds:.2f} s"
        raise BadLine(number, "outside-source", told)
    if end - start > LONGEST_SECONDS:
        raise BadLine(number, "too-long", f"{end - start:.1f} s long; a segment has at most {LONGEST_SECONDS:.0f} s")
    chapter, start, end = _in_chapter(number, place.source, start, min(end, place.seconds))
    return Segment(number, place.source.number, chapter, round(start, 4), round(end, 4), text)


def _time(number: int, row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise BadLine(number, "bad-line", f"'{name}' must be seconds, got {str(value)[:40]!r}")


def _place(number: int, row: Mapping[str, Any], found: Sequence[Found]) -> Found:
    name = row.get("source")
    if name is None and len(found) == 1:
        return found[0]
    if not isinstance(name, str) or not name:
        raise BadLine(number, "unknown-source", "'source' must name one of the files, there are several")
    by_name = [item for item in found if name == item.source.name]
    matches = by_name or [item for item in found if Path(name).name == item.source.path.name]
    if len(matches) != 1:
        raise BadLine(number, "unknown-source", f"'source' {name[:80]!r} is not the name of one of the files")
    return matches[0]


def _in_chapter(number: int, source: Source, start: float, end: float) -> tuple[int, float, float]:
    """The chapter of a segment, and its times inside that."""
    chapter = max(
        (item for item in source.chapters if item.start <= start + _SLACK_SECONDS), key=lambda item: item.start
    )
    first, last = source.borders(chapter.index)
    if end > last + _SLACK_SECONDS:
        told = f"{start:.2f}-{end:.2f} s crosses the end of '{chapter.title}' at {last:.2f} s"
        raise BadLine(number, "crosses-chapter", told)
    return chapter.index, max(start, first), min(end, last)


def _rejection(path: Path, error: BadLine) -> Rejection:
    numbers = {"line": error.number, "step": "ingest", "message": error.message}
    return Rejection(f"line-{error.number:06d}", error.reason, "", path.name, 0.0, 0.0, "", numbers)
