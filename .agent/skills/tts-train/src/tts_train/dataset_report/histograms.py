"""How a measure is spread over the clips: counts in bins of a round width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

BINS = 24
_FEWEST_BINS = 7
_FENCE = 3.0
"""Quartile distances beyond the quartiles (Tukey's far-out values): what lies further shares the outermost bin, because
one odd clip must not flatten all others."""


@dataclass(frozen=True)
class Histogram:
    """Counts between `edges` (one more than bins); the outermost bins hold what lies beyond them, too."""

    edges: tuple[float, ...]
    kept: tuple[int, ...]
    rejected: tuple[int, ...]
    beyond: tuple[bool, bool]
    """Whether the first and the last bin hold values beyond their edges."""


def histogram(
    kept: Sequence[float], rejected: Sequence[float], limits: Sequence[float] = (), least_width: float = 0.0
) -> Histogram:
    """Bins over kept and rejected values, wide enough to show `limits`. At least one value is given; all are finite."""
    ordered = sorted([*kept, *rejected])
    low, high = _fenced(ordered)
    reach = (high - low) or abs(high) or 1.0
    # A limit far beyond everything that was seen would only squeeze the picture.
    near = [limit for limit in limits if low - reach <= limit <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    width = _round_width(max((high - low) / BINS, least_width) or reach / BINS)
    first, last = math.floor(low / width), math.floor(high / width) + 1
    # Clips that are all alike stand as one bar in the middle, not as a wall.
    spare = max(0, _FEWEST_BINS - (last - first))
    first, last = first - spare // 2, last + spare - spare // 2
    digits = max(0, 2 - math.floor(math.log10(width)))
    edges = tuple(round(index * width, digits) for index in range(first, last + 1))
    above, below = (_counts(values, width, first, last) for values in (kept, rejected))
    return Histogram(edges, above, below, (ordered[0] < edges[0], ordered[-1] > edges[-1]))


def summary(values: Sequence[float]) -> dict[str, Any]:
    """{clips, least, p05, median, p95, greatest} of a measure; None without values."""
    if not values:
        return {"clips": 0, "least": None, "p05": None, "median": None, "p95": None, "greatest": None}
    ordered = sorted(values)
    numbers = {
        "least": ordered[0],
        "p05": _at(ordered, 0.05),
        "median": median(ordered),
        "p95": _at(ordered, 0.95),
        "greatest": ordered[-1],
    }
    return {"clips": len(ordered), **{name: round(number, 4) for name, number in numbers.items()}}


def _fenced(ordered: Sequence[float]) -> tuple[float, float]:
    first, third = _at(ordered, 0.25), _at(ordered, 0.75)
    if first == third:
        return ordered[0], ordered[-1]
    reach = _FENCE * (third - first)
    return max(ordered[0], first - reach), min(ordered[-1], third + reach)


def _at(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie: one of them, none between."""
    return ordered[round(share * (len(ordered) - 1))]


def _round_width(wanted: float) -> float:
    """1, 2 or 5 times a power of ten, at least `wanted`."""
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= wanted * (1 - 1e-9))


def _counts(values: Sequence[float], width: float, first: int, last: int) -> tuple[int, ...]:
    counts = [0] * (last - first)
    for value in values:
        # 0.3 / 0.1 is 2.9999999999999996: a value on an edge belongs to the bin that begins there.
        place = math.floor(round(value / width, 9)) - first
        counts[min(max(place, 0), len(counts) - 1)] += 1
    return tuple(counts)
