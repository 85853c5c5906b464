"""What `next` says for a move: verdicts and blind trials quoted, numbers named, and what is not known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tts_train.review.decision.ears import Ears
from tts_train.review.decision.evidence import EpochEvidence, Evidence
from tts_train.review.decision.facts import Facts, Thresholds, drifted, passes, share
from tts_train.review.decision.measured import Measures

UNKNOWN = "unknown"
"""Of a run that was trained elsewhere."""


@dataclass(frozen=True)
class Quote:
    """One piece of evidence as a sentence, and where it comes from."""

    kind: Literal["verdict", "trials", "training", "measure", "gate", "missing"]
    epoch: int
    text: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def quotes(facts: Facts, evidence: Evidence, ears: Ears, limits: Thresholds) -> list[Quote]:
    """All evidence on the judged epoch, and what was heard of those before it: ears first, as they outrank the rest."""
    here = evidence.at(facts.judged)
    return [
        *_heard(facts, ears),
        *_training(facts, evidence, here, limits),
        *_measured(evidence, here, limits),
        *_left_out(evidence, ears),
        *_not_known(evidence),
    ]


def _heard(facts: Facts, ears: Ears) -> Iterator[Quote]:
    if not ears.said:
        how = "measures alone" if facts.basis == "evidence" else "blind trials and measures"
        yield Quote("verdict", facts.judged, f"No listener has judged this run: this follows from {how}.")
    elif not ears.on(facts.judged):
        yield Quote(
            "verdict", facts.judged, f"No sheet says what epoch {facts.judged} sounds like: blind trials decide."
        )
    said = [*ears.on(facts.judged), *(verdict for verdict in ears.last_words if verdict.epoch < facts.judged)]
    for verdict in said:
        yield Quote("verdict", verdict.epoch, verdict.quoted())
    for epoch, trials in sorted(ears.abx.items(), reverse=True):
        yield Quote("trials", epoch, f"Blind {trials.quoted()}")
    for choices in ears.choices:
        yield Quote("trials", choices.epoch, choices.quoted())
    if ears.not_counted:
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(ears.not_counted.items()))
        yield Quote("trials", facts.judged, f"Answers to trials that do not count: {why}.")


def _training(facts: Facts, evidence: Evidence, here: EpochEvidence, limits: Thresholds) -> Iterator[Quote]:
    """What the run's own record says, where it bears on how little was heard."""

    def quote(text: str) -> Quote:
        return Quote("training", here.epoch, text)

    if "slow" in facts.signs:
        yield quote("The voice moves towards the target, but slowly.")
    if "starved" in facts.signs:
        yield quote("Nothing was measured against a target speaker; Σlr alone says that it was hardly trained.")
    if not facts.signs & {"no-difference", "faint", "slow", "starved"}:
        yield from _loss_against_words(evidence, here, limits)
        return
    if here.drift is not None:
        in_steps = "" if here.step is None else f" in {here.step} optimizer steps"
        yield quote(f"Weights drifted by {here.drift:.2g} of their norm{in_steps}.")
        if here.drift < limits.still_drift and here.sum_lr != 0:
            yield quote(
                "That is no movement at all: frozen parts look like this, "
                "and updates lost to rounding in low precision."
            )
    losses = [item.loss for item in evidence.epochs if item.loss is not None]
    if len(losses) > 1:
        yield quote(
            f"Mean loss per epoch went from {losses[0]:.3f} to {losses[-1]:.3f}; "
            "a flat loss alone does not tell converged from not learning."
        )


def _loss_against_words(evidence: Evidence, here: EpochEvidence, limits: Thresholds) -> Iterator[Quote]:
    """A loss that falls while words are lost looks like success in every chart."""
    before = [item for item in evidence.epochs if item.epoch < here.epoch and item.loss is not None]
    if not before or here.loss is None or before[0].loss is None or here.loss >= before[0].loss:
        return
    if passes(evidence, here, limits) is False:
        first = before[0]
        yield Quote(
            "training",
            here.epoch,
            f"Mean loss fell from {first.loss:.3f} (epoch {first.epoch}) to {here.loss:.3f} (epoch {here.epoch}) while "
            "the output got worse: a falling loss is no reason to train more.",
        )


def _measured(evidence: Evidence, here: EpochEvidence, limits: Thresholds) -> Iterator[Quote]:
    measures, base = here.measures, evidence.base or Measures()
    if measures is None:
        yield Quote("missing", here.epoch, f"Epoch {here.epoch} was not measured: run.sh probe {evidence.run}.")
        return
    place = f"epoch {here.epoch}"

    def quote(text: str) -> Quote:
        return Quote("measure", here.epoch, text)

    if measures.speaker_similarity is not None and base.speaker_similarity is not None:
        text = f"Speaker similarity to the target went from {base.speaker_similarity:.3f} (epoch 0) to "
        yield quote(text + f"{measures.speaker_similarity:.3f} ({place}).")
    change = share(measures.mel_distance, base.mel_distance)
    if change is not None:
        yield quote(
            f"Mel distance to the target changed by {change:+.0%}, "
            f"from {base.mel_distance:.3f} to {measures.mel_distance:.3f}."
        )
    if measures.wer is not None:
        grossly = ": grossly mangled" if measures.wer > limits.gross_wer else ""
        own = f", the target speaker's own {measures.target_wer:.1%}" if measures.target_wer is not None else ""
        yield quote(f"WER at {place} is {measures.wer:.1%}{own}{grossly}.")
    yield from _features(evidence, here, measures)
    failed = [f"{name} ({measures.gates[name].detail or 'failed'})" for name in sorted(measures.failed_gates)]
    if failed:
        yield Quote("gate", here.epoch, f"Gates failed at {place}: {'; '.join(failed)}.")


def _features(evidence: Evidence, here: EpochEvidence, measures: Measures) -> Iterator[Quote]:
    """Accent features that changed beyond doubt, and those past the target."""
    shown = [f"{name} {item.placed()}" for name, item in sorted(measures.contrasts.items()) if item.verdict == "shown"]
    if shown:
        text = f"Accent features shown to have changed at epoch {here.epoch} (0 base, 1 target): {'; '.join(shown)}."
        yield Quote("measure", here.epoch, text)
    for item in evidence.epochs[1:]:
        past = drifted(evidence, item)
        if past and item.measures:
            placed = "; ".join(f"{name} {item.measures.contrasts[name].placed()}" for name in sorted(past))
            yield Quote("measure", item.epoch, f"Past the target at epoch {item.epoch} (0 base, 1 target): {placed}.")


def _left_out(evidence: Evidence, ears: Ears) -> Iterator[Quote]:
    if evidence.stale:
        epochs = ", ".join(map(str, evidence.stale))
        text = (
            f"Measures of epoch {epochs} are left out: other weights spoke those renders. run.sh probe {evidence.run}"
        )
        yield Quote("missing", evidence.stale[-1], f"{text} makes them again.")
    if ears.stale:
        text = f"Said of weights that are no more, and left out: {'; '.join(ears.stale)}."
        yield Quote("missing", evidence.last.epoch, text)


def _not_known(evidence: Evidence) -> Iterator[Quote]:
    """What cannot be said of a run that was trained elsewhere, or is not finished."""
    last = evidence.last
    if not evidence.trained_here:
        drift = "" if last.drift is not None else ", nor how far its weights moved (the base is not here)"
        record = f"its schedule, steps, Σlr and data are not on record{drift}"
        text = f"This run was trained elsewhere and adopted: {record}. Nothing above is concluded from them."
        yield Quote("missing", last.epoch, text)
    planned = evidence.config.epochs
    if last.epoch < planned:
        how = "ended early" if evidence.state == "done" else f"is not finished ({evidence.state})"
        text = f"The run {how}: {last.epoch} of {planned} epochs are published."
        yield Quote("missing", last.epoch, text)


def _missing(facts: Facts, ears: Ears) -> str:
    """The features that sheets on the judged epoch mark as still those of the base."""
    marks = [mark for sheet in ears.on(facts.judged) for mark in sheet.markers.items()]
    names = sorted({name for name, mark in marks if mark == "baseline"})
    return f"{', '.join(names)} still as in the base" if names else "a feature is not there yet"


def numbers(facts: Facts, evidence: Evidence, epoch: int, ears: Ears, limits: Thresholds) -> dict[str, Any]:
    """What {names} in the rules' texts stand for."""
    bound, last = evidence.sum_lr(facts.judged), evidence.sum_lr(evidence.last.epoch)
    here, named, per_epoch = evidence.at(facts.judged), evidence.at(epoch), evidence.steps_per_epoch
    similarity = named.measures.speaker_similarity if named.measures else None
    if any(verdict.epoch == epoch for verdict in ears.good):
        reason = "the last one that was judged good"
    elif passes(evidence, named, limits):
        chosen = "nearest one" if ears.said else "one most like the target"
        reason = f"the {chosen} that passes the gates"
    else:
        reason = "the one before it, not measured yet"
    return {
        "judged": facts.judged,
        "missing": _missing(facts, ears),
        "last": evidence.last.epoch,
        "epoch": epoch,
        "epoch_reason": reason,
        "epoch_similarity": "not measured" if similarity is None else f"{similarity:.3f}",
        "steps": UNKNOWN if here.step is None else here.step + evidence.inherited_steps,
        "steps_per_epoch": UNKNOWN if per_epoch is None else f"{per_epoch:.0f}",
        "lr": f"{evidence.config.lr:.1e}" if evidence.lr_known else UNKNOWN,
        "recipe_lr": f"{evidence.recipe.lr:.1e}" if evidence.recipe else "no known rate",
        "sum_lr": UNKNOWN if bound is None else f"{bound.actual:.2e}",
        "sum_lr_last": UNKNOWN if last is None else f"{last.actual:.2e}",
        "sum_lr_without_decay": UNKNOWN if bound is None else f"{bound.without_decay:.2e}",
        "sum_lr_recipe": "an unknown sum" if bound is None or bound.recipe is None else f"{bound.recipe:.2e}",
        "restored": UNKNOWN if bound is None else f"{bound.restored:.0%}",
    }
