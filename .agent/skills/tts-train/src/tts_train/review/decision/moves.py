"""From signs to a move: the rules of assets/moves.yaml over verdicts and evidence.

Verdicts outrank evidence. Without any, the same categories are inferred from measures and said to be so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Literal

from tts_train.config import Settings
from tts_train.errors import ConfigError
from tts_train.review.decision import reasons
from tts_train.review.decision.confidence import Confidence, confidence_of
from tts_train.review.decision.conflicts import Conflict, conflicts_of
from tts_train.review.decision.ears import Ears
from tts_train.review.decision.evidence import Evidence
from tts_train.review.decision.facts import Basis, Earlier, Facts, Thresholds, facts_of, passes, similarity
from tts_train.review.decision.reasons import Quote
from tts_train.workspace import asset
from tts_train.yaml_config import load_yaml, validate

Move = Literal[
    "raise-lr",
    "remove-decay",
    "add-epochs",
    "train-more",
    "rewind",
    "lower-lr-continue",
    "audit-data",
    "ship",
]
Sign = Literal[
    "no-difference",
    "mangled",
    "wrong-direction",
    "feature-missing",
    "overshot",
    "good",
    "faint",
    "slow",
    "starved",
    "improving",
    "settled",
]
_CONDITIONS = ("earlier", "later", "judged_good", "trained_here", "short", "decays", "restores_half", "few_steps")


class Rule(Settings):
    """One row of moves.yaml. A condition that is not stated does not matter."""

    name: str
    signs: list[Sign] | None = None
    earlier: Earlier | None = None
    later: bool | None = None
    judged_good: bool | None = None
    trained_here: bool | None = None
    short: bool | None = None
    decays: bool | None = None
    restores_half: bool | None = None
    few_steps: bool | None = None
    move: Move
    also: tuple[Move, ...] = ()
    listen: bool = False
    """Nothing to train: the last epoch wants ears first."""
    diagnosis: str
    because: str
    unless: list[str]


class Moves(Settings):
    thresholds: Thresholds
    rules: list[Rule]


@dataclass(frozen=True)
class Decision:
    """One move and everything said for it. `epoch` is the one the move names or goes on from."""

    rule: str
    move: Move
    also: tuple[Move, ...]
    epoch: int
    judged: int
    """The epoch that the diagnosis speaks of."""
    listen: bool
    basis: Basis
    confirmed: bool
    diagnosis: str
    because: str
    evidence: tuple[Quote, ...]
    conflicts: tuple[Conflict, ...]
    """Of all epochs."""
    confidence: Confidence
    would_change: tuple[str, ...]

    @property
    def why(self) -> tuple[str, ...]:
        """Everything said for the move, in one list: what was heard, the reason, the numbers, the contradictions."""
        heard = [quote.text for quote in self.evidence if quote.kind in ("verdict", "trials")]
        others = [quote.text for quote in self.evidence if quote.kind not in ("verdict", "trials")]
        return (
            *heard,
            self.because,
            *others,
            *(conflict.told() for conflict in self.conflicts if self._here(conflict)),
        )

    @property
    def contradictions(self) -> tuple[str, ...]:
        """Where ears and measures disagree about the judged epoch."""
        return tuple(item.told() for item in self.conflicts if item.kind == "measures" and self._here(item))

    def _here(self, conflict: Conflict) -> bool:
        return conflict.epoch == self.judged


@cache
def load_moves() -> Moves:
    """The rules. Raises ConfigError when the asset was damaged."""
    path = asset("moves.yaml")
    return validate(Moves, load_yaml(path), path)


def decide(evidence: Evidence, ears: Ears) -> Decision:
    """Exactly one move, with what speaks for it, what against, and how sure it is."""
    table = load_moves()
    limits = table.thresholds
    facts = facts_of(evidence, ears, limits)
    rule = next((rule for rule in table.rules if _holds(rule, facts)), None)
    if rule is None:
        raise ConfigError("moves.yaml has no rule for this run", hint="end it with a rule without conditions")
    epoch = _named_epoch(rule, facts, evidence, ears, limits)
    numbers = reasons.numbers(facts, evidence, epoch, ears, limits)
    conflicts = conflicts_of(evidence, ears, limits)
    names_epoch = rule.move in ("ship", "rewind")
    on_record = evidence.trained_here or names_epoch or rule.listen
    return Decision(
        rule=rule.name,
        move=rule.move,
        also=rule.also,
        epoch=epoch,
        judged=facts.judged,
        listen=rule.listen,
        basis=facts.basis,
        confirmed=epoch in {verdict.epoch for verdict in ears.good} if names_epoch else facts.basis == "verdicts",
        diagnosis=rule.diagnosis.strip().format_map(numbers),
        because=rule.because.strip().format_map(numbers),
        evidence=tuple(reasons.quotes(facts, evidence, ears, limits)),
        conflicts=conflicts,
        confidence=confidence_of(facts, evidence, ears, conflicts, on_record=on_record),
        would_change=tuple(text.format_map(numbers) for text in rule.unless),
    )


def _holds(rule: Rule, facts: Facts) -> bool:
    if rule.signs is not None and not facts.signs & set(rule.signs):
        return False
    return all(getattr(rule, name) in (None, getattr(facts, name)) for name in _CONDITIONS)


def _named_epoch(rule: Rule, facts: Facts, evidence: Evidence, ears: Ears, limits: Thresholds) -> int:
    if rule.listen:
        return evidence.last.epoch
    if rule.move in ("rewind", "lower-lr-continue"):
        return facts.back
    if rule.move != "ship":
        return facts.judged
    voices = Counter(verdict.epoch for verdict in ears.good)
    if voices:
        return max(voices, key=lambda epoch: (voices[epoch], epoch))
    if ears.said:
        return facts.judged
    fit = [item for item in evidence.epochs[1:] if passes(evidence, item, limits)] or [evidence.last]
    return max(fit, key=lambda item: (similarity(item), item.epoch)).epoch
