"""Verdict: what a listener heard in one epoch. Several things may hold at once, wins as well as faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, Problem, UsageError
from tts_train.probe.probe import load_probe
from tts_train.review.commandline import YOUR_NAME
from tts_train.workspace import Workspace

CATEGORIES = ("no-difference", "mangled", "wrong-direction", "feature-missing", "overshot", "good")
MARKS = ("target", "baseline", "overshot", "mangled", "not-heard")
WORD_FAULTS = ("dropped", "mangled", "stretched")
HARM = frozenset(("mangled", "wrong-direction", "overshot"))


@dataclass(frozen=True)
class Verdict:
    """One judgement. `heard` ⊆ CATEGORIES, `markers` {lexical set: MARKS}, `words` {word: WORD_FAULTS}."""

    run: str
    epoch: int
    listener: str
    heard: tuple[str, ...]
    markers: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    confidence: int | None = None
    """1 (a guess) to 5 (certain)."""
    render_key: str | None = None
    weights_sha256: str | None = None
    """Of the epoch that was heard; a verdict on other weights than the epoch has now is stale. None is not known."""
    session: str | None = None
    """The blind or sighted session it was given in; None: on an epoch that the listener chose."""
    blind: bool = False
    region: str = ""
    """Where the listener grew up, as they last said; "" is unknown. Read, not written, with a verdict."""
    at: str = ""
    id: int | None = None

    def as_row(self) -> dict[str, Any]:
        """JSON form."""
        return {**vars(self), "heard": list(self.heard), "markers": dict(self.markers), "words": dict(self.words)}

    def quoted(self) -> str:
        """The verdict as a sentence that names who said what."""
        text = f"{self.listener} heard epoch {self.epoch} as {', '.join(self.heard)}"
        marks = [f"{name}: {mark}" for name, mark in {**self.markers, **self.words}.items()]
        text += f" ({'; '.join(marks)})" if marks else ""
        text += f", confidence {self.confidence} of 5" if self.confidence else ""
        return f"{text}: “{self.note}”" if self.note else f"{text}."


def checked(verdict: Verdict) -> Verdict:
    """The verdict, normalised. Raises UsageError with everything that is wrong with it."""
    problems: list[str] = []
    if not verdict.heard:
        problems.append(f"say what was heard: {', '.join(CATEGORIES)}")
    problems += _unknown("category", verdict.heard, CATEGORIES)
    problems += _unknown("mark", verdict.markers.values(), MARKS)
    problems += _unknown("word fault", verdict.words.values(), WORD_FAULTS)
    listener, unnamed = _listener(verdict.listener)
    problems += unnamed
    if verdict.confidence is not None and not 1 <= verdict.confidence <= 5:
        problems.append(f"confidence is 1 (a guess) to 5 (certain), not {verdict.confidence}")
    if problems:
        raise _refused(problems)
    heard = tuple(category for category in CATEGORIES if category in verdict.heard)
    return Verdict(**{**vars(verdict), "heard": heard, "listener": listener, "note": verdict.note.strip()})


def checked_listener(name: str) -> str:
    """A listener's name, normalised. Raises UsageError when it is none, or stands for one."""
    if name == YOUR_NAME:
        raise UsageError(f"{YOUR_NAME} stands for the listener's name", hint="ears are one person's: name them")
    listener, problems = _listener(name)
    if problems:
        raise _refused(problems)
    return listener


def checked_region(region: str | None) -> str | None:
    """Where a listener grew up, normalised; None is not said. Raises UsageError."""
    if region is None:
        return None
    where = " ".join(region.split())
    if len(where) > 64 or not where.isprintable():
        raise _refused(["a region is at most 64 characters, like 'Bolton, Lancashire'"])
    return where


def _listener(name: str) -> tuple[str, list[str]]:
    listener = " ".join(name.split())
    usable = listener and len(listener) <= 64 and listener.isprintable()
    return listener, [] if usable else ["the listener needs a name of 1 to 64 characters"]


def parse_marks(given: Iterable[str], option: str, allowed: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` options as a mapping. Raises UsageError with every one that is wrong."""
    marks: dict[str, str] = {}
    problems: list[str] = []
    for item in given:
        name, separator, value = item.partition("=")
        if not separator or not name.strip():
            problems.append(f"{option} {item!r} must read NAME=VALUE, VALUE one of {', '.join(allowed)}")
        elif name.strip() in marks:
            problems.append(f"{option} {name.strip()} is given twice")
        else:
            problems += _unknown(f"{option} {name.strip()}:", [value.strip()], allowed)
            marks[name.strip()] = value.strip()
    if problems:
        raise _refused(problems)
    return marks


def check_against_probe(verdict: Verdict, config: TrainConfig, workspace: Workspace) -> None:
    """Refuse markers and words the run's probe does not hold: a typo would be silently lost evidence.

    A run without a readable probe accepts any. Raises UsageError.
    """
    if config.probe is None:
        return
    try:
        probe = load_probe(workspace.path(config.probe.file))
    except ConfigError:
        return
    problems = _unknown("marker", verdict.markers, sorted(marker.set for marker in probe.markers))
    said = sorted({word.lower() for item in probe.items for word in item.words})
    problems += _unknown("word", (word.lower() for word in verdict.words), said)
    if problems:
        raise _refused(problems)


def current(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The last word of each listener on each epoch, by epoch; nothing is ever changed in the store."""
    latest: dict[tuple[int, str], Verdict] = {}
    for verdict in verdicts:
        latest[verdict.epoch, verdict.listener] = verdict
    return [latest[key] for key in sorted(latest)]


def _unknown(what: str, given: Iterable[str], allowed: Sequence[str]) -> list[str]:
    problems = []
    for value in given:
        if value in allowed:
            continue
        near = get_close_matches(value, allowed, n=1)
        meant = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(allowed[:20])}"
        problems.append(f"{what} '{value}' is not known; {meant}")
    return problems


def _refused(problems: Sequence[str]) -> UsageError:
    message = problems[0] if len(problems) == 1 else f"the verdict has {len(problems)} problems"
    rest = [] if len(problems) == 1 else [Problem(problem) for problem in problems]
    return UsageError(message, hint="run.sh verdict --help", problems=rest)
