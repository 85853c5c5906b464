"""Accent evidence from vowel formants: pure statistics, no audio.

A contrast is the distance between the means of two lexical sets in the F1-F2 plane. Two spaces are computed:

* **z, the primary one**: Lobanov's normalisation on set means: each formant minus its mean over the lexical sets,
  divided by its standard deviation over them, per condition (epoch, base, target). A change of voice that moves or
  stretches all vowels leaves it as it was, exactly. Lobanov is among the best at removing the vocal tract and keeping
  the accent (Adank, Smits & van Hout 2004, JASA 116:3099; Flynn 2011, York Papers in Linguistics 2:11). The mean and
  deviation run over set means, as in Lobanov (1971, JASA 49:606), so that neither a frequent set nor noisier tokens
  shrink the distances.
* **Bark** (Traunmüller 1990), not normalised: normalising every checkpoint by itself can hide or make things (Barreda
  2021, Language Variation and Change 33:27), so a claim has to hold here too.

Tokens of a word are averaged first, as repetitions of a word are not independent. Changes are paired: the same words in
the epoch and in the base. Whether two intervals overlap is never asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from tts_train.probe.bootstrap import MIN_WORDS, Estimate, Means, Pair, Space, Table

SHOWN, NOT_SHOWN = "shown", "not shown"


@dataclass(frozen=True)
class Vowel:
    """One measured token: formants in Hz at the vowel's centre."""

    lexical_set: str
    word: str
    f1: float
    f2: float


def word_means(vowels: Iterable[Vowel]) -> Means:
    """Mean formants of every word of every set."""
    tokens: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for vowel in vowels:
        tokens[vowel.lexical_set][vowel.word].append((vowel.f1, vowel.f2))
    return {
        name: {word: (float(np.mean([f1 for f1, _ in pairs])), float(np.mean([f2 for _, f2 in pairs])))
               for word, pairs in words.items()}
        for name, words in tokens.items()
    }  # fmt: skip


def distance(sets: Pair, condition: Means, space: Space = "z", seed: int = 0) -> Estimate | None:
    """How far apart two sets are in one condition; None when one of them was not measured."""
    table = Table.of([condition], sets, space, seed)
    if table is None:
        return None
    return table.estimate(table.distances(sets)[:, 0], sets)


def change(sets: Pair, epoch: Means, base: Means, space: Space = "z", seed: int = 0) -> Estimate | None:
    """How much the distance has changed since the base, word by word; negative: the sets came closer."""
    table = Table.of([epoch, base], sets, space, seed)
    if table is None:
        return None
    distances = table.distances(sets)
    return table.estimate(distances[:, 0] - distances[:, 1], sets)


def progress_to_target(sets: Pair, epoch: Means, base: Means, target: Means, seed: int = 0) -> Estimate | None:
    """t: the place of the epoch's contrast on the line from the base's (0) to the target's (1), in z.

    None when base and target do not differ on this contrast beyond noise: there is no line to stand on.
    """
    ends = Table.of([base, target], sets, "z", seed)
    table = Table.of([epoch, base, target], sets, "z", seed)
    if ends is None or table is None or not table.enough(sets):
        return None
    base_end, target_end = np.moveaxis(ends.contrast(sets), 1, 0)
    line = ends.lengths(target_end - base_end, ends.variance_of_difference(sets))
    if not ends.estimate(line, sets).above(0.0):
        return None
    here, start, end = np.moveaxis(table.contrast(sets), 1, 0)
    whole = end - start
    return table.estimate(((here - start) * whole).sum(-1) / (whole**2).sum(-1), sets)


def control_change(controls: Sequence[str], epoch: Means, base: Means, seed: int = 0) -> float | None:
    """The largest change (z) of a distance between two control sets.

    Controls must not move against each other, so what they do is what the voice, the vocoder and the formant tracker
    do by themselves: a negative control (Lipsitch, Tchetgen & Cohen 2010, Epidemiology 21:383).
    """
    tables = ((pair, Table.of([epoch, base], pair, "z", seed, replicates=0)) for pair in combinations(controls, 2))
    changes = [table.distances(pair)[0] for pair, table in tables if table is not None]
    return max((abs(float(here - before)) for here, before in changes), default=None)


def contrast(
    sets: Pair,
    expected: Literal["smaller", "larger"],
    controls: Sequence[str],
    epoch: Means,
    base: Means,
    target: Means | None,
    seed: int = 0,
) -> dict[str, Any]:
    """All evidence on one contrast, as JSON.

    `verdict` is "shown" only if the paired change has the expected sign with an interval that excludes 0 in z and in
    Bark, and is larger than any change among the controls; else "not shown", and `why` says what was lacking. A
    distance of 0 means: not separate beyond noise.
    """
    here = {space: distance(sets, epoch, space, seed) for space in ("z", "bark")}
    moved = {space: change(sets, epoch, base, space, seed) for space in ("z", "bark")}
    floor = control_change(controls, epoch, base, seed)
    if here["z"] is None or here["bark"] is None or moved["z"] is None or moved["bark"] is None:
        return {"verdict": NOT_SHOWN, "why": f"{sets[0]} or {sets[1]} was not measured"}
    reached = progress_to_target(sets, epoch, base, target, seed) if target else None
    why = _lacking(moved["z"], moved["bark"], expected, floor)
    return {
        **_flat("", here["z"]),
        **_flat("change", moved["z"]),
        **(_flat("t", reached) if reached else {"t": None, "t_low": None, "t_high": None}),
        "unit": "z",
        "n": {name: len(epoch[name]) for name in sets},
        "bark": {**_flat("", here["bark"]), **_flat("change", moved["bark"])},
        "f1_gap_hz": round(_gap(epoch, sets, 0), 1),
        "f2_gap_hz": round(_gap(epoch, sets, 1), 1),
        "control_change": None if floor is None else round(floor, 3),
        "expected": expected,
        "verdict": NOT_SHOWN if why else SHOWN,
        "why": why or f"{expected}, beyond the controls, in z and in Bark",
    }


def _lacking(z: Estimate, in_bark: Estimate, expected: str, floor: float | None) -> str:
    """What keeps the change from being shown; empty when nothing does."""
    if z.low is None:
        return f"fewer than {MIN_WORDS} words in a set"
    sign = -1.0 if expected == "smaller" else 1.0
    if _excludes_zero(z, -sign) and _excludes_zero(in_bark, -sign):
        return f"the distance grew {'larger' if sign < 0 else 'smaller'}, against what is expected"
    if not _excludes_zero(z, sign):
        return "the interval of the change holds 0"
    if not _excludes_zero(in_bark, sign):
        return "the interval of the change holds 0 in Bark: a change of the whole vowel space would look the same"
    if floor is not None and abs(z.value) <= floor:
        return "control sets, which must not move, changed as much"
    return ""


def _excludes_zero(estimate: Estimate, sign: float) -> bool:
    return estimate.above(0.0) if sign > 0 else estimate.below(0.0)


def _flat(name: str, estimate: Estimate) -> dict[str, float | None]:
    prefix = f"{name}_" if name else ""
    values = {
        name or "distance": estimate.value,
        f"{prefix}low": estimate.low,
        f"{prefix}high": estimate.high,
    }
    return {key: None if value is None else round(value, 3) for key, value in values.items()}


def _gap(condition: Means, sets: Pair, formant: int) -> float:
    first, second = (np.mean([word[formant] for word in condition[name].values()]) for name in sets)
    return float(second - first)
