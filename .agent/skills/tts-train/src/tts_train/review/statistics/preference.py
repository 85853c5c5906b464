"""Which epoch listeners prefer, or that it is undecided: the decision rule over blind paired trials of one kind.

A winner needs all of these; else the answer is "undecided":

* at least MIN_DECISIVE decisive answers (not "same") on trials with it;
* against every other contender, a two-sided test that excludes a tie, Holm-adjusted (Holm 1979, Scandinavian Journal of
  Statistics 6:65) over these tests, at a family-wise 5 %. Testing the observed leader against the others needs no
  further correction for having chosen it (Hung & Fithian 2019, Annals of Statistics 47:758: a two-sided test of the
  winner against the runner-up is valid);
* nobody's own answers significantly prefer another contender to it: listeners who disagree are not averaged away.

Looking again after more trials is another chance to err. A round is a session that a listener closed, as its result may
have been seen: with several, the level is 5 % divided by the number of rounds of the listener who has most of them
(Bonferroni). What looking again and again still costs is in benchmarks/listeners.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from tts_train.review.record.trials import Judgement
from tts_train.review.statistics.bradley_terry import REPLICATES, BradleyTerry, Strength, comparisons
from tts_train.review.statistics.intervals import LEVEL, MAX_TRIALS, MIN_DECISIVE, SUPPOSED, needed

EQUAL = 1e-6
"""Log-odds that differ by less are the optimizer's."""


@dataclass(frozen=True)
class Rival:
    """A contender as the leader stands to it. `p` is Holm-adjusted."""

    name: str
    leader: Strength
    p: float


@dataclass(frozen=True)
class Opposed:
    """Two listeners whose own answers significantly prefer the opposite of each other."""

    preferred: str
    to: str
    listener: str
    other: str

    def quoted(self) -> str:
        return f"{self.listener} prefers {self.preferred} to {self.to}, {self.other} the other way round"


@dataclass(frozen=True)
class Preference:
    """The answer of all trials of one kind ("ab": preferred; "xab": closer to the real speaker)."""

    kind: str
    trials: int
    listeners: tuple[str, ...]
    rounds: int
    level: float
    """Of the decision: LEVEL after one round, stricter after more."""
    model: BradleyTerry | None
    leader: str | None
    winner: str | None
    why: str
    more_trials: int | None
    rivals: tuple[Rival, ...] = ()
    own: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """Of two listeners or more: (preferred, other) where the listener's own answers exclude a tie."""

    @property
    def opposed(self) -> list[Opposed]:
        """Pairs of listeners who significantly prefer the opposite of each other."""
        return [
            Opposed(*pair, listener, other)
            for listener, pairs in self.own.items()
            for pair in sorted(pairs)
            for other, others in self.own.items()
            if pair[0] < pair[1] and (pair[1], pair[0]) in others
        ]


def prefer(kind: str, trials: Sequence[Judgement], replicates: int = REPLICATES) -> Preference:
    """Decide from the test trials of one kind that count (`listening.counted`); `replicates` of each bootstrap."""
    given = comparisons(trials)
    who = tuple(sorted({item.listener for item in trials}))
    rounds = max((len({item.session for item in trials if item.listener == name}) for name in who), default=1)
    level = 1.0 - (1.0 - LEVEL) / rounds
    if not given:
        told = Preference(kind, 0, who, rounds, level, None, None, None, "", None)
        why = "no blind trial of a closed session counts"
        return replace(told, why=why, more_trials=needed(SUPPOSED))
    model = BradleyTerry(given, replicates=replicates)
    leader = model.names[int(model.log_odds.argmax())]
    found = {name: model.against(leader, name, level) for name in model.names if name != leader}
    rivals = holm(found)
    own = {name: _significant(trials, name, replicates) for name in who} if len(who) > 1 else {}
    told = Preference(kind, len(given), who, rounds, level, model, leader, None, "", None, rivals=rivals, own=own)
    return _decided(told)


def holm(found: dict[str, Strength]) -> tuple[Rival, ...]:
    """Rivals with adjusted p values, the closest to the leader last."""
    rivals: list[Rival] = []
    least = 0.0
    for done, name in enumerate(sorted(found, key=lambda name: found[name].tie_probability)):
        least = max(least, min(1.0, found[name].tie_probability * (len(found) - done)))
        rivals.append(Rival(name, found[name], least))
    return tuple(rivals)


def _decided(told: Preference) -> Preference:
    assert told.model is not None
    assert told.leader is not None
    leader, alpha = told.leader, 1.0 - told.level
    wins, losses, _ = told.model.record(leader)
    tied = [rival for rival in told.rivals if rival.p >= alpha]
    against = sorted(name for name, pairs in told.own.items() if any(pair[1] == leader for pair in pairs))
    if tied:
        names = " and ".join(rival.name for rival in tied)
        closest = min(tied, key=lambda rival: rival.leader.share)
        leads = f"{leader} leads, but a tie" if closest.leader.log_odds > EQUAL else f"nobody leads: a tie of {leader}"
        why = (
            f"{leads} with {names} is not excluded "
            f"({closest.leader.share:.0%} over {closest.name}, {told.level:.1%} interval "
            f"{closest.leader.interval.low:.0%} to {closest.leader.interval.high:.0%})"
        )
        more = _more_trials(told, tied)
        equal = [rival.name for rival in tied if _equal(rival.leader)]
        if more is None and equal:
            why += f"; hardly more than half prefer it to {' and '.join(equal)}: take them as equal"
        return replace(told, why=why, more_trials=more)
    if wins + losses < MIN_DECISIVE:
        why = f"{leader} leads on {wins + losses} decisive answers only; below {MIN_DECISIVE} nobody wins"
        return replace(told, why=why, more_trials=MIN_DECISIVE - wins - losses)
    if against:
        why = f"most answers prefer {leader}, but those of {' and '.join(against)} do not: a conflict, not an average"
        return replace(told, why=why)
    worst = max(told.rivals, key=lambda rival: rival.p)
    why = f"{leader} is preferred to every other contender (largest adjusted p {worst.p:.3f}, against {worst.name})"
    return replace(told, why=why, winner=leader)


def _more_trials(told: Preference, tied: Sequence[Rival]) -> int | None:
    """Further trials that decide with a probability of about 0.8 if the present preference is the true one.

    For each rival that is not excluded: the binomial trials that the present share needs at the next round's level,
    over the effective comparisons that there are, times the trials that gave those. While these are few, or the share
    is too close to 1/2 to be told, SUPPOSED stands for it. None when a rival is equal for all that matters, or when
    more than MAX_TRIALS would be needed.
    """
    next_level = 1.0 - (1.0 - LEVEL) / (told.rounds + 1)
    most = MIN_DECISIVE
    for rival in tied:
        if _equal(rival.leader):
            return None
        effective, share = rival.leader.effective, rival.leader.share
        estimated = needed(share, next_level) if effective >= MIN_DECISIVE else None
        least = estimated or needed(SUPPOSED, next_level) or MAX_TRIALS
        # A balanced design gives a difference one effective comparison per (contenders - 1) trials.
        per_comparison = told.trials / effective if effective >= 1.0 else float(len(told.rivals))
        most = max(most, math.ceil(per_comparison * (least - effective)))
    return most if most <= MAX_TRIALS else None


def _equal(leader: Strength) -> bool:
    """Whether even the upper bound is less than what is worth an evening of listening."""
    return leader.interval.high < SUPPOSED


def _significant(trials: Sequence[Judgement], listener: str, replicates: int) -> list[tuple[str, str]]:
    """(preferred, other) where one listener's own answers exclude a tie, Bonferroni over all pairs."""
    own = comparisons([item for item in trials if item.listener == listener])
    if len(own) < MIN_DECISIVE:
        return []
    model = BradleyTerry(own, replicates=replicates)
    pairs = list(combinations(model.names, 2))
    found = [(pair, model.against(*pair)) for pair in pairs]
    return [
        pair if strength.log_odds > 0 else (pair[1], pair[0])
        for pair, strength in found
        if strength.tie_probability * len(pairs) < 1.0 - LEVEL
    ]
