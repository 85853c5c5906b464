"""A session's trials in the form that the player takes (player/trial.js): tokens, times of words, what is asked.

Nothing in it says which clip is which. Times of words let a listener switch at the same word; they are as telling as
the clip's own sound, and no more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tts_train.errors import ConfigError, InputUnusable, Unavailable
from tts_train.files import read_json, sha256_file
from tts_train.probe.material import ANCHOR, ANCHOR_NOTE, TARGET
from tts_train.probe.probe import Probe, load_probe
from tts_train.probe.render import MEASURES
from tts_train.review.record.trials import POSITIONS
from tts_train.review.sessions.materials import SESSION, session_folder
from tts_train.review.sessions.session_rows import Session, open_reviews, plan_of, read_session
from tts_train.review.sessions.sheets import bare, markers_in, sheet_questions
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

_ABOUT_ACCENT = ("xab", "sheet")
"""Kinds whose question is about the accent: there the words that carry it are marked in the text."""


def played_trials(
    workspace: Workspace, identifier: str, numbers: Collection[int] | None = None
) -> tuple[Session, list[dict[str, Any]]]:
    """The session and its trials, all or those with these numbers.

    A trial is {number, token, kind, question, sides {position: {token, words, gain}}, transcript [{text, marker?}],
    questions, note, labels (sighted only)}; its token is its first clip's. Raises InputUnusable for no such session and
    for clips that were cleared away or changed.
    """
    with open_reviews(workspace) as opened, opened.reading() as connection:
        session = read_session(connection, identifier)
        plan = {trial["number"]: trial for trial in plan_of(connection, identifier)}
    told = _told(workspace, session)
    probe = probe_of(workspace, session.run)
    notes = _Notes(workspace.runs / session.run / "renders" / session.render_key)
    wanted = [trial for trial in told["trials"] if numbers is None or trial["number"] in numbers]
    return session, [_trial(session, told["question"], trial, plan[trial["number"]], probe, notes) for trial in wanted]


def probe_of(workspace: Workspace, run: str) -> Probe | None:
    """The run's probe, None when there is none to read any more."""
    try:
        config = RunFolder(workspace.run(run)).config()
        return load_probe(workspace.path(config.probe.file)) if config.probe else None
    except (ConfigError, InputUnusable):
        return None


def _told(workspace: Workspace, session: Session) -> dict[str, Any]:
    path = session_folder(workspace, session.id) / SESSION
    if not path.is_file():
        raise InputUnusable(
            f"the clips of session {session.id} are gone", hint=f"plan another: run.sh session new {session.run}"
        )
    if sha256_file(path) != session.materials_sha256:
        raise InputUnusable(
            f"{path} is not what was planned", hint="restore it from a backup, or plan another: run.sh session new"
        )
    told: dict[str, Any] = read_json(path)
    return told


class _Notes:
    """Times of words, out of the notes that lie beside the renders; each is read once."""

    def __init__(self, renders: Path) -> None:
        self._renders = renders
        self._items: dict[str, list[dict[str, Any]]] = {}

    def words(self, item: str, stimulus: Mapping[str, Any]) -> list[dict[str, Any]]:
        """[{word, start, end}], s in the played copy; none when the copy is of a render that is no more."""
        found = self._found(stimulus["source"], item, stimulus["seed"])
        copy = found and found.get("matched")
        if not found or not copy or copy["sha256"] != stimulus["sha256"] or "trimmed_start_seconds" not in copy:
            return []
        if stimulus["source"] == ANCHOR:  # the same reading without its highs
            made_from = TARGET if found["made_from"] == TARGET else "epoch-000"
            found = self._found(made_from, item, None) or {}
        cut = copy["trimmed_start_seconds"]
        return [
            {"word": word["word"], "start": _moved(word["start"], cut), "end": _moved(word["end"], cut)}
            for word in found.get("words") or []
        ]

    def _found(self, source: str, item: str, seed: int | None) -> dict[str, Any] | None:
        if source not in self._items:
            path = self._renders / source / (ANCHOR_NOTE if source == ANCHOR else MEASURES)
            self._items[source] = read_json(path)["items"] if path.is_file() else []
        rows = (row for row in self._items[source] if row["id"] == item and seed in (None, row["seed"]))
        return next(rows, None)


def _moved(time: float | None, cut: float) -> float | None:
    return None if time is None else round(max(0.0, time - cut), 4)


def _trial(
    session: Session,
    question: str,
    told: Mapping[str, Any],
    planned: Mapping[str, Any],
    probe: Probe | None,
    notes: _Notes,
) -> dict[str, Any]:
    sides = {
        position: {"token": told[position], "words": notes.words(planned["item"], row), "gain": 1.0}
        for position, row in ((name, planned["stimuli"][name]) for name in POSITIONS if name in told)
    }
    written = _written(told["text"], probe)
    is_sheet = session.kind == "sheet"
    return {
        "number": told["number"],
        "token": told["first"],
        "kind": session.kind,
        "question": question,
        "sides": sides,
        "transcript": _transcript(written, probe if session.kind in _ABOUT_ACCENT else None),
        "questions": sheet_questions(probe, written) if is_sheet else [],
        "note": is_sheet,
        "labels": told.get("labels"),
    }


def _written(text: str, probe: Probe | None) -> list[str]:
    """The text as one string per spoken word: as it is written where that is one to one, else as it is spoken.

    It depends on nothing that a later measurement changes: answers name words by their place in it.
    """
    written = text.split()
    try:
        spoken = probe.spoken(text) if probe else written
    except Unavailable:  # digits, where nothing is installed to read them: then no word has its time, which is no harm
        return written
    return written if [bare(word) for word in written] == [bare(word) for word in spoken] else spoken


def _transcript(written: Sequence[str], probe: Probe | None) -> list[dict[str, str]]:
    marked = markers_in(probe, written)
    return [
        {"text": word, "marker": marked[bare(word)].set} if bare(word) in marked else {"text": word} for word in written
    ]
