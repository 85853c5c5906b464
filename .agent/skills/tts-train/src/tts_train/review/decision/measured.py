"""Measures: the fields of measures.json that decisions and reports rely on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OVERSHOT = 1.2
"""t, on the line from the base (0) to the target (1), beyond which a feature has drifted past the target."""


@dataclass(frozen=True)
class Contrast:
    """Distance between two lexical sets (or length of a glide) with its interval.

    `verdict` is "shown" or "not shown" where it is judged; `t` the place between base (0) and target (1).
    """

    distance: float
    low: float | None = None
    high: float | None = None
    verdict: str = ""
    t: float | None = None
    t_low: float | None = None
    t_high: float | None = None
    overshot: bool = False
    """The whole interval of t lies beyond OVERSHOT."""
    sets: frozenset[str] = frozenset()

    def placed(self) -> str:
        """t and its interval, as people read it."""
        if self.t is None or self.t_low is None or self.t_high is None:
            return "no place between base and target"
        return f"t {self.t:.2f} [{self.t_low:.2f}, {self.t_high:.2f}]"


@dataclass(frozen=True)
class Gate:
    """One automatic limit and how the epoch stands to it."""

    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Measures:
    """measures.json of one epoch's renders. Rates are fractions, None is "not measured"."""

    wer: float | None = None
    target_wer: float | None = None
    speaker_similarity: float | None = None
    mel_distance: float | None = None
    pace: float | None = None
    contrasts: Mapping[str, Contrast] = field(default_factory=dict)
    gates: Mapping[str, Gate] = field(default_factory=dict)

    @property
    def failed_gates(self) -> frozenset[str]:
        return frozenset(name for name, gate in self.gates.items() if not gate.passed)

    @property
    def overshot(self) -> frozenset[str]:
        """Contrasts that have drifted past the target."""
        return frozenset(name for name, contrast in self.contrasts.items() if contrast.overshot)


def measures_from(data: Mapping[str, Any]) -> Measures:
    """The fields of measures.json; what is missing or not finite is None.

    Read: wer, target_wer, speaker_similarity, mel_distance, pace; gates as a list [{name, passed, detail}] or a mapping
    {name: {passed, detail}}; contrasts, glides among them, {name: {distance, low, high, verdict, t, t_low, t_high,
    overshot, n}}.
    """
    contrasts = data.get("contrasts") or {}
    return Measures(
        wer=number(data.get("wer")),
        target_wer=number(data.get("target_wer")),
        speaker_similarity=number(data.get("speaker_similarity")),
        mel_distance=number(data.get("mel_distance")),
        pace=number(data.get("pace")),
        contrasts={name: found for name, item in contrasts.items() if (found := _contrast(item))},
        gates=_gates(data.get("gates") or {}),
    )


def number(value: Any) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _contrast(item: Any) -> Contrast | None:
    fields = item if isinstance(item, Mapping) else {"distance": item}
    distance, t_low = number(fields.get("distance")), number(fields.get("t_low"))
    if distance is None:
        return None
    overshot = fields.get("overshot")
    counts = fields.get("n")
    return Contrast(
        distance,
        low=number(fields.get("low")),
        high=number(fields.get("high")),
        verdict=str(fields.get("verdict") or ""),
        t=number(fields.get("t")),
        t_low=t_low,
        t_high=number(fields.get("t_high")),
        overshot=overshot if isinstance(overshot, bool) else t_low is not None and t_low > OVERSHOT,
        sets=frozenset(counts) if isinstance(counts, Mapping) else frozenset(),
    )


def _gates(given: Any) -> dict[str, Gate]:
    named = given.items() if isinstance(given, Mapping) else ((item["name"], item) for item in given)
    return {
        str(name): Gate(bool(item["passed"]), str(item.get("detail") or ""))
        if isinstance(item, Mapping)
        else Gate(bool(item))
        for name, item in named
    }
