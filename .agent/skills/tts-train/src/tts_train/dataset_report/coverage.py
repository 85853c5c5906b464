"""Which speech of the sources became a clip, was rejected, was skipped on purpose, or is nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Range = tuple[float, float]
"""From, to; seconds of a source."""


class Span(NamedTuple):
    """Speech that was found; `chapter` is the chapter's number, 0 without one."""

    start: float
    end: float
    chapter: int


@dataclass(frozen=True)
class Source:
    """A recording and the speech in it. `chapters` are (number, title, start, end)."""

    name: str
    seconds: float
    chapters: tuple[tuple[int, str, float, float], ...]
    spans: tuple[Span, ...]
    skipped: tuple[Range, ...] = ()


@dataclass(frozen=True)
class Coverage:
    """Seconds of speech, each counted once: as kept before rejected, before skipped, before missing."""

    speech: float = 0.0
    kept: float = 0.0
    rejected: float = 0.0
    skipped: float = 0.0

    @property
    def missing(self) -> float:
        return max(0.0, self.speech - self.kept - self.rejected - self.skipped)

    @property
    def share(self) -> float:
        """Of the speech, what is accounted for; 1 without any."""
        return 1.0 - self.missing / self.speech if self.speech else 1.0

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(
            self.speech + other.speech,
            self.kept + other.kept,
            self.rejected + other.rejected,
            self.skipped + other.skipped,
        )

    def as_row(self) -> dict[str, float]:
        """{speech_seconds, kept_seconds, rejected_seconds, skipped_seconds, missing_seconds, share}."""
        names = ("speech", "kept", "rejected", "skipped", "missing")
        return {**{f"{name}_seconds": round(getattr(self, name), 3) for name in names}, "share": round(self.share, 6)}


def coverage_of(
    spans: Sequence[Range], kept: Sequence[Range], rejected: Sequence[Range], skipped: Sequence[Range]
) -> Coverage:
    """What became of some spans of one source."""
    first = covered_seconds(spans, kept)
    second = covered_seconds(spans, [*kept, *rejected])
    third = covered_seconds(spans, [*kept, *rejected, *skipped])
    return Coverage(sum(end - start for start, end in spans), first, second - first, third - second)


def gaps_of(sources: Iterable[Source], taken: Mapping[str, Sequence[Range]], shortest: float) -> list[dict[str, Any]]:
    """Speech that is nowhere, at least `shortest` seconds in one piece, the longest first: [{source, start, end}].

    `taken` are the ranges of each source that are accounted for.
    """
    found = [
        {"source": source.name, "start": round(start, 3), "end": round(end, 3)}
        for source in sources
        for start, end in _uncovered(
            [span[:2] for span in source.spans], [*taken.get(source.name, ()), *source.skipped]
        )
        if end - start >= shortest
    ]
    return sorted(found, key=lambda gap: (gap["start"] - gap["end"], gap["source"], gap["start"]))


def covered_seconds(spans: Iterable[Range], kept: Iterable[Range]) -> float:
    """Seconds of `spans` that lie inside any of `kept`."""
    held = sorted(spans)
    return sum(end - start for start, end in held) - sum(end - start for start, end in _uncovered(held, kept))


def _uncovered(spans: Iterable[Range], taken: Iterable[Range]) -> Iterator[Range]:
    """The pieces of `spans` outside all of `taken`, in order; both in any order, `taken` may overlap."""
    ranges = _joined(taken)
    index = 0
    for start, end in sorted(spans):
        while index < len(ranges) and ranges[index][1] <= start:
            index += 1
        at, reached = index, start
        while at < len(ranges) and ranges[at][0] < end:
            if ranges[at][0] > reached:
                yield reached, ranges[at][0]
            reached = max(reached, ranges[at][1])
            at += 1
        if reached < end:
            yield reached, end


def _joined(ranges: Iterable[Range]) -> list[Range]:
    """Ranges in order, those that touch as one."""
    joined: list[Range] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        elif end > start:
            joined.append((start, end))
    return joined
