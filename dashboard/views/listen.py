"""A listening session as its listener sees it: what is left, the coming trial, and once it is closed what was what.

While a session is open nothing here holds a source, a run, an item or a score: only what the player needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from player.component import Answer as Given
from player.component import Source, TranscriptWord
from tts_train.review.sessions.answers import Answer
from tts_train.review.sessions.materials import clip_path
from tts_train.review.sessions.playing import played_trials
from tts_train.review.sessions.sheets import sheet_of
from tts_train.workspace import Workspace
from views.names import epoch_name, source_name

Row = dict[str, Any]

KINDS = {
    "ab": "Which one do you prefer? (AB)",
    "xab": "Whose accent is closer to the real speaker? (XAB)",
    "abx": "Is there a difference at all? (ABX)",
    "sheet": "What is wrong or right with it? (a sheet per clip)",
}
ROLES = {
    "test": "comparison",
    "identical": "control: the same clip twice",
    "repeat": "control: asked before, sides swapped",
    "anchor": "control: low anchor",
    "natural": "control: real speaker",
}
_LETTERS = {"A": "first", "B": "second", "X": "x"}
_CHOICE = {"same": "no difference", "sheet": "sheet", None: "not answered"}
_HEARD = {
    "difference": "the difference is heard",
    "no-difference": "no difference that most would hear",
    "undecided": "undecided",
}


@dataclass(frozen=True)
class Sitting:
    """An open session and what comes next in it; `trial` is None when every trial has an answer."""

    session: str
    listener: str
    kind: str
    blind: bool
    answered: int
    trials: int
    trial: Mapping[str, Any] | None

    @property
    def share(self) -> float:
        return self.answered / self.trials

    @property
    def progress(self) -> str:
        if self.trial is None:
            return f"All {self.trials} trials are answered"
        return f"Trial {self.trial['number']} of {self.trials}"

    @property
    def labels(self) -> str:
        """What the clips are, in a sighted session; "" in a blind one."""
        told = (self.trial or {}).get("labels") or {}
        return " · ".join(f"{letter}: {told[side]}" for letter, side in _LETTERS.items() if side in told)


def sitting_of(workspace: Workspace, shown: Mapping[str, Any]) -> Sitting:
    """The sitting of an open session, from what `show_session` returns. Raises InputUnusable when clips are gone."""
    trial = None
    if shown["left"]:
        _, (trial,) = played_trials(workspace, shown["session"], shown["left"][:1])
    facts = {name: shown[name] for name in ("session", "listener", "kind", "blind", "answered", "trials")}
    return Sitting(**facts, trial=trial)


def sides(workspace: Workspace, sitting: Sitting, address: Callable[[Path], str]) -> dict[str, Source]:
    """The coming trial's clips for the player; `address` gives a file an opaque address."""
    assert sitting.trial is not None
    return {
        position: Source(
            id=side["token"], url=address(clip_path(workspace, sitting.session, side["token"])), words=side["words"]
        )
        for position, side in sitting.trial["sides"].items()
    }


def transcript(trial: Mapping[str, Any]) -> list[TranscriptWord]:
    return [TranscriptWord(**word) for word in trial["transcript"]]


def answer_of(sitting: Sitting, given: Given) -> Answer:
    """The row to add. Raises InputUnusable for a sheet that no player of ours sends."""
    assert sitting.trial is not None
    words = [word["text"] for word in sitting.trial["transcript"]]
    return Answer(
        session=sitting.session,
        trial=sitting.trial["number"],
        listener=sitting.listener,
        answer=given.answer,
        sheet=None if given.sheet is None else sheet_of(given.sheet, words),
        confidence=given.confidence,
        heard_seconds=given.seconds_heard,
        replays=given.replays,
        nonce=given.nonce,
    )


def session_rows(rows: Iterable[Mapping[str, Any]], state: str) -> list[Row]:
    """Sessions in a state ("open" or "closed"), the newest first, from the rows of `list_sessions`."""
    return [dict(row) for row in reversed(list(rows)) if row["state"] == state]


def session_line(row: Mapping[str, Any]) -> str:
    """One session of a list; tells the run, as whoever plans must know it."""
    seen = "" if row["blind"] else ", sighted"
    return f"{row['listener']} on {row['run']}: {row['kind']}{seen}, {row['answered']} of {row['trials']} answered"


def revealed_rows(shown: Mapping[str, Any]) -> list[Row]:
    """A closed session trial by trial, without the sides that its kind does not have."""
    there = [letter for letter, side in _LETTERS.items() if any(trial[side] for trial in shown["revealed"])]
    return [
        {
            "trial": trial["number"],
            "what it was": ROLES[trial["role"]],
            "item": trial["item"],
            **{letter: source_name(trial[_LETTERS[letter]]) for letter in there},
            "answer": _answer(shown["kind"], trial),
        }
        for trial in shown["revealed"]
    ]


def uncounted(compared: Mapping[str, Any]) -> list[str]:
    """Which answers do not count, and why."""
    told = [f"{row['listener']} is left out: {row['why']}." for row in compared["excluded"]]
    return told + [f"Not counted, {why}: {count} answers." for why, count in sorted(compared["left_out"].items())]


def standing_rows(compared: Mapping[str, Any]) -> list[Row]:
    """The statistics of `compare`, a row per epoch that was listened to."""
    rows = []
    for epoch in compared["epochs"]:
        row: Row = {"epoch": epoch_name(epoch["epoch"])}
        for kind, head in (("ab", "preferred"), ("xab", "closer to the speaker")):
            if epoch[kind]:
                row[head] = _record(epoch[kind])
        if epoch["abx"]:
            row["told from the base"] = _told_apart(epoch["abx"])
        said = [
            *(f"good: {who}" for who in epoch["good"]),
            *(f"{what}: {', '.join(who)}" for what, who in epoch["harm"].items()),
        ]
        if epoch["verdicts"]:
            row["sheets"] = "; ".join(said) or f"{len(epoch['verdicts'])}, neither good nor harmed"
        if len(row) > 1:
            rows.append(row)
    return rows


def headline(compared: Mapping[str, Any]) -> str:
    """The answer of `compare` in a sentence or two."""
    if compared["undecided"] is None:
        return f"{epoch_name(compared['winner']).capitalize()} wins: {compared['why']}."
    more = compared["undecided"]["more_trials"]
    return f"Undecided{f', about {more} more trials' if more else ''}: {compared['why']}."


def abx_lines(compared: Mapping[str, Any]) -> list[str]:
    """Per epoch whether listeners told it from the base."""
    return [
        f"{epoch_name(epoch['epoch']).capitalize()} against the base: {_HEARD[epoch['abx']['heard']]}, "
        f"{_told_apart(epoch['abx'])}."
        for epoch in compared["epochs"]
        if epoch["abx"]
    ]


def opening(kind: str, count: int) -> str:
    """What a listener should know before the first answer."""
    clips = "one clip each" if kind == "sheet" else "each with clips of the same words under letters"
    return f"{count} trials, {clips}. Use headphones, in a quiet place. You can stop at any time and go on later."


def _answer(kind: str, trial: Mapping[str, Any]) -> str:
    said = trial["answer"]
    if said in _CHOICE:
        return _CHOICE[said]
    letter = {"first": "A", "second": "B"}[said]
    if kind == "abx":
        right = trial[said] == trial["x"]
        return f"X is {letter}: {'right' if right else 'wrong'}"
    return f"{letter}: {source_name(trial[said])}"


def _record(standing: Mapping[str, Any]) -> str:
    wins = standing["wins"] + standing["same"] / 2
    return f"{wins:g} of {standing['n']} ({standing['wins_low']:.0%} to {standing['wins_high']:.0%})"


def _told_apart(heard: Mapping[str, Any]) -> str:
    return f"{heard['correct']} of {heard['n']} right ({heard['low']:.0%} to {heard['high']:.0%})"
