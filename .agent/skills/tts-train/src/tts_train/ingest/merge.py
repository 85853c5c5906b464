"""The merge rule: which spans of speech become one clip. Pure; all times in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A stretch of detected speech inside one chapter (0: the source has no chapters)."""

    start: float
    end: float
    chapter: int = 0


@dataclass(frozen=True)
class Utterance:
    """Neighbouring spans that are cut as one clip."""

    spans: tuple[Span, ...]

    @property
    def start(self) -> float:
        return self.spans[0].start

    @property
    def end(self) -> float:
        return self.spans[-1].end

    @property
    def chapter(self) -> int:
        return self.spans[0].chapter

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def speech_seconds(self) -> float:
        return sum(span.end - span.start for span in self.spans)


@dataclass(frozen=True)
class MergeRule:
    """Join across gaps of at most `max_gap` towards clips of `min_seconds` to `max_seconds`."""

    max_gap: float = 0.5
    min_seconds: float = 2.0
    max_seconds: float = 10.0


_SHORT_COST = 4.0
_CUT_COST = 0.3


def merge(spans: Sequence[Span], rule: MergeRule) -> list[Utterance]:
    """Partition `spans` (sorted, not overlapping) into utterances, in order, each span in exactly one.

    Joined spans share a chapter and lie at most `max_gap` apart, and the whole is at most `max_seconds` long (a longer
    single span stays alone). Among all such partitions the cheapest is taken: cuts cost less the longer the pause, and
    utterances under `min_seconds` cost the more the shorter they are. So two neighbours that could be one always are.
    """
    utterances: list[Utterance] = []
    for run in _runs(spans, rule):
        utterances += _best_cuts(run, rule)
    return utterances


def _runs(spans: Sequence[Span], rule: MergeRule) -> list[list[Span]]:
    """Maximal stretches without a chapter border or a long pause."""
    runs: list[list[Span]] = []
    for span in spans:
        joins = bool(runs) and runs[-1][-1].chapter == span.chapter and span.start - runs[-1][-1].end <= rule.max_gap
        if joins:
            runs[-1].append(span)
        else:
            runs.append([span])
    return runs


def _best_cuts(run: list[Span], rule: MergeRule) -> list[Utterance]:
    """Shortest path over cut positions: best[i] = (cost, where the last utterance before i starts)."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    for stop in range(1, len(run) + 1):
        options: list[tuple[float, int]] = []
        for first in range(stop - 1, -1, -1):
            seconds = run[stop - 1].end - run[first].start
            if seconds > rule.max_seconds and first < stop - 1:
                break
            options.append((best[first][0] + _cost(run, first, seconds, rule), first))
        best.append(min(options))
    cuts: list[Utterance] = []
    stop = len(run)
    while stop > 0:
        first = best[stop][1]
        cuts.append(Utterance(tuple(run[first:stop])))
        stop = first
    return cuts[::-1]


def _cost(run: list[Span], first: int, seconds: float, rule: MergeRule) -> float:
    cost = _SHORT_COST * max(0.0, rule.min_seconds - seconds) / rule.min_seconds if rule.min_seconds else 0.0
    if first > 0:
        pause = run[first].start - run[first - 1].end
        cost += _CUT_COST + 1.0 - (pause / rule.max_gap if rule.max_gap else 0.0)
    return cost
