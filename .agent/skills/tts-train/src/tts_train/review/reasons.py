"""What `next` says for a move: verdicts quoted, numbers named, contradictions told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tts_train.review.evidence import Evidence, Measures
from tts_train.review.facts import Facts, Thresholds, clean_good, difference, passes, share, words_hold
from tts_train.review.verdicts import HARM, Verdict

UNKNOWN = "unknown"
"""Of a run that was trained elsewhere."""


def heard(facts: Facts, last_words: Sequence[Verdict]) -> list[str]:
    if not last_words:
        return ["No listener has judged this run: this follows from measures alone."]
    listeners: dict[int, set[frozenset[str]]] = {}
    for verdict in last_words:
        listeners.setdefault(verdict.epoch, set()).add(frozenset(verdict.heard))
    quoted = [verdict.quoted() for verdict in last_words if verdict.epoch == facts.judged]
    quoted += [verdict.quoted() for verdict in last_words if verdict.epoch < facts.judged]
    if len(listeners[facts.judged]) > 1:
        quoted.append(f"Listeners disagree about epoch {facts.judged}: the more cautious reading decides.")
    return quoted


def measured(facts: Facts, evidence: Evidence, limits: Thresholds) -> list[str]:
    here = evidence.at(facts.judged)
    base, measures = evidence.base or Measures(), here.measures
    told: list[str] = []
    if "slow" in facts.signs:
        told.append("The voice moves towards the target, but slowly.")
    if "starved" in facts.signs:
        told.append("Nothing was measured against a target speaker; Σlr alone says that it was hardly trained.")
    if facts.signs & {"no-difference", "slow", "starved"} and here.drift is not None:
        in_steps = "" if here.step is None else f" in {here.step} optimizer steps"
        told.append(f"Weights drifted by {here.drift:.2g} of their norm{in_steps}.")
        if here.drift < limits.still_drift and here.sum_lr != 0:
            told.append(
                "That is no movement at all: frozen parts look like this, "
                "and updates lost to rounding in low precision."
            )
    if facts.signs & {"no-difference", "slow", "starved"}:
        losses = [item.loss for item in evidence.epochs if item.loss is not None]
        if len(losses) > 1:
            told.append(
                f"Mean loss per epoch went from {losses[0]:.3f} to {losses[-1]:.3f}; "
                "a flat loss alone does not tell converged from not learning."
            )
    if measures is None:
        return [*told, f"Epoch {facts.judged} was not measured: run.sh probe {evidence.run}."]
    place = f"epoch {facts.judged}"
    if measures.speaker_similarity is not None and base.speaker_similarity is not None:
        text = f"Speaker similarity to the target went from {base.speaker_similarity:.3f} (epoch 0) to "
        told.append(text + f"{measures.speaker_similarity:.3f} ({place}).")
    change = share(measures.mel_distance, base.mel_distance)
    if change is not None:
        told.append(
            f"Mel distance to the target changed by {change:+.0%}, "
            f"from {base.mel_distance:.3f} to {measures.mel_distance:.3f}."
        )
    if measures.wer is not None:
        grossly = ": grossly mangled" if measures.wer > limits.gross_wer else ""
        own = f", the target speaker's own {measures.target_wer:.1%}" if measures.target_wer is not None else ""
        told.append(f"WER at {place} is {measures.wer:.1%}{own}{grossly}.")
    failed = [f"{name} ({measures.gates[name].detail or 'failed'})" for name in sorted(measures.failed_gates)]
    if failed:
        told.append(f"Gates failed at {place}: {'; '.join(failed)}.")
    return told


def contradictions(facts: Facts, evidence: Evidence, last_words: Sequence[Verdict], limits: Thresholds) -> list[str]:
    """Where ears and measures disagree at the judged epoch. Ears decide; the disagreement is said."""
    here = evidence.at(facts.judged)
    if not last_words or here.measures is None:
        return []
    found: list[str] = []
    words = words_hold(here.measures, limits)
    if "mangled" in facts.signs and words:
        found.append("the gate on words passes where a listener hears mangled words")
    if not facts.signs & HARM and words is False:
        found.append(f"the gate on words fails at epoch {facts.judged} where no listener heard mangled words")
    closer = difference(here.measures.speaker_similarity, evidence.base.speaker_similarity if evidence.base else None)
    if closer is not None and "no-difference" in facts.signs and abs(closer) >= limits.similarity_changed:
        found.append(f"speaker similarity changed by {closer:+.3f} where a listener hears no difference")
    if closer is not None and "good" in facts.signs and closer <= -limits.similarity_changed:
        found.append(f"speaker similarity fell by {-closer:.3f} where a listener hears it as good")
    if "no-difference" in facts.signs and facts.signs - {"no-difference", "feature-missing"}:
        others = ", ".join(sorted(facts.signs - {"no-difference"}))
        found.append(f"epoch {facts.judged} was heard both as no-difference and as {others}")
    return [f"Contradiction: {text}. Verdicts outrank measures." for text in found]


def not_known(evidence: Evidence) -> list[str]:
    """What cannot be said of a run that was trained elsewhere."""
    if evidence.trained_here:
        return []
    drift = "" if evidence.last.drift is not None else ", nor how far its weights moved (the base is not here)"
    record = f"its schedule, steps, Σlr and data are not on record{drift}"
    return [f"This run was trained elsewhere and adopted: {record}. Nothing above is concluded from them."]


def unfinished(evidence: Evidence) -> list[str]:
    planned = evidence.config.epochs
    if evidence.last.epoch >= planned:
        return []
    return [f"The run is not finished ({evidence.state}): {evidence.last.epoch} of {planned} epochs are published."]


def numbers(
    facts: Facts, evidence: Evidence, epoch: int, last_words: Sequence[Verdict], limits: Thresholds
) -> dict[str, Any]:
    """What {names} in the rules' texts stand for."""
    bound, last = evidence.sum_lr(facts.judged), evidence.sum_lr(evidence.last.epoch)
    here, named, per_epoch = evidence.at(facts.judged), evidence.at(epoch), evidence.steps_per_epoch
    similarity = named.measures.speaker_similarity if named.measures else None
    if any(verdict.epoch == epoch for verdict in clean_good(last_words)):
        reason = "the last one that was judged good"
    elif passes(evidence, named, limits):
        chosen = "nearest one" if last_words else "one most like the target"
        reason = f"the {chosen} that passes the gates"
    else:
        reason = "the one before it, not measured yet"
    return {
        "judged": facts.judged,
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
