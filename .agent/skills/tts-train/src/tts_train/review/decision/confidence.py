"""How sure a move is: low, medium or high, and why.

The rule, first match wins:

* low: nobody has judged; listeners of the judged epoch conflict, or a sheet conflicts with blind trials or with itself;
  the only listener was unsure (confidence 1 or 2); a single listener hears the opposite of what is measured; or the run
  was trained elsewhere and the move depends on settings that are not on record.
* high: at least two listeners, all blind, who agree; where an accent was judged, one of them at least a native; the
  epoch measured, and no measure against them.
* medium: everything between.

Blind ABX trials that were decided count as one blind listener per person who answered them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tts_train.review.decision.conflicts import Conflict
from tts_train.review.decision.ears import Ears
from tts_train.review.decision.evidence import Evidence
from tts_train.review.decision.facts import Facts

Level = Literal["low", "medium", "high"]

NEEDS_NO_NATIVE = frozenset({"no-difference", "mangled", "faint"})
"""Everybody hears these; whether an accent is right, a native does."""
UNSURE = 2


@dataclass(frozen=True)
class Confidence:
    """A level, and everything that was weighed for it."""

    level: Level
    because: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"level": self.level, "because": list(self.because)}


@dataclass(frozen=True)
class _Panel:
    """Who judged the epoch, and how."""

    people: tuple[str, ...]
    blind: frozenset[str]
    natives: frozenset[str]
    unsure: bool


def confidence_of(
    facts: Facts, evidence: Evidence, ears: Ears, conflicts: Sequence[Conflict], *, on_record: bool
) -> Confidence:
    """How sure the move is. `on_record`: whether what the move depends on is known of this run."""
    panel = _panel(facts.judged, ears)
    here = [conflict for conflict in conflicts if conflict.epoch == facts.judged]
    among_ears = [conflict for conflict in here if conflict.kind != "measures"]
    against = any(conflict.kind == "measures" for conflict in here)
    measured = evidence.at(facts.judged).measures is not None
    because = _weighed(facts, panel, ears, measured=measured, among_ears=len(among_ears), against=against)
    if not on_record:
        because.append("what this run was trained with is not on record")
    if facts.basis == "evidence" or among_ears or not on_record:
        return Confidence("low", tuple(because))
    if panel.unsure or (len(panel.people) == 1 and against):
        return Confidence("low", tuple(because))
    native = bool(panel.natives) or facts.signs <= NEEDS_NO_NATIVE
    several = len(panel.people) > 1 and panel.blind.issuperset(panel.people)
    sure = several and native and measured and not against
    return Confidence("high" if sure else "medium", tuple(because))


def _panel(epoch: int, ears: Ears) -> _Panel:
    sheets, trials = ears.on(epoch), ears.abx.get(epoch)
    tested = set(trials.listeners) if trials and trials.heard != "undecided" else set()
    people = {sheet.listener for sheet in sheets} | tested
    rated = [sheet.confidence for sheet in sheets if sheet.confidence is not None]
    return _Panel(
        tuple(sorted(people)),
        frozenset({sheet.listener for sheet in sheets if sheet.blind} | (tested - {s.listener for s in sheets})),
        frozenset(name for name in people if ears.native.get(name)),
        unsure=not tested and len(rated) == len(sheets) > 0 and max(rated) <= UNSURE,
    )


def _weighed(facts: Facts, panel: _Panel, ears: Ears, *, measured: bool, among_ears: int, against: bool) -> list[str]:
    if not panel.people:
        return ["nobody has judged this run", "measures alone" if measured else "nothing was measured either"]
    count = len(panel.people)
    because = [f"{count} listener{'' if count == 1 else 's'} ({', '.join(panel.people)})"]
    if panel.natives:
        because.append(f"native: {', '.join(sorted(panel.natives))}")
    else:
        known = any(name in ears.native for name in panel.people)
        because.append("none of them native" if known else "whether any is native is not known")
    if panel.blind.issuperset(panel.people):
        because.append("blind")
    else:
        because.append("partly blind" if panel.blind else "sighted: who knows the epoch hears it")
    if panel.unsure:
        because.append("unsure by their own account")
    if among_ears:
        because.append(f"{among_ears} conflict{'' if among_ears == 1 else 's'} among what was heard")
    elif count > 1:
        because.append("they agree")
    if not measured:
        because.append(f"epoch {facts.judged} was not measured")
    else:
        because.append("measures say otherwise" if against else "measures do not contradict")
    return because
