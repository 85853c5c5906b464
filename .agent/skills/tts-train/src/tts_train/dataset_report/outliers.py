"""Kept clips that are unlike the others: what a person should listen to first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tts_train.dataset_report.measures import MEASURES, Measure
from tts_train.dataset_report.rows import Entry

THRESHOLD = 3.5
"""Robust deviations from the median (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993)."""
_FEWEST = 8
"""With fewer clips nothing can be said to be unlike the others."""
_TO_SIGMA = 1.4826
"""Median absolute deviation → standard deviation, for a normal distribution."""


@dataclass(frozen=True)
class Outlier:
    """A clip, the measure that sets it apart most, and how many robust deviations it is from the median."""

    entry: Entry
    measure: Measure
    value: float
    median: float
    deviations: float


def outliers(entries: Sequence[Entry], most: int) -> list[Outlier]:
    """The `most` clips furthest from the others, each once with its most telling measure, the furthest first."""
    worst: dict[int, Outlier] = {}
    for measure in MEASURES:
        for index, outlier in _of_measure(entries, measure).items():
            if index not in worst or outlier.deviations > worst[index].deviations:
                worst[index] = outlier
    ranked = sorted(worst.values(), key=lambda item: (-item.deviations, item.entry.id))
    return ranked[:most]


def _of_measure(entries: Sequence[Entry], measure: Measure) -> dict[int, Outlier]:
    known = [(index, value) for index, entry in enumerate(entries) if (value := entry.value(measure.name)) is not None]
    if measure.worry is None or len(known) < _FEWEST:
        return {}
    middle = median(value for _, value in known)
    spread = max(_TO_SIGMA * median(abs(value - middle) for _, value in known), measure.spread)
    found = {}
    for index, value in known:
        away = (value - middle) / spread
        deviations = {"low": -away, "high": away, "both": abs(away)}[measure.worry]
        if deviations > THRESHOLD:
            found[index] = Outlier(entries[index], measure, value, middle, round(deviations, 1))
    return found
