"""Resampling words: distances between lexical sets with intervals that cover.

The unit of resampling is the word. All conditions that are compared (epoch, base, target) are resampled alike, so that
what a word's neighbours do to its vowel cancels. Intervals are percentile intervals, expanded for small samples
(Hesterberg 2015, American Statistician 69:371); distances are corrected for the noise in the means, as the plain
distance of two noisy means is never 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Space = Literal["z", "bark"]
Pair = tuple[str, str]
Means = dict[str, dict[str, tuple[float, float]]]
"""Lexical set → word → mean (F1, F2) in Hz."""

LEVEL = 0.95
REPLICATES = 2000
MIN_WORDS = 5
"""Fewer words in a set support no interval."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; None where there are too few words for one."""

    value: float
    low: float | None
    high: float | None

    def below(self, limit: float) -> bool:
        return self.high is not None and self.high < limit

    def above(self, limit: float) -> bool:
        return self.low is not None and self.low > limit


def bark(hertz: Floats) -> Floats:
    """Critical-band rate (Traunmüller 1990, JASA 88:97)."""
    return 26.81 * hertz / (1960.0 + hertz) - 0.53


@dataclass(frozen=True)
class Table:
    """Bootstrap replicates of set means; row 0 is the data as measured."""

    means: dict[str, Floats]
    """Set → (replicates + 1, conditions, 2) means over resampled words."""
    noise: dict[str, Floats]
    """Set → (conditions, 2) variance of the mean over words."""
    paired_noise: dict[str, Floats]
    """Set → (2,) variance of the mean of last minus last but one condition."""
    scale: Floats
    """(replicates + 1, conditions, 2) unit of each formant."""
    words: dict[str, int]

    @classmethod
    def of(
        cls, conditions: Sequence[Means], sets: Pair, space: Space, seed: int, replicates: int | None = None
    ) -> Table | None:
        """Sets and words that all conditions share; None when one of `sets` is not among them."""
        rows = 1 + (REPLICATES if replicates is None else replicates)
        shared = sorted(set.intersection(*(set(condition) for condition in conditions)))
        means: dict[str, Floats] = {}
        noise: dict[str, Floats] = {}
        paired: dict[str, Floats] = {}
        count: dict[str, int] = {}
        rng = np.random.default_rng(seed)
        for name in shared:
            words = sorted(set.intersection(*(set(condition[name]) for condition in conditions)))
            if not words:
                continue
            hertz = np.array([[condition[name][word] for condition in conditions] for word in words])
            values = bark(hertz) if space == "bark" else hertz
            draws = rng.integers(0, len(words), (rows, len(words)))
            draws[0] = np.arange(len(words))
            means[name] = values[draws].mean(1)
            noise[name] = _variance_of_mean(values)
            paired[name] = _variance_of_mean(values[:, -1] - values[:, -2]) if len(conditions) > 1 else np.zeros(2)
            count[name] = len(words)
        if any(name not in means for name in sets):
            return None
        scale = np.ones((rows, len(conditions), 2))
        if space == "z" and len(means) > 2:
            scale = np.stack(list(means.values())).std(0, ddof=1)
        return cls(means, noise, paired, np.maximum(scale, 1e-9), count)

    def contrast(self, sets: Pair) -> Floats:
        """Second minus first set, (replicates + 1, conditions, 2). The normaliser's centre cancels."""
        result: Floats = (self.means[sets[1]] - self.means[sets[0]]) / self.scale
        return result

    def distances(self, sets: Pair) -> Floats:
        """Corrected distance per replicate and condition."""
        noise = (self.noise[sets[0]] + self.noise[sets[1]]) / self.scale[0] ** 2
        return self.lengths(self.contrast(sets), noise.sum(-1))

    def lengths(self, vectors: Floats, noise: Floats | float) -> Floats:
        """|vector| without what noise adds: once in the data, twice in a replicate, which carries it twice."""
        times = np.full(len(vectors), 2.0)
        times[0] = 1.0
        squares = (vectors**2).sum(-1)
        return np.sqrt(np.maximum(0.0, squares - np.multiply.outer(times, noise)))

    def variance_of_difference(self, sets: Pair) -> float:
        """Noise in (contrast of the last condition) - (contrast of the one before), summed over formants."""
        unit = self.scale[0, -2:].mean(0)
        return float(((self.paired_noise[sets[0]] + self.paired_noise[sets[1]]) / unit**2).sum())

    def enough(self, sets: Pair) -> bool:
        return min(self.words[name] for name in sets) >= MIN_WORDS

    def estimate(self, replicates: Floats, sets: Pair) -> Estimate:
        """Value and interval of a statistic whose first row is the data."""
        value = float(replicates[0])
        if not self.enough(sets) or len(replicates) == 1:
            return Estimate(value, None, None)
        tail = _expanded_tail(min(self.words[name] for name in sets))
        low, high = np.quantile(replicates[1:], [tail, 1.0 - tail])
        return Estimate(value, float(low), float(high))


def _variance_of_mean(values: Floats) -> Floats:
    """Over the first axis; 0 for a single value, whose noise nobody knows."""
    if len(values) < 2:
        return np.zeros(values.shape[1:])
    result: Floats = values.var(0, ddof=1) / len(values)
    return result


def _expanded_tail(words: int) -> float:
    """Tail of a percentile interval widened to the t interval's coverage (Hesterberg 2015, section 5.3)."""
    return NormalDist().cdf(-math.sqrt(words / (words - 1)) * _student_t(words - 1))


def _student_t(degrees: int) -> float:
    """Upper quantile of Student's t for LEVEL (Abramowitz & Stegun 26.7.5; error < 0.003 from 4 degrees on)."""
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )
