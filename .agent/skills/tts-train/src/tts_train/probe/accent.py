"""Accent evidence from vowel formants: pure statistics, no audio.

Two things are measured, with the same statistics. A *contrast* is the way between the centres of two lexical sets in
the F1-F2 plane: its length tells mergers and splits. A *glide* is the way of one set's vowel from 20 % to 80 % of its
duration: its length tells diphthongs from monophthongs (the vector length of Fox & Jacewicz 2009, JASA 126:2603-2618,
who find that it underestimates a vowel that moves to and fro). Two spaces are computed:

* **z, the primary one**: Lobanov's normalisation on set means: each formant minus its mean over the lexical sets,
  divided by its standard deviation over them, per condition (epoch, base, target). A change of voice that moves or
  stretches all vowels leaves it as it was, exactly. Methods of this kind are the best at removing the vocal tract
  (Flynn 2011, York Papers in Linguistics 2:11) and keep regional background (Adank, Smits & van Hout 2004, JASA
  116:3099-3107). After Lobanov (1971, JASA 49:606-608); that mean and deviation run over set means, not over tokens,
  is our choice: neither a frequent set nor noisier tokens shall shrink the distances.
* **Bark** (Traunmüller 1990), not normalised: what stretches one formant more than the other is more than a voice, and
  normalising erases it (Barreda 2021, Language Variation and Change 33:27-53), so a claim has to hold here too.

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

from tts_train.probe.bootstrap import (
    CENTRE,
    MIN_WORDS,
    OFFSET,
    ONSET,
    Estimate,
    Floats,
    Means,
    Space,
    Table,
    Way,
    corrected,
    sets_of,
)

SHOWN, NOT_SHOWN = "shown", "not shown"
SMALLEST_CHANGE = 0.15
"""In z; what is smaller is never shown. Chosen by looking, not derived: one synthetic speaker resampled by 1.1 and 1.2
moved a distance by up to 0.13. It is no bound: espeak-ng's other voices with the same accent are still called changed
in 3 or 4 of 120 looks, by up to 0.37 z, and so is a voice lowered by 0.85 under an unchanged formant ceiling (one glide
of five ways, in most runs). See tests/unit/test_espeak_accents.py."""
OVERSHOT = 1.2
"""A contrast whose t is beyond this with its whole interval has gone past the target."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Vowel:
    """One measured token: F1 and F2 in Hz at the vowel's centre, at 20 % and at 80 %; None where not usable."""

    lexical_set: str
    word: str
    f1: float
    f2: float
    onset: Point | None = None
    offset: Point | None = None


@dataclass(frozen=True)
class Progress:
    """Where an epoch stands to the line from the base to the target, in lengths of that line."""

    t: Estimate
    """Along it: 0 at the base, 1 at the target."""
    off_axis: Estimate
    """Beside it, with a sign for the side; an interval without 0 says that it went somewhere else as well."""


def word_means(vowels: Iterable[Vowel]) -> Means:
    """Mean formants of every word of every set."""
    tokens: dict[str, dict[str, list[Vowel]]] = defaultdict(lambda: defaultdict(list))
    for vowel in vowels:
        tokens[vowel.lexical_set][vowel.word].append(vowel)
    return {name: {word: _mean(same) for word, same in words.items()} for name, words in tokens.items()}


def _mean(tokens: Sequence[Vowel]) -> Floats:
    ends = [(vowel.onset, vowel.offset) for vowel in tokens if vowel.onset and vowel.offset]
    glide = np.array(ends).mean(0) if ends else np.full((2, 2), np.nan)
    return np.vstack([np.mean([(vowel.f1, vowel.f2) for vowel in tokens], axis=0), glide])


def distance(way: Way, condition: Means, space: Space = "z", seed: int = 0) -> Estimate | None:
    """Length of a way in one condition, two sets apart or one set's glide; None when a set was not measured."""
    table = Table.of([condition], way, space, seed)
    return table.estimate(table.lengths()[:, 0]) if table else None


def change(way: Way, epoch: Means, base: Means, space: Space = "z", seed: int = 0) -> Estimate | None:
    """How much the length has changed since the base, word by word; negative: it has become smaller."""
    table = Table.of([epoch, base], way, space, seed)
    if table is None:
        return None
    lengths = table.lengths()
    return table.estimate(lengths[:, 0] - lengths[:, 1])


def progress_to_target(way: Way, epoch: Means, base: Means, target: Means, seed: int = 0) -> Progress | None:
    """The place of the epoch's way relative to the base's and the target's, in z.

    None when base and target do not differ on it beyond noise: there is no line to stand on.
    """
    ends = Table.of([base, target], way, "z", seed)
    table = Table.of([epoch, base, target], way, "z", seed)
    if ends is None or table is None or not table.enough:
        return None
    line = ends.ways[:, 1] - ends.ways[:, 0]
    if not ends.estimate(corrected(line, ends.paired_noise)).above(0.0):
        return None
    here, start, end = np.moveaxis(table.ways, 1, 0)
    whole, gone = end - start, here - start
    squares = (whole**2).sum(-1)
    across = whole[:, 0] * gone[:, 1] - whole[:, 1] * gone[:, 0]
    return Progress(table.estimate((gone * whole).sum(-1) / squares), table.estimate(across / squares))


def control_change(way: Way, controls: Sequence[str], epoch: Means, base: Means, seed: int = 0) -> float | None:
    """The largest change (z) of what must not change: ways between control sets, or for a glide the controls' glides.

    What they do is what the voice, the vocoder and the formant tracker do by themselves: a negative control (Lipsitch,
    Tchetgen Tchetgen & Cohen 2010, Epidemiology 21:383-388).
    """
    still: Iterable[Way] = controls if isinstance(way, str) else combinations(controls, 2)
    tables = (Table.of([epoch, base], one, "z", seed, replicates=0) for one in still)
    changes = [table.lengths()[0] for table in tables if table is not None]
    return max((abs(float(here - before)) for here, before in changes), default=None)


def contrast(
    way: Way,
    expected: Literal["smaller", "larger"],
    controls: Sequence[str],
    epoch: Means,
    base: Means,
    target: Means | None,
    seed: int = 0,
) -> dict[str, Any]:
    """All evidence on one contrast or glide, as JSON.

    `verdict` is "shown" only if the paired change has the expected sign with an interval that excludes 0 in z and in
    Bark, and is larger than SMALLEST_CHANGE and than any change among the controls; else "not shown", and `why` says
    what was lacking. A distance of 0 means: not separate (no movement) beyond noise.
    """
    here = {space: distance(way, epoch, space, seed) for space in ("z", "bark")}
    moved = {space: change(way, epoch, base, space, seed) for space in ("z", "bark")}
    floor = control_change(way, controls, epoch, base, seed)
    if here["z"] is None or here["bark"] is None or moved["z"] is None or moved["bark"] is None:
        return refused(way, f"{' or '.join(sets_of(way))} was not measured")
    reached = progress_to_target(way, epoch, base, target, seed) if target else None
    why = _lacking(way, moved["z"], moved["bark"], expected, floor)
    gap = _gap(epoch, way)
    return {
        "kind": _kind(way),
        **_flat("", here["z"]),
        **_flat("change", moved["z"]),
        **_flat("t", reached.t if reached else None),
        **_flat("off_axis", reached.off_axis if reached else None),
        "overshot": reached is not None and reached.t.above(OVERSHOT),
        "unit": "z",
        "n": {name: _words(epoch[name].values(), way) for name in sets_of(way)},
        "bark": {**_flat("", here["bark"]), **_flat("change", moved["bark"])},
        "f1_gap_hz": round(gap[0], 1),
        "f2_gap_hz": round(gap[1], 1),
        "control_change": None if floor is None else round(floor, 3),
        "expected": expected,
        "verdict": NOT_SHOWN if why else SHOWN,
        "why": why or f"{expected}, beyond the controls, in z and in Bark",
    }


def refused(way: Way, why: str) -> dict[str, Any]:
    """A contrast of which nothing can be said: no number, the reason."""
    return {"kind": _kind(way), "verdict": NOT_SHOWN, "why": why}


def _kind(way: Way) -> str:
    return "glide" if isinstance(way, str) else "distance"


def _lacking(way: Way, z: Estimate, in_bark: Estimate, expected: str, floor: float | None) -> str:
    """What keeps the change from being shown; empty when nothing does."""
    if z.low is None:
        return f"fewer than {MIN_WORDS} words in a set"
    sign = -1.0 if expected == "smaller" else 1.0
    if _excludes_zero(z, -sign) and _excludes_zero(in_bark, -sign):
        return f"the {_kind(way)} grew {'larger' if sign < 0 else 'smaller'}, against what is expected"
    if not _excludes_zero(z, sign):
        return "the interval of the change holds 0"
    if not _excludes_zero(in_bark, sign):
        return "the interval of the change holds 0 in Bark: a change of the whole vowel space would look the same"
    if abs(z.value) < SMALLEST_CHANGE:
        return f"the change is below {SMALLEST_CHANGE} z, as much as a change of voice alone may do"
    if floor is not None and abs(z.value) <= floor:
        return "control sets, which must not move, changed as much"
    return ""


def _excludes_zero(estimate: Estimate, sign: float) -> bool:
    return estimate.above(0.0) if sign > 0 else estimate.below(0.0)


def _flat(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    prefix = f"{name}_" if name else ""
    values = {
        name or "distance": estimate.value if estimate else None,
        f"{prefix}low": estimate.low if estimate else None,
        f"{prefix}high": estimate.high if estimate else None,
    }
    return {key: None if value is None else round(value, 3) for key, value in values.items()}


def _words(words: Iterable[Floats], way: Way) -> int:
    used = slice(ONSET, OFFSET + 1) if isinstance(way, str) else CENTRE
    return sum(bool(np.isfinite(word[used]).all()) for word in words)


def _gap(condition: Means, way: Way) -> Point:
    """F1 and F2 of the way in Hz, second set minus first or offset minus onset."""
    words = [np.array(list(condition[name].values())) for name in sets_of(way)]
    if isinstance(way, str):
        moves = words[0][:, OFFSET] - words[0][:, ONSET]
        f1, f2 = moves[np.isfinite(moves).all(1)].mean(0)
    else:
        f1, f2 = words[1][:, CENTRE].mean(0) - words[0][:, CENTRE].mean(0)
    return float(f1), float(f2)
