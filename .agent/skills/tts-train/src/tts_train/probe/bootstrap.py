"""Resampling words: ways in the F1-F2 plane with intervals that cover.

The unit of resampling is the word. All conditions that are compared (epoch, base, target) are resampled alike, so that
what a word's neighbours do to its vowel cancels. Intervals are percentile intervals, expanded for small samples
(Hesterberg 2015, American Statistician 69:371-386, and the longer arXiv:1411.5279); lengths are corrected for the noise
in the means, as the plain distance of two noisy means is never 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Space = Literal["z", "bark"]
Pair = tuple[str, str]
Way = Pair | str
"""What is measured: from the first set's centre to the second's, or for one set its own glide."""
Means = dict[str, dict[str, Floats]]
"""Lexical set → word → (3, 2) mean F1 and F2 in Hz at CENTRE, ONSET and OFFSET; the last two may be NaN."""
CENTRE, ONSET, OFFSET = range(3)

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
    """Critical-band rate (Traunmüller 1990, JASA 88:97-100)."""
    return 26.81 * hertz / (1960.0 + hertz) - 0.53


def sets_of(way: Way) -> tuple[str, ...]:
    """The one or two lexical sets a way belongs to."""
    return (way,) if isinstance(way, str) else way


@dataclass(frozen=True)
class Table:
    """Bootstrap replicates of one way in several conditions; row 0 is the data as measured."""

    ways: Floats
    """(replicates + 1, conditions, 2) mean over resampled words, in units of the space."""
    noise: Floats
    """(conditions,) variance of the mean over words, summed over formants."""
    paired_noise: float
    """The same for the last condition minus the one before it."""
    words: int
    """Of the set that has fewest."""

    @classmethod
    def of(
        cls, conditions: Sequence[Means], way: Way, space: Space, seed: int, replicates: int | None = None
    ) -> Table | None:
        """Over sets and words that all conditions share; None when a set of the way is not among them."""
        rows = 1 + (REPLICATES if replicates is None else replicates)
        sets = sets_of(way)
        centres: list[Floats] = []
        parts: dict[str, tuple[Floats, Floats]] = {}
        rng = np.random.default_rng(seed)
        for name in sorted(set.intersection(*(set(condition) for condition in conditions))):
            hertz = _shared(conditions, name, whole=way == name)
            if not len(hertz):
                continue
            values = bark(hertz) if space == "bark" else hertz
            draws = rng.integers(0, len(values), (rows, len(values)))
            draws[0] = np.arange(len(values))
            centres.append(values[:, :, CENTRE][draws].mean(1))
            if name in sets:
                own = values[:, :, OFFSET] - values[:, :, ONSET] if way == name else values[:, :, CENTRE]
                parts[name] = own, own[draws].mean(1)
        if any(name not in parts for name in sets):
            return None
        scale = np.ones((rows, len(conditions), 2))
        if space == "z" and len(centres) > 2:
            scale = np.maximum(np.stack(centres).std(0, ddof=1), 1e-9)
        words = [parts[name][0] for name in sets]
        means = [parts[name][1] for name in sets]
        # The normaliser's centre cancels in a difference, within a vowel as between two.
        ways = means[0] if isinstance(way, str) else means[1] - means[0]
        noise = np.sum([_variance_of_mean(own) for own in words], axis=0) / scale[0] ** 2
        steps = [_variance_of_mean(own[:, -1] - own[:, -2]) for own in words] if len(conditions) > 1 else [np.zeros(2)]
        paired = np.sum(steps, axis=0) / scale[0, -2:].mean(0) ** 2
        return cls(ways / scale, noise.sum(-1), float(paired.sum()), min(map(len, words)))

    def lengths(self) -> Floats:
        """(replicates + 1, conditions) corrected lengths of the way."""
        return corrected(self.ways, self.noise)

    @property
    def enough(self) -> bool:
        return self.words >= MIN_WORDS

    def estimate(self, replicates: Floats) -> Estimate:
        """Value and interval of a statistic whose first row is the data."""
        value = float(replicates[0])
        if not self.enough or len(replicates) == 1:
            return Estimate(value, None, None)
        tail = _expanded_tail(self.words)
        low, high = np.quantile(replicates[1:], [tail, 1.0 - tail])
        return Estimate(value, float(low), float(high))


def corrected(vectors: Floats, noise: Floats | float) -> Floats:
    """|vector| without what noise adds: once in the data, twice in a replicate, which carries it twice."""
    times = np.full(len(vectors), 2.0)
    times[0] = 1.0
    squares = (vectors**2).sum(-1)
    return np.sqrt(np.maximum(0.0, squares - np.multiply.outer(times, noise)))


def _shared(conditions: Sequence[Means], name: str, *, whole: bool) -> Floats:
    """(words, conditions, 3, 2) Hz of the words all conditions have; `whole`: with both ends of the vowel."""
    words = sorted(set.intersection(*(set(condition[name]) for condition in conditions)))
    hertz = np.array([[condition[name][word] for condition in conditions] for word in words])
    if not whole or not words:
        return hertz
    kept: Floats = hertz[np.isfinite(hertz).all((1, 2, 3))]
    return kept


def _variance_of_mean(values: Floats) -> Floats:
    """Over the first axis; 0 for a single value, whose noise nobody knows."""
    if len(values) < 2:
        return np.zeros(values.shape[1:])
    result: Floats = values.var(0, ddof=1) / len(values)
    return result


@cache
def _expanded_tail(words: int) -> float:
    """Tail of a percentile interval widened to the t interval's coverage (Hesterberg: the expanded percentile)."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(-math.sqrt(words / (words - 1)) * stdtrit(words - 1, 0.5 + LEVEL / 2)))
