"""Strengths of epochs from paired comparisons: the Bradley-Terry model with a stated prior and clustered intervals.

P(i is preferred to j) = 1 / (1 + exp(strength j - strength i)) (Bradley & Terry 1952, Biometrika 39:324). "Same" is
half a win for each.

**Prior.** Every contender has won PRIOR and lost PRIOR comparisons against an imagined opponent of strength 0, which is
a generalised logistic prior on each strength (Whelan 2017, arXiv:1712.05311: it treats contenders alike, wins and
losses alike, and does not depend on who else is compared). It keeps strengths finite when somebody won everything.
choix's own regularisation is not used: its I-LSR adds a rate that is the posterior of no stated prior, its
`opt_pairwise` has the variance 1/(2 alpha) where its docs say 1/alpha, and without either it fails on such data (tried
with 0.4.1). The imagined opponent is simply one more row of the matrix that choix is given.

**Intervals.** The share sigma(difference) gets the Clopper-Pearson interval of its number of effective comparisons: the
information that the data, not the prior, hold on the difference, divided by the design effect (Korn & Graubard 1998,
Survey Methodology 24:193). With two contenders and no clustering that is the plain Clopper-Pearson interval. The design
effect is the bootstrap variance over listeners plus that over texts less that over single trials (the two-way rule of
Cameron, Gelbach & Miller 2011, JBES 29:238), in units of the last. It is at least 1, and what it has above 1 is widened
by (t / z) squared for the number of clusters that told it. Fewer than MIN_CLUSTERS listeners (or texts) cannot stand
for others: they are not resampled, and what is found is said of them alone. Coverage with simulated listeners:
benchmarks/listeners.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tts_train.review.record.trials import Judgement
from tts_train.review.statistics.intervals import LEVEL, Interval, clopper_pearson, tie_probability

Floats = NDArray[np.float64]

PRIOR = 0.5
"""Wins, and as many losses, of every contender against an imagined opponent of strength 0."""
REPLICATES = 1000
MIN_CLUSTERS = 5


@dataclass(frozen=True)
class Comparison:
    """One answer. `score` is 1 when `first` was chosen, 0 when `second`, 0.5 for "same"."""

    first: str
    second: str
    score: float
    listener: str
    item: str


@dataclass(frozen=True)
class Strength:
    """How a contender stands to the mean of the others (or to one), as log-odds and as share of answers."""

    log_odds: float
    share: float
    interval: Interval
    """Of the share; a bound of 0 or 1 has no finite log-odds."""
    effective: float
    """Independent comparisons that hold as much on it."""
    tie_probability: float
    """Two-sided p value of equal strength."""


def comparisons(judgements: Iterable[Judgement]) -> list[Comparison]:
    """AB or XAB answers as comparisons; two clips of one epoch are none."""
    score = {"first": 1.0, "same": 0.5, "second": 0.0}
    return [
        Comparison(item.first, item.second, score[item.answer], item.listener, item.item)
        for item in judgements
        if item.first != item.second
    ]


class BradleyTerry:
    """The model of some comparisons. `names` is sorted; raises ValueError without a comparison.

    Deterministic: the bootstrap draws from a fixed `seed`.
    """

    def __init__(self, given: Sequence[Comparison], seed: int = 0, replicates: int = REPLICATES) -> None:
        if not given:
            raise ValueError("Bradley-Terry needs at least one comparison")
        self.given = tuple(given)
        self.names = tuple(sorted({name for item in given for name in (item.first, item.second)}))
        self._place = {name: index for index, name in enumerate(self.names)}
        self._seed, self._replicates = seed, replicates
        self.wins = _wins(self._sides, np.array([item.score for item in given]), np.ones((1, len(given))))[0]
        self.log_odds = _choix(self.wins)
        """One per name, zero for the imagined opponent of the prior."""

    def strength(self, name: str, level: float = LEVEL) -> Strength:
        """A contender against the mean of all others. Raises KeyError for a name that was not compared."""
        weights = np.full(len(self.names), -1.0 / (len(self.names) - 1))
        weights[self._place[name]] = 1.0
        return self._of(weights, level)

    def against(self, name: str, other: str, level: float = LEVEL) -> Strength:
        """A contender against another one, indirect comparisons included."""
        weights = np.zeros(len(self.names))
        weights[self._place[name]], weights[self._place[other]] = 1.0, -1.0
        return self._of(weights, level)

    def record(self, name: str) -> tuple[int, int, int]:
        """Wins, losses and "same" of a contender."""
        mine = [
            item.score if item.first == name else 1.0 - item.score for item in self.given if self._plays(item, name)
        ]
        return mine.count(1.0), mine.count(0.0), mine.count(0.5)

    @property
    def resampled(self) -> tuple[str, ...]:
        """What the intervals generalise over: "listeners", "texts", both or (too few of them) neither."""
        return tuple(name for name in ("listeners", "texts") if len(np.unique(self._drawn[name])) >= MIN_CLUSTERS)

    def _of(self, weights: Floats, level: float) -> Strength:
        log_odds = float(weights @ self.log_odds)
        share = 1.0 / (1.0 + float(np.exp(-log_odds)))
        wins, n = self._effective(weights, share)
        return Strength(log_odds, share, clopper_pearson(wins, n, level), n, tie_probability(wins, n))

    def _effective(self, weights: Floats, share: float) -> tuple[float, float]:
        """(wins, n) of a binomial that holds on a contrast what the data hold, without the prior's share."""
        if not self._comparable(weights):
            return 0.0, 0.0
        information, score = _information(self.wins, self.log_odds)
        inverse = np.linalg.pinv(information, hermitian=True)
        variance = float(weights @ inverse @ weights)
        n = 1.0 / (variance * share * (1.0 - share))
        # One Newton step from the posterior mode to where the data alone have it: for two contenders, their wins.
        wins = min(max(n * share + float(weights @ inverse @ score) / variance, 0.0), n)
        effect = self._design_effect(weights)
        return wins / effect, n / effect

    def _comparable(self, weights: Floats) -> bool:
        """Whether all that the contrast weighs is linked by comparisons."""
        group = np.arange(len(self.names))
        for first, second in self._sides.T:
            group[group == group[second]] = group[first]
        return len(set(group[weights != 0.0])) == 1

    def _design_effect(self, weights: Floats) -> float:
        from scipy.stats import norm, t

        if not self.resampled:
            return 1.0
        spread = {}
        groups = {name: len(np.unique(self._drawn[name])) for name in self._bootstrap}
        for name, drawn in self._bootstrap.items():
            # A bootstrap over G clusters is short by (G - 1) / G.
            spread[name] = float((drawn @ weights).var()) * groups[name] / (groups[name] - 1)
        single = spread.pop("trials")
        if single < 1e-12:
            # All answers agree: replicates differ by how many answers a text has, which the prior alone feels.
            return 1.0
        effect = (sum(spread.values()) - single * (len(spread) - 1)) / single
        few = min(groups[name] for name in spread)
        widened = float(t.ppf(0.5 + LEVEL / 2, few - 1) / norm.ppf(0.5 + LEVEL / 2)) ** 2
        return 1.0 + max(0.0, effect - 1.0) * widened

    @cached_property
    def _bootstrap(self) -> dict[str, Floats]:
        """Strengths (replicates, names) with listeners, texts or single trials drawn anew."""
        if not self.resampled:
            return {}
        rng = np.random.default_rng(self._seed)
        scores = np.array([item.score for item in self.given])
        return {
            name: _newton(_wins(self._sides, scores, _multiplicity(self._drawn[name], self._replicates, rng)))
            for name in (*self.resampled, "trials")
        }

    @cached_property
    def _sides(self) -> NDArray[np.int64]:
        """(2, comparisons) places of first and second."""
        return np.array([[self._place[item.first], self._place[item.second]] for item in self.given]).T

    @cached_property
    def _drawn(self) -> dict[str, NDArray[np.int64]]:
        """What a bootstrap may draw → (comparisons,) which of them each comparison belongs to, from 0."""
        listeners = np.unique([item.listener for item in self.given], return_inverse=True)[1]
        texts = np.unique([item.item for item in self.given], return_inverse=True)[1]
        return {"listeners": listeners, "texts": texts, "trials": np.arange(len(self.given))}

    @staticmethod
    def _plays(item: Comparison, name: str) -> bool:
        return name in (item.first, item.second)


def _multiplicity(clusters: NDArray[np.int64], replicates: int, rng: np.random.Generator) -> Floats:
    """(replicates, comparisons): how often each is drawn when whole clusters are."""
    count = int(clusters.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1.0 / count), replicates)
    result: Floats = drawn[:, clusters].astype(float)
    return result


def _wins(sides: NDArray[np.int64], scores: Floats, times: Floats) -> Floats:
    """(replicates, names, names) wins of row over column, every comparison counted `times`."""
    k = int(sides.max()) + 1
    cells = np.zeros((k * k, len(scores)))
    places = np.arange(len(scores))
    cells[sides[0] * k + sides[1], places] = scores
    cells[sides[1] * k + sides[0], places] = 1.0 - scores
    result: Floats = (times @ cells.T).reshape(-1, k, k)
    return result


def _choix(wins: Floats) -> Floats:
    """Posterior mode: choix's maximum likelihood of the comparisons and those with the imagined opponent."""
    import choix

    k = len(wins)
    with_prior = np.full((k + 1, k + 1), PRIOR)
    with_prior[:k, :k] = wins
    with_prior[k, k] = 0.0
    found = choix.ilsr_pairwise_dense(with_prior, max_iter=100_000)
    result: Floats = found[:k] - found[k]
    return result


def _newton(wins: Floats) -> Floats:
    """`_choix` for many matrices (replicates, names, names) at once; choix takes them one by one, 30 times slower."""
    log_odds = np.zeros(wins.shape[:2])
    for _ in range(100):
        information, score = _information(wins, log_odds)
        virtual = 1.0 / (1.0 + np.exp(-log_odds))
        score = score + PRIOR * (1.0 - 2.0 * virtual)
        information = information + np.eye(wins.shape[1]) * (2.0 * PRIOR * virtual * (1.0 - virtual))[..., None]
        step = np.clip(np.linalg.solve(information, score[..., None])[..., 0], -2.0, 2.0)
        log_odds = log_odds + step
        if np.abs(step).max() < 1e-9:
            break
    return log_odds


def _information(wins: Floats, log_odds: Floats) -> tuple[Floats, Floats]:
    """Fisher information (…, names, names) and score (…, names) of the comparisons alone."""
    total = wins + np.swapaxes(wins, -1, -2)
    share = 1.0 / (1.0 + np.exp(log_odds[..., None, :] - log_odds[..., :, None]))
    weight = total * share * (1.0 - share)
    information = np.eye(wins.shape[-1]) * weight.sum(-1)[..., None] - weight
    return information, (wins - total * share).sum(-1)


def as_json(found: Strength) -> dict[str, Any]:
    """JSON form, rounded; log-odds of a bound of 0 or 1 are None."""
    bounds = [
        None if share in (0.0, 1.0) else round(float(np.log(share / (1.0 - share))), 3)
        for share in (found.interval.low, found.interval.high)
    ]
    return {
        "strength": round(found.log_odds, 3),
        "strength_low": bounds[0],
        "strength_high": bounds[1],
        "share": round(found.share, 3),
        "share_low": round(found.interval.low, 3),
        "share_high": round(found.interval.high, 3),
        "effective_comparisons": round(found.effective, 1),
    }
