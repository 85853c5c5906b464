"""Conflicts: where what is known of an epoch contradicts itself. Shown with who said what, never averaged away.

Four kinds: `listeners` (two people), `verdict` (one sheet against itself), `trials` (a sheet against blind trials),
`measures` (ears against measures). What decides is said with each: among ears the more cautious reading, which is the
one whose rule comes first in moves.yaml; ears before measures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from tts_train.review.decision.ears import DIFFERENCE, NO_DIFFERENCE, Ears, meaning
from tts_train.review.decision.evidence import EpochEvidence, Evidence
from tts_train.review.decision.facts import Thresholds, difference, drifted, words_hold
from tts_train.review.decision.measured import Measures
from tts_train.review.record.verdicts import HARM, Verdict

Kind = Literal["listeners", "verdict", "trials", "measures"]

CAUTION = ("wrong-direction", "overshot", "mangled", "no-difference", "feature-missing", "good")
"""Most cautious first, as the rules of moves.yaml stand."""
EXCLUDE = (
    ("no-difference", "good"),
    ("no-difference", "mangled"),
    ("no-difference", "overshot"),
    ("no-difference", "wrong-direction"),
    ("wrong-direction", "good"),
    ("wrong-direction", "overshot"),
    ("overshot", "good"),
)
"""Categories that cannot both hold of one epoch. Good and mangled can: the accent is right and words are lost."""


@dataclass(frozen=True)
class Conflict:
    """One contradiction. `said` names each side and what it says."""

    kind: Kind
    epoch: int
    what: str
    said: tuple[tuple[str, str], ...]
    decided: str

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "said": [{"who": who, "said": said} for who, said in self.said]}

    def told(self) -> str:
        """As a sentence."""
        sides = "; ".join(f"{who}: {said}" for who, said in self.said)
        return f"Epoch {self.epoch}, {self.what}: {sides}. {self.decided}"


def conflicts_of(evidence: Evidence, ears: Ears, limits: Thresholds) -> tuple[Conflict, ...]:
    """All conflicts of a run, by epoch."""
    found: list[Conflict] = []
    for item in evidence.epochs:
        sheets = ears.on(item.epoch)
        found += _within(sheets)
        found += _between(sheets, ears)
        found += _trials(item.epoch, sheets, ears)
        found += _measures(evidence, item, sheets, limits)
    return tuple(found)


def decisive(signs: frozenset[str]) -> str:
    """The most cautious of several categories."""
    return next((name for name in CAUTION if name in signs), "nothing")


def _within(sheets: list[Verdict]) -> Iterator[Conflict]:
    for sheet in sheets:
        heard = frozenset(sheet.heard)
        against = [f"{name} marked {mark}" for name, mark in sheet.markers.items() if mark in HARM - heard]
        faults = {word: fault for word, fault in sheet.words.items() if fault in ("dropped", "mangled")}
        against += [f"“{word}” {fault}" for word, fault in faults.items() if "mangled" not in heard]
        pairs = [pair for pair in EXCLUDE if heard.issuperset(pair)]
        decided = f"The more cautious reading decides: {decisive(meaning(sheet))}."
        if against:
            said = ((sheet.listener, f"heard {', '.join(sheet.heard)}, but {', '.join(against)}"),)
            yield Conflict("verdict", sheet.epoch, "one sheet says two things", said, decided)
        if pairs:
            said = ((sheet.listener, "; ".join(f"{one} and {other}" for one, other in pairs)),)
            yield Conflict("verdict", sheet.epoch, "two categories that exclude each other", said, decided)


def _between(sheets: list[Verdict], ears: Ears) -> Iterator[Conflict]:
    for one, other in combinations(sheets, 2):
        who = (_named(one.listener, ears), _named(other.listener, ears))
        first, second = meaning(one), meaning(other)
        known = {ears.native[name] for name in (one.listener, other.listener) if name in ears.native}
        people = "a native listener and one who is not" if known == {True, False} else "two listeners"
        if _opposed(first, second):
            said = ((who[0], ", ".join(sorted(first))), (who[1], ", ".join(sorted(second))))
            decided = f"The more cautious reading decides: {decisive(first | second)}."
            yield Conflict("listeners", one.epoch, f"{people} disagree", said, decided)
        for name in sorted(one.markers.keys() & other.markers.keys()):
            marks = one.markers[name], other.markers[name]
            if marks[0] == marks[1] or "not-heard" in marks:
                continue
            said = ((who[0], marks[0]), (who[1], marks[1]))
            harm = sorted(HARM & set(marks))
            decided = f"The more cautious mark counts: {harm[0]}." if harm else "No move hangs on it."
            yield Conflict("listeners", one.epoch, f"{people} disagree about {name}", said, decided)


def _opposed(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two people cannot both be right, or one hears a fault that the other's “good” denies."""
    if any((a in one and b in other) or (b in one and a in other) for a, b in EXCLUDE):
        return True
    denied = (one == {"good"} and other - {"good"}) or (other == {"good"} and one - {"good"})
    return bool(denied) or bool(one & HARM) is not bool(other & HARM)


def _trials(epoch: int, sheets: list[Verdict], ears: Ears) -> Iterator[Conflict]:
    trials = ears.abx.get(epoch)
    if trials is not None and trials.heard == DIFFERENCE:
        blind = ("blind ABX", f"{trials.correct} of {trials.n} correct, so the difference is heard")
        for sheet in (sheet for sheet in sheets if NO_DIFFERENCE in sheet.heard):
            said = ((_named(sheet.listener, ears), "no difference"), blind)
            decided = "Blind trials decide that there is a difference; how good it is they do not say."
            yield Conflict("trials", epoch, "a sheet against blind trials", said, decided)
    if trials is not None and trials.heard == NO_DIFFERENCE:
        blind = ("blind ABX", f"{trials.correct} of {trials.n} correct: no difference that most would hear")
        for sheet in (sheet for sheet in sheets if meaning(sheet) - {NO_DIFFERENCE, "feature-missing"}):
            said = ((_named(sheet.listener, ears), ", ".join(sheet.heard)), blind)
            harm = decisive(meaning(sheet) & HARM)
            decided = f"The more cautious reading decides: {NO_DIFFERENCE if harm == 'nothing' else harm}."
            yield Conflict("trials", epoch, "a sheet against blind trials", said, decided)
    for choices in ears.choices:
        if choices.epoch != epoch or not choices.base_wins:
            continue
        for sheet in (sheet for sheet in sheets if "good" in sheet.heard):
            said = ((_named(sheet.listener, ears), "good"), (f"blind {choices.kind.upper()}", choices.quoted()))
            decided = "The sheet decides the move; let compare say which epoch to ship."
            yield Conflict("trials", epoch, "a sheet against blind choices", said, decided)


def _measures(evidence: Evidence, item: EpochEvidence, sheets: list[Verdict], limits: Thresholds) -> Iterator[Conflict]:
    """Ears decide; that measures disagree is said."""
    if not sheets or item.measures is None:
        return
    heard = frozenset().union(*(meaning(sheet) for sheet in sheets))
    people = ", ".join(sheet.listener for sheet in sheets)
    words = words_hold(item.measures, limits)
    closer = difference(item.measures.speaker_similarity, evidence.base.speaker_similarity if evidence.base else None)
    changed = closer if closer is not None and abs(closer) >= limits.similarity_changed else 0.0
    past = ", ".join(f"{name} {item.measures.contrasts[name].placed()}" for name in sorted(drifted(evidence, item)))
    pairs = [
        ("mangled" in heard and words, "mangled words", "the gate on words passes"),
        (not heard & HARM and words is False, "no mangled words", "the gate on words fails"),
        (NO_DIFFERENCE in heard and changed, "no difference", f"speaker similarity changed by {changed:+.3f}"),
        ("good" in heard and changed < 0, "good", f"speaker similarity fell by {-changed:.3f}"),
        ("good" in heard and past and not heard & HARM, "good", f"{past}: past the target"),
    ]
    pairs += [(True, said, measured) for sheet in sheets for said, measured in _marks(sheet, item.measures)]
    for holds, said, measured in pairs:
        if holds:
            sides = ((people, said), ("measures", measured))
            yield Conflict("measures", item.epoch, "ears against measures", sides, "Verdicts outrank measures.")


def _marks(sheet: Verdict, measures: Measures) -> Iterator[tuple[str, str]]:
    """Marks on a lexical set that the interval of its contrast excludes."""
    for name, contrast in sorted(measures.contrasts.items()):
        if contrast.t_low is None or contrast.t_high is None:
            continue
        for marker in sorted(contrast.sets & sheet.markers.keys()):
            mark = sheet.markers[marker]
            denied = (
                (mark == "overshot" and contrast.t_high < 1.0)
                or (mark == "target" and contrast.t_high < 0.5)
                or (mark == "baseline" and contrast.t_low > 0.5)
            )
            if denied:
                yield f"{marker} marked {mark}", f"{name} {contrast.placed()} (0 base, 1 target)"


def _named(listener: str, ears: Ears) -> str:
    if listener not in ears.native:
        return listener
    return f"{listener} ({'native' if ears.native[listener] else 'not native'})"
