"""Intervals and numbers of trials for counted answers: yes or no, this one or that one.

Clopper and Pearson (1934, Biometrika 26:404) decide: their interval covers the truth at least as often as it says,
at every n. Wilson (1927, JASA 22:209) is shown where a share is only displayed: shorter, covering about as often as it
says on average (Brown, Cai & DasGupta 2001, Statistical Science 16:101). Assumed: trials are independent of each
other, and n was fixed before the first answer; neither can be seen in the counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

LEVEL = 0.95
MIN_DECISIVE = 8
"""Fewer decisive answers never make a winner, whatever their intervals say."""
POWER = 0.8
SUPPOSED = 0.75
"""Share of answers supposed when there are none to estimate it from: half-way between guessing and certain."""
MAX_TRIALS = 500
"""A preference so slight that it needs more than this is not worth anybody's evening."""


@dataclass(frozen=True)
class Interval:
    """Bounds of a share, 0 to 1."""

    low: float
    high: float

    def excludes(self, share: float) -> bool:
        return share < self.low or share > self.high


def clopper_pearson(successes: float, n: float, level: float = LEVEL) -> Interval:
    """Exact two-sided interval of a share; [0, 1] without trials.

    Fractions are taken too: half wins, or a number of effective trials (Korn & Graubard 1998, Survey Methodology
    24:193). With whole numbers it is scipy's `binomtest(...).proportion_ci(method="exact")`.
    """
    from scipy.special import betaincinv

    tail = (1.0 - level) / 2
    low = betaincinv(successes, n - successes + 1.0, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1.0, n - successes, 1.0 - tail) if n - successes > 0 else 1.0
    return Interval(float(low), float(high))


def wilson(successes: float, n: float, level: float = LEVEL) -> Interval:
    """Score interval of a share, for display; [0, 1] without trials. Ties may count as half successes."""
    from scipy.stats import norm

    if n <= 0:
        return Interval(0.0, 1.0)
    z2 = float(norm.isf((1.0 - level) / 2)) ** 2
    centre = (successes + z2 / 2) / (n + z2)
    half = (z2 * (successes * (n - successes) / n + z2 / 4)) ** 0.5 / (n + z2)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def tie_probability(successes: float, n: float) -> float:
    """Two-sided p value of a share of 1/2: twice the smaller tail, at most 1.

    Below 1 - level exactly when `clopper_pearson` at that level excludes 1/2. Fractions as there.
    """
    from scipy.special import betainc

    more = max(successes, n - successes)
    return min(1.0, 2.0 * float(betainc(more, n - more + 1.0, 0.5)))


@cache
def decides(n: int, level: float = LEVEL) -> int | None:
    """The smallest number of equal answers out of n whose interval excludes a tie; None when not even n do."""
    return next((k for k in range(n // 2 + 1, n + 1) if tie_probability(k, n) < 1.0 - level), None)


def power(n: int, share: float, level: float = LEVEL) -> float:
    """Probability that n trials decide for the right side when its true share is `share` (> 1/2)."""
    from scipy.stats import binom

    least = decides(n, level)
    return 0.0 if least is None else float(binom.sf(least - 1, n, share))


def needed(share: float, level: float = LEVEL, aim: float = POWER) -> int | None:
    """Trials that decide with probability `aim` when the true share is `share`; at least MIN_DECISIVE.

    The power of an exact test falls back at some n (saw teeth); this is the first n that reaches the aim. None above
    MAX_TRIALS, so also for a share of 1/2.
    """
    share = max(share, 1.0 - share)
    if share <= 0.5 or power(MAX_TRIALS, share, level) < aim:
        return None
    return next(n for n in range(MIN_DECISIVE, MAX_TRIALS + 1) if power(n, share, level) >= aim)


def needed_below(share: float, limit: float, level: float = LEVEL, aim: float = POWER) -> int | None:
    """Trials after which the whole interval lies below `limit` with probability `aim` when the true share is `share`.

    None above MAX_TRIALS. The bound is below the limit when so few successes had a probability below (1 - level) / 2.
    """
    from scipy.stats import binom

    for n in range(MIN_DECISIVE, MAX_TRIALS + 1):
        most = int(binom.ppf((1.0 - level) / 2, n, limit)) - 1
        if most >= 0 and binom.cdf(most, n, share) >= aim:
            return n
    return None
