"""From signs to a move: the rules of assets/moves.yaml over verdicts and evidence.

Verdicts outrank evidence. Without any, the same categories are inferred from measures and said to be so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from tts_train.config import Settings
from tts_train.errors import ConfigError
from tts_train.review import reasons
from tts_train.review.evidence import Evidence
from tts_train.review.facts import Basis, Earlier, Facts, Thresholds, clean_good, facts_of, passes, similarity
from tts_train.review.verdicts import Verdict, current
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
    listen: bool
    basis: Basis
    confirmed: bool
    why: tuple[str, ...]
    contradictions: tuple[str, ...]
    would_change: tuple[str, ...]


@cache
def load_moves() -> Moves:
    """The rules. Raises ConfigError when the asset was damaged."""
    path = asset("moves.yaml")
    return validate(Moves, load_yaml(path), path)


def decide(evidence: Evidence, verdicts: Sequence[Verdict]) -> Decision:
    """Exactly one move. `verdicts` in the order given; each listener's last word on an epoch counts."""
    table = load_moves()
    last_words = [verdict for verdict in current(verdicts) if verdict.epoch > 0]
    facts = facts_of(evidence, last_words, table.thresholds)
    rule = next((rule for rule in table.rules if _holds(rule, facts)), None)
    if rule is None:
        raise ConfigError("moves.yaml has no rule for this run", hint="end it with a rule without conditions")
    epoch = _named_epoch(rule, facts, evidence, last_words, table.thresholds)
    numbers = reasons.numbers(facts, evidence, epoch, last_words, table.thresholds)
    contradictions = tuple(reasons.contradictions(facts, evidence, last_words, table.thresholds))
    good = {verdict.epoch for verdict in clean_good(last_words)}
    names_epoch = rule.move in ("ship", "rewind")
    return Decision(
        rule=rule.name,
        move=rule.move,
        also=rule.also,
        epoch=epoch,
        listen=rule.listen,
        basis=facts.basis,
        confirmed=epoch in good if names_epoch else facts.basis == "verdicts",
        why=(
            *reasons.heard(facts, last_words),
            rule.because.strip().format_map(numbers),
            *reasons.measured(facts, evidence, table.thresholds),
            *reasons.not_known(evidence),
            *contradictions,
            *reasons.unfinished(evidence),
        ),
        contradictions=contradictions,
        would_change=tuple(text.format_map(numbers) for text in rule.unless),
    )


def _holds(rule: Rule, facts: Facts) -> bool:
    if rule.signs is not None and not facts.signs & set(rule.signs):
        return False
    return all(getattr(rule, name) in (None, getattr(facts, name)) for name in _CONDITIONS)


def _named_epoch(
    rule: Rule, facts: Facts, evidence: Evidence, last_words: Sequence[Verdict], limits: Thresholds
) -> int:
    if rule.listen:
        return evidence.last.epoch
    if rule.move in ("rewind", "lower-lr-continue"):
        return facts.back
    if rule.move != "ship":
        return facts.judged
    good = clean_good(last_words)
    if good:
        voices = {epoch: [item for item in good if item.epoch == epoch] for epoch in {item.epoch for item in good}}
        return max(voices, key=lambda epoch: (len(voices[epoch]), epoch))
    if last_words:
        return facts.judged
    fit = [item for item in evidence.epochs[1:] if passes(evidence, item, limits)] or [evidence.last]
    return max(fit, key=lambda item: (similarity(item), item.epoch)).epoch
