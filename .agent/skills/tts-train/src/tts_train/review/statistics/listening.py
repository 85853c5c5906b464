"""What blind trials show by themselves: which of them count, whether a difference is heard, what the controls say.

Only answers of closed blind sessions on one render key count: while a session is open, its answers may not be looked
at, and whoever sees the epoch hears it. What does not count is listed, never dropped in silence. Repeats measure the
listener, so they are not counted a second time as evidence on the epochs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tts_train.review.record.trials import ANCHOR, TARGET, Judgement, epoch_of
from tts_train.review.statistics.intervals import (
    MIN_DECISIVE,
    SUPPOSED,
    Interval,
    clopper_pearson,
    needed,
    needed_below,
)

Heard = Literal["difference", "no-difference", "undecided"]

SAME_BELOW = 0.75
"""Correct answers to ABX below this share mean: heard in fewer than half of the trials (Abbott's correction,
2 x share - 1). When the whole interval lies below it, "no difference" is a finding and not a lack of trials."""
ATTENTIVE = 0.9
"""A listener who listens tells the low-pass anchor from speech at least this often."""
ONE_SIDED = 0.75
"""Of the answers that name a side; sides are balanced, so beyond this they follow the side and not the sound."""
SWAPPED = 0.5
"""Repeats swap the sides. Who guesses names the same side again half of the time, who listens less often."""


def source(epoch: int) -> str:
    """The name of an epoch in trials."""
    return f"epoch-{epoch:03d}"


def chosen(item: Judgement) -> str:
    """The source that was named: as X, as preferred, or as closer to X; "same" when none was."""
    return item.answer if item.answer == "same" else (item.first if item.answer == "first" else item.second)


@dataclass(frozen=True)
class Counted:
    """Judgements that count as evidence, and how many do not, by reason."""

    judgements: tuple[Judgement, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    """Listener → the preset rule that their control trials broke."""

    @property
    def sessions(self) -> tuple[str, ...]:
        return tuple(sorted({item.session for item in self.judgements}))

    def tests(self, kind: str) -> list[Judgement]:
        """Trials that are evidence on epochs: no controls, no repeats."""
        return [item for item in self.judgements if item.kind == kind and item.role == "test"]


@dataclass(frozen=True)
class Abx:
    """ABX trials of an epoch against another one. `low` and `high`: Clopper-Pearson, 95 %, of the share correct."""

    epoch: int
    against: int
    n: int
    correct: int
    low: float
    high: float
    heard: Heard
    more_trials: int | None
    """Undecided: trials to plan next, so that one answer or the other is likely if the share stays; else None."""
    listeners: tuple[str, ...] = ()

    def quoted(self) -> str:
        """The finding as a sentence."""
        told = {
            "difference": "the difference is heard",
            "no-difference": "no difference that most would hear",
            "undecided": "undecided",
        }[self.heard]
        interval = f"95 % interval {self.low:.0%} to {self.high:.0%}; guessing is 50 %"
        return f"ABX, epoch {self.epoch} against {self.against}: {self.correct}/{self.n} correct ({interval}): {told}."


@dataclass(frozen=True)
class Controls:
    """One listener's control trials in sessions that count."""

    listener: str
    region: str
    trials: int
    identical: int
    false_alarms: int
    """Identical pairs (of `identical`) in which a difference was claimed."""
    repeats: int
    consistent: int
    """Repeats (of `repeats`) answered like the first time, though the sides were swapped."""
    same_side: int
    """Repeats in which the same side was named both times, so the other clip."""
    same_clip: int
    """Repeats in which the same clip was named both times; in the rest, "same" was said once or twice."""
    anchors: int
    anchor_hits: int
    naturals: int
    natural_hits: int
    """Trials (of `naturals`) in which the real speaker was told or preferred; good speech may well be missed."""
    sided: int
    firsts: int
    """Answers "first" among the `sided` test and repeat answers that name a side."""
    excluded: str | None
    """The preset rule that was broken, as a sentence; None when none was."""

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


def counted(judgements: Iterable[Judgement], render_key: str | None = None) -> Counted:
    """Sort out which judgements count. `render_key` None: the one with most closed blind answers.

    A listener is excluded with all answers when their controls broke a preset rule (see `controls`).
    """
    given = list(judgements)
    usable = [item for item in given if item.blind and item.closed]
    key = render_key or _commonest([item.render_key for item in usable])
    left_out: dict[str, int] = {}
    kept: list[Judgement] = []
    broken = {found.listener: found.excluded for found in controls(given, key) if found.excluded}
    for item in given:
        why = _not_counted(item, key, broken)
        if why:
            left_out[why] = left_out.get(why, 0) + 1
        else:
            kept.append(item)
    return Counted(tuple(kept), left_out, broken)


def abx(judgements: Iterable[Judgement], epoch: int, against: int = 0, render_key: str | None = None) -> Abx:
    """Whether listeners hear a difference between two epochs, from the ABX trials that count (see `counted`).

    "difference": the interval of the share correct lies above 1/2 and there are at least MIN_DECISIVE trials. That is
    a one-sided error of 2.5 %, stricter than the customary 5 %, so that the interval shown and the answer agree.
    "no-difference": the interval lies below SAME_BELOW (so 20 trials with 10 correct suffice). Else "undecided".
    Listeners are pooled: to see whether they differ, pass the judgements of one at a time.
    """
    pair = {source(epoch), source(against)}
    trials = [item for item in counted(judgements, render_key).tests("abx") if {item.first, item.second} == pair]
    correct = sum(chosen(item) == item.x for item in trials)
    interval = clopper_pearson(correct, len(trials))
    heard = _heard(interval, len(trials))
    more = _more_trials(correct, len(trials)) if heard == "undecided" else None
    who = tuple(sorted({item.listener for item in trials}))
    return Abx(epoch, against, len(trials), correct, interval.low, interval.high, heard, more, who)


def abx_epochs(judgements: Iterable[Judgement], against: int = 0) -> list[int]:
    """Epochs that were heard in ABX trials against another one, in order."""
    pairs = [{item.first, item.second} for item in judgements if item.kind == "abx" and item.role == "test"]
    others = {name for pair in pairs if source(against) in pair for name in pair - {source(against)}}
    return sorted(number for name in others if (number := epoch_of(name)) is not None)


def controls(judgements: Iterable[Judgement], render_key: str | None = None) -> list[Controls]:
    """Control trials of every listener in closed blind sessions, and who is excluded by which preset rule.

    A rule excludes only when its 95 % Clopper-Pearson interval shows the breach, so an attentive listener is lost to
    it with a probability of at most 2.5 %, and few controls exclude nobody:

    * anchor: the low-pass anchor was told from speech less often than ATTENTIVE;
    * sides: an answer names the same side more often than ONE_SIDED, whatever is played there;
    * repeats: with the sides swapped, the same side was named again more often than SWAPPED.

    False alarms on identical pairs and misses of the natural clip exclude nobody: where nothing differs a forced
    choice is a coin and favours no epoch, and a good voice is taken for the real one. They are shown.
    """
    usable = [item for item in judgements if item.blind and item.closed]
    if render_key is not None:
        usable = [item for item in usable if item.render_key == render_key]
    names = sorted({item.listener for item in usable})
    return [_controls_of(name, [item for item in usable if item.listener == name]) for name in names]


def _controls_of(listener: str, items: Sequence[Judgement]) -> Controls:
    by_role = {
        role: [item for item in items if item.role == role] for role in ("identical", "repeat", "anchor", "natural")
    }
    hits = {"anchor": 0, "natural": 0}
    for item in (*by_role["anchor"], *by_role["natural"]):
        hits[item.role] += _is_hit(item)
    answered = {(item.session, item.number): item for item in items}
    pairs = [
        (item, answered[item.session, item.repeat_of])
        for item in by_role["repeat"]
        if item.repeat_of is not None and (item.session, item.repeat_of) in answered
    ]
    sided = [item for item in items if item.role in ("test", "repeat") and item.answer != "same"]
    numbers = {
        "trials": len(items),
        # ABX on identical clips has no right answer.
        "identical": sum(item.kind != "abx" for item in by_role["identical"]),
        "false_alarms": sum(item.kind != "abx" and item.answer != "same" for item in by_role["identical"]),
        "repeats": len(pairs),
        "consistent": sum(chosen(again) == chosen(before) for again, before in pairs),
        "same_clip": sum(chosen(again) == chosen(before) != "same" for again, before in pairs),
        "same_side": sum(again.answer == before.answer != "same" for again, before in pairs),
        "anchors": len(by_role["anchor"]),
        "anchor_hits": hits["anchor"],
        "naturals": len(by_role["natural"]),
        "natural_hits": hits["natural"],
        "sided": len(sided),
        "firsts": sum(item.answer == "first" for item in sided),
    }
    return Controls(listener, items[-1].region, **numbers, excluded=_broken_rule(numbers))


def _broken_rule(numbers: dict[str, int]) -> str | None:
    hits, anchors = numbers["anchor_hits"], numbers["anchors"]
    if clopper_pearson(hits, anchors).high < ATTENTIVE:
        return f"told the low-pass anchor from speech in {hits} of {anchors} trials only"
    firsts, sided = numbers["firsts"], numbers["sided"]
    most, side = max((firsts, "first"), (sided - firsts, "second"))
    if clopper_pearson(most, sided).low > ONE_SIDED:
        return f"answered “{side}” in {most} of {sided} trials: the answers follow the side"
    again = numbers["same_side"]
    if clopper_pearson(again, again + numbers["same_clip"]).low > SWAPPED:
        return f"named the same side again in {again} of {numbers['repeats']} repeats, though the clips were swapped"
    return None


def _not_counted(item: Judgement, key: str | None, broken: dict[str, str]) -> str | None:
    if not item.blind:
        return "sighted"
    if not item.closed:
        return "session still open"
    if item.render_key != key:
        return "other render key"
    return "listener excluded" if item.listener in broken else None


def _heard(interval: Interval, n: int) -> Heard:
    if n < MIN_DECISIVE:
        return "undecided"
    if interval.low > 0.5:
        return "difference"
    return "no-difference" if interval.high < SAME_BELOW else "undecided"


def _more_trials(correct: int, n: int) -> int | None:
    share = correct / n if n >= MIN_DECISIVE else SUPPOSED
    totals = [needed(share) if share > 0.5 else None, needed_below(max(share, 0.5), SAME_BELOW)]
    least = min((total for total in totals if total is not None), default=None)
    return None if least is None else max(MIN_DECISIVE, least - n)


def _is_hit(item: Judgement) -> bool:
    if item.kind == "abx":
        return chosen(item) == item.x
    named = chosen(item)
    return named == TARGET if item.role == "natural" else named not in (ANCHOR, "same")


def _commonest(keys: Sequence[str]) -> str | None:
    return max(sorted(set(keys)), key=keys.count, default=None)
