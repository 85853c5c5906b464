"""Facts: what the rules ask about a run, made from verdicts and evidence with the thresholds of moves.yaml."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tts_train.config import Settings
from tts_train.review.decision.ears import DIFFERENCE, NO_DIFFERENCE, Ears
from tts_train.review.decision.evidence import EpochEvidence, Evidence
from tts_train.review.decision.measured import Measures
from tts_train.review.record.verdicts import HARM

Earlier = Literal["usable", "incomplete", "none"]
Basis = Literal["verdicts", "evidence"]


class Thresholds(Settings):
    """Numbers the facts are made with; moves.yaml says what each means."""

    similarity_changed: float
    mel_changed: float
    wer_above_target: float
    gross_wer: float
    similarity_improving: float
    mel_improving: float
    short: float
    slow: float
    restores: float
    decays: float
    few_steps: int
    few_steps_per_epoch: int
    aim_steps: int
    still_drift: float
    raise_factor: float
    lower_factor: float
    far_above: float


@dataclass(frozen=True)
class Facts:
    """What the rules look at. `judged` is the epoch the signs speak of, `back` the one to go back to (0: the base).

    None is "not known": it meets no condition, neither that something holds nor that it does not.
    """

    basis: Basis
    signs: frozenset[str]
    judged: int
    back: int
    earlier: Earlier
    later: bool
    judged_good: bool
    trained_here: bool
    short: bool | None = None
    decays: bool | None = None
    restores_half: bool | None = None
    few_steps: bool | None = None


def facts_of(evidence: Evidence, ears: Ears, limits: Thresholds) -> Facts:
    """Everything the rules ask about a run.

    What was said of the last judged epoch makes the signs. Blind ABX trials count as judging when they hear no
    difference; a difference alone says nothing of its worth, so the measures are asked what it is.
    """
    judged = max(ears.said, default=evidence.last.epoch)
    signs, basis = _signs(evidence, ears, judged, limits)
    back, earlier = _earlier(evidence, ears, judged, signs, limits)
    return Facts(
        basis=basis,
        signs=signs,
        judged=judged,
        back=back,
        earlier=earlier,
        later=_later(evidence, judged, limits),
        judged_good=bool(ears.good) or "good" in signs,
        trained_here=evidence.trained_here,
        **_training(evidence, judged, limits),
    )


def _signs(evidence: Evidence, ears: Ears, judged: int, limits: Thresholds) -> tuple[frozenset[str], Basis]:
    if ears.said:
        return ears.said[judged], "verdicts"
    inferred = inferred_signs(evidence, limits)
    trials = ears.abx.get(judged)
    if NO_DIFFERENCE in inferred and trials and trials.heard == DIFFERENCE:
        return frozenset({"faint"}), "verdicts"
    return inferred, "evidence"


def _later(evidence: Evidence, judged: int, limits: Thresholds) -> bool:
    """Whether epochs after the judged one hold more training and pass the gates."""
    if evidence.last.epoch <= judged or passes(evidence, evidence.last, limits) is False:
        return False
    bound, last = evidence.sum_lr(judged), evidence.sum_lr(evidence.last.epoch)
    return bound is None or last is None or last.actual >= 1.5 * bound.actual


def _training(evidence: Evidence, judged: int, limits: Thresholds) -> dict[str, bool]:
    """Facts from rate, schedule and steps; none of a run that was trained elsewhere."""
    bound, here, per_epoch = evidence.sum_lr(judged), evidence.at(judged), evidence.steps_per_epoch
    if bound is None or here.step is None or per_epoch is None:
        return {}
    steps = here.step + evidence.inherited_steps
    return {
        "short": bound.actual < limits.short * bound.aim,
        "decays": bound.without_decay > limits.decays * bound.actual,
        "restores_half": bound.restored >= limits.restores,
        "few_steps": steps < limits.few_steps or per_epoch < limits.few_steps_per_epoch,
    }


def inferred_signs(evidence: Evidence, limits: Thresholds) -> frozenset[str]:
    """Signs from measures alone, of the last epoch against epoch 0; none when it was not measured."""
    base, here = evidence.base or Measures(), evidence.last.measures
    if here is None:
        return frozenset()
    if passes(evidence, evidence.last, limits) is False:
        return frozenset({"mangled"})
    if drifted(evidence, evidence.last):
        return frozenset({"overshot"})
    closer = difference(here.speaker_similarity, base.speaker_similarity)
    nearer = share(here.mel_distance, base.mel_distance)
    if closer is None and nearer is None:
        return frozenset({"starved"}) if _starved(evidence, limits) else frozenset()
    if (closer or 0.0) <= -limits.similarity_changed:
        return frozenset({"wrong-direction"})
    if abs(closer or 0.0) < limits.similarity_changed and abs(nearer or 0.0) < limits.mel_changed:
        return frozenset({"no-difference"})
    if not _improving(evidence, limits):
        return frozenset({"settled"})
    return frozenset({"slow" if _starved(evidence, limits) else "improving"})


def passes(evidence: Evidence, item: EpochEvidence, limits: Thresholds) -> bool | None:
    """Whether an epoch passes the gates; None when it was not measured.

    A gate that the untouched base fails as well says nothing about training; the one on words always counts.
    """
    measures = item.measures
    if measures is None:
        return None
    if words_hold(measures, limits) is False:
        return False
    at_base = evidence.base.failed_gates if evidence.base else frozenset()
    return not measures.failed_gates - at_base - {"wer"}


def best_epoch(evidence: Evidence, limits: Thresholds) -> EpochEvidence | None:
    """The epoch to hear first: of the trained ones that pass the gates the one most like the target.

    None when none passes, or nothing was measured.
    """
    passing = [item for item in evidence.epochs[1:] if passes(evidence, item, limits)]
    return most_like(passing) if passing else None


def most_like(epochs: Sequence[EpochEvidence]) -> EpochEvidence:
    """Of some epochs the one most like the target speaker; of equals, and where that was not measured, the last."""
    return max(epochs, key=lambda item: (similarity(item), item.epoch))


def words_hold(measures: Measures, limits: Thresholds) -> bool | None:
    """The gate on words: the probe's own, else WER against the target's."""
    if "wer" in measures.gates:
        return measures.gates["wer"].passed
    if measures.wer is None or measures.target_wer is None:
        return None
    return measures.wer <= measures.target_wer + limits.wer_above_target + 1e-9


def _earlier(
    evidence: Evidence, ears: Ears, judged: int, signs: frozenset[str], limits: Thresholds
) -> tuple[int, Earlier]:
    """The epoch before `judged` to go back to: judged good, else unharmed and passing the gates.

    Before a drift past the target means: not measured to be past it either, unless somebody heard that epoch as good.
    """
    before = [item for item in evidence.epochs if 0 < item.epoch < judged]
    good = [item.epoch for item in before if ears.said.get(item.epoch, frozenset()) == {"good"}]
    if good:
        return good[-1], "usable"
    unharmed = [item for item in before if not ears.said.get(item.epoch, frozenset()) & HARM]
    if "overshot" in signs:
        unharmed = [item for item in unharmed if not drifted(evidence, item)]
    unheard = [item for item in unharmed if item.epoch not in ears.said]
    passing = [item for item in unheard if passes(evidence, item, limits)]
    if not evidence.measured:
        # Nothing is measured, so no gate can choose: the epoch just before the fault is the one to hear next.
        passing = unheard[-1:]
    lacking = [item.epoch for item in unharmed if item.epoch in ears.said]
    if passing and (not lacking or passing[-1].epoch > lacking[-1]):
        chosen = passing[-1] if ears.said else most_like(passing)
        return chosen.epoch, "usable"
    return (lacking[-1], "incomplete") if lacking else (0, "none")


def drifted(evidence: Evidence, item: EpochEvidence) -> frozenset[str]:
    """Contrasts of an epoch that are measured past the target, where the base is not."""
    at_base = evidence.base.overshot if evidence.base else frozenset()
    return item.measures.overshot - at_base if item.measures else frozenset()


def _improving(evidence: Evidence, limits: Thresholds) -> bool:
    epochs = evidence.epochs
    earlier = epochs[len(epochs) - 1 - max(1, math.ceil((len(epochs) - 1) / 3))].measures
    here = epochs[-1].measures
    if earlier is None or here is None:
        return False
    gain = difference(here.speaker_similarity, earlier.speaker_similarity)
    if gain is not None:
        return gain >= limits.similarity_improving
    return (share(here.mel_distance, earlier.mel_distance) or 0.0) <= -limits.mel_improving


def _starved(evidence: Evidence, limits: Thresholds) -> bool:
    bound = evidence.sum_lr(evidence.last.epoch)
    return bound is not None and bound.actual < limits.slow * bound.aim


def similarity(item: EpochEvidence) -> float:
    measured = item.measures.speaker_similarity if item.measures else None
    return -math.inf if measured is None else measured


def difference(here: float | None, base: float | None) -> float | None:
    return None if here is None or base is None else here - base


def share(here: float | None, base: float | None) -> float | None:
    return None if here is None or not base else here / base - 1.0
