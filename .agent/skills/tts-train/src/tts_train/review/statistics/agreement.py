"""How far listeners agree: Krippendorff's alpha for two or more, test-retest for one.

alpha = 1 - observed / expected disagreement (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"): 1 is
perfect, 0 is chance, below 0 they contradict each other. Units judged by one listener only say nothing about agreement
and are left out. Our own code, as the package `krippendorff` is GPL; tests hold it against that package.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tts_train.errors import InputUnusable
from tts_train.review.record.trials import Judgement
from tts_train.review.statistics.intervals import LEVEL, wilson
from tts_train.review.statistics.listening import Controls, chosen

Floats = NDArray[np.float64]
Ratings = Mapping[Hashable, Mapping[str, str]]
"""Unit → listener → value."""
Scale = Literal["nominal", "ordinal"]

REPLICATES = 1000
MIN_UNITS = 5
"""Fewer units in common carry no interval."""
MARKS_IN_ORDER = ("baseline", "target", "overshot")
"""Marks of an accent feature as places on one line; "mangled" and "not-heard" are not on it."""


@dataclass(frozen=True)
class Alpha:
    """`value` None: everybody always said the same, so that chance agreement is perfect too and alpha undefined."""

    value: float | None
    low: float | None
    high: float | None
    units: int
    listeners: int


def krippendorff_alpha(ratings: Ratings, scale: Scale, order: Sequence[str] = (), seed: int = 0) -> Alpha:
    """Alpha of ratings with a 95 % percentile interval over units drawn anew; ordinal values need their `order`.

    Raises InputUnusable with fewer than two listeners, or when no unit was judged by two of them.
    """
    who = {name for told in ratings.values() for name in told}
    if len(who) < 2:
        raise InputUnusable(
            f"agreement between listeners needs two of them, not {len(who)}",
            hint="with one listener, look at how consistent their repeats are",
        )
    values = list(order) or sorted({value for told in ratings.values() for value in told.values()})
    counts = np.array(
        [[list(told.values()).count(value) for value in values] for told in ratings.values()], dtype=float
    )
    counts = counts[counts.sum(1) >= 2]
    if not len(counts):
        raise InputUnusable("no two listeners judged the same thing", hint="give them the same trials")
    drawn = np.random.default_rng(seed).integers(0, len(counts), (REPLICATES, len(counts)))
    found = [_alpha(counts, scale), *(_alpha(counts[rows], scale) for rows in drawn)]
    usable = [value for value in found[1:] if value is not None]
    low = high = None
    if found[0] is not None and len(counts) >= MIN_UNITS:
        low, high = (float(bound) for bound in np.quantile(usable, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return Alpha(found[0], low, high, len(counts), len(who))


def trial_agreement(judgements: Iterable[Judgement], found: Sequence[Controls]) -> dict[str, Any]:
    """Agreement on blind AB and XAB trials: alpha over listeners, or test-retest when only one of them answered.

    `judgements` are trials that count. Returns {measure: "alpha" | "test-retest" | None, value, low, high, n, why}.
    """
    ratings: dict[Hashable, dict[str, str]] = {}
    for item in judgements:
        unit = item.kind, item.item, item.seed, frozenset((item.first, item.second)), item.x
        ratings.setdefault(unit, {}).setdefault(item.listener, chosen(item))
    try:
        alpha = krippendorff_alpha(ratings, "nominal")
    except InputUnusable as error:
        return _test_retest(found, error.message)
    return _alpha_json(alpha)


def mark_agreement(marks: Ratings) -> dict[str, Any]:
    """Agreement of sheets on accent features: ordinal alpha of MARKS_IN_ORDER. `marks`: (epoch, set) → who → mark."""
    placed: Ratings = {
        unit: kept
        for unit, told in marks.items()
        if (kept := {who: mark for who, mark in told.items() if mark in MARKS_IN_ORDER})
    }
    try:
        return _alpha_json(krippendorff_alpha(placed, "ordinal", MARKS_IN_ORDER))
    except InputUnusable as error:
        return _nothing(error.message)


def _alpha(counts: Floats, scale: Scale) -> float | None:
    """Alpha of (units, values) counts of ratings, every unit with at least two."""
    per_unit = counts.sum(1)
    together = counts[:, :, None] * counts[:, None, :]
    together -= counts[:, :, None] * np.eye(counts.shape[1])
    observed = (together / (per_unit - 1.0)[:, None, None]).sum(0)
    totals = counts.sum(0)
    expected = (np.outer(totals, totals) - np.diag(totals)) / (totals.sum() - 1.0)
    distance = _distance(totals, scale)
    by_chance = float((expected * distance).sum())
    return None if by_chance == 0.0 else 1.0 - float((observed * distance).sum()) / by_chance


def _distance(totals: Floats, scale: Scale) -> Floats:
    """(values, values) squared difference: 0 or 1, or the ratings that lie between two places."""
    if scale == "nominal":
        return 1.0 - np.eye(len(totals))
    up_to = np.cumsum(totals)
    between = up_to[None, :] - up_to[:, None] + (totals[:, None] - totals[None, :]) / 2.0
    result: Floats = between**2
    return result


def _alpha_json(alpha: Alpha) -> dict[str, Any]:
    why = "" if alpha.value is not None else "everybody always said the same: agreement by chance would be perfect too"
    numbers = {
        name: None if value is None else round(value, 3)
        for name, value in (("value", alpha.value), ("low", alpha.low), ("high", alpha.high))
    }
    return {"measure": "alpha", **numbers, "n": alpha.units, "why": why}


def _test_retest(found: Sequence[Controls], why: str) -> dict[str, Any]:
    repeats, consistent = sum(item.repeats for item in found), sum(item.consistent for item in found)
    if not repeats:
        return _nothing(f"{why}; and no trial was repeated")
    interval = wilson(consistent, repeats)
    return {
        "measure": "test-retest",
        "value": round(consistent / repeats, 3),
        "low": round(interval.low, 3),
        "high": round(interval.high, 3),
        "n": repeats,
        "why": why,
    }


def _nothing(why: str) -> dict[str, Any]:
    return {"measure": None, "value": None, "low": None, "high": None, "n": 0, "why": why}
