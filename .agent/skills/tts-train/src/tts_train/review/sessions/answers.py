"""Answers to trials: from a command, a dashboard or a file that came back, all through one door.

An answer is one row and is never changed: the last one of a trial counts until its session is closed. Each carries a
nonce of its sender's, so that what is sent twice is one row.
"""

from __future__ import annotations

import json
import math
import secrets
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tts_train.errors import UsageError
from tts_train.review.record.database import Database
from tts_train.review.record.trials import epoch_of
from tts_train.review.record.verdicts import (
    CATEGORIES,
    WORD_FAULTS,
    Verdict,
    check_against_probe,
    checked,
    checked_listener,
)
from tts_train.review.sessions.materials import CHOICES
from tts_train.review.sessions.session_rows import Session, answered_trials, open_reviews, positions_of, read_session
from tts_train.training.run import RunFolder
from tts_train.training.status import now
from tts_train.workspace import Workspace

SHEET = "sheet"
_CAUTIOUS_MARKS = ("mangled", "overshot", "not-heard", "baseline", "target")


@dataclass(frozen=True)
class Answer:
    """What a listener says to one trial: `answer` is first, second or same, or "sheet" with the sheet's content."""

    session: str
    trial: int
    listener: str
    answer: str
    sheet: Mapping[str, Any] | None = None
    """{heard [category], markers {set: mark}, words {word: fault}, note}."""
    confidence: int | None = None
    """1 (a guess) to 5 (certain)."""
    heard_seconds: Mapping[str, float] = field(default_factory=dict)
    """Position → seconds of it that were played, repetitions included."""
    replays: int | None = None
    """How often a clip was started again."""
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))
    at: str = ""
    """When it was given; "" is now."""


def record_answer(workspace: Workspace, answer: Answer, run: str | None = None) -> dict[str, Any]:
    """`add_answer` to the workspace's database."""
    with open_reviews(workspace) as opened:
        return add_answer(opened, workspace, answer, run)


def add_answer(opened: Database, workspace: Workspace, answer: Answer, run: str | None = None) -> dict[str, Any]:
    """Add an answer to an open database, on disk when this returns, unless its nonce is there already.

    Returns {session, trial, answer, recorded (False: it was there), answered, trials, next (number of a trial without
    an answer, or None)}. Raises UsageError for a closed session, another listener's (or `run`'s), a trial or answer
    that does not exist; InputUnusable for an unknown session; Busy, DiskError.
    """
    session, given = check_answer(opened, workspace, answer, run)
    with opened.writing() as connection:
        recorded = _insert(connection, session, given)
        done = answered_trials(connection, session.id)
    left = [number for number in range(1, session.trials + 1) if number not in done]
    return {
        "session": session.id,
        "trial": answer.trial,
        "answer": answer.answer,
        "recorded": recorded,
        "answered": len(done),
        "trials": session.trials,
        "next": left[0] if left else None,
    }


def check_answer(
    opened: Database, workspace: Workspace, answer: Answer, run: str | None = None
) -> tuple[Session, Answer]:
    """The session and the answer, normalised, without adding it. Raises what `add_answer` raises, but for closing."""
    with opened.reading() as connection:
        session = read_session(connection, answer.session)
        positions = positions_of(connection, session.id, answer.trial)
    return session, _checked(workspace, session, positions, answer, run)


def verdicts_from_sheets(
    session: Session, plan: Sequence[Mapping[str, Any]], given: Mapping[int, Mapping[str, Any]]
) -> list[Verdict]:
    """One verdict per epoch out of a session's last sheets; those on the real speaker are no verdict on an epoch.

    Where several sheets are on one epoch (other items, repeats) whatever one of them heard was heard, except that
    "no-difference" needs all of them. Of marks on one set or word the most cautious counts: a fault before a success.
    """
    sheets: dict[int, list[Mapping[str, Any]]] = {}
    weights: dict[int, str | None] = {}
    for trial in plan:
        answer, epoch = given.get(trial["number"]), epoch_of(trial["first"])
        if answer and answer["sheet"] and epoch is not None:
            weights[epoch] = trial["stimuli"]["first"]["weights_sha256"]
            said = {**answer["sheet"], "item": trial["item"], "confidence": answer["confidence"]}
            sheets.setdefault(epoch, []).append(said)
    return [_merged(session, epoch, said, weights[epoch]) for epoch, said in sorted(sheets.items())]


def _merged(session: Session, epoch: int, said: Sequence[Mapping[str, Any]], weights: str | None) -> Verdict:
    heard = {category for sheet in said for category in sheet["heard"]}
    if not all("no-difference" in sheet["heard"] for sheet in said):
        heard.discard("no-difference")
    notes = [sheet["note"] for sheet in said if sheet["note"]]
    if len(said) > 1:
        notes = [f"{sheet['item']}: {', '.join([*sheet['heard'], *filter(None, [sheet['note']])])}" for sheet in said]
    return Verdict(
        run=session.run,
        epoch=epoch,
        listener=session.listener,
        heard=tuple(category for category in CATEGORIES if category in heard),
        markers=_cautious([sheet["markers"] for sheet in said], _CAUTIOUS_MARKS),
        words=_cautious([sheet["words"] for sheet in said], WORD_FAULTS),
        note="; ".join(notes),
        confidence=min((sheet["confidence"] for sheet in said if sheet["confidence"]), default=None),
        render_key=session.render_key,
        weights_sha256=weights,
        session=session.id,
        blind=session.blind,
    )


def _cautious(marks: Sequence[Mapping[str, str]], order: Sequence[str]) -> dict[str, str]:
    """Of several marks on one name the one that stands first in `order`."""
    found: dict[str, str] = {}
    for name, mark in (pair for given in marks for pair in given.items()):
        found[name] = min(found.get(name, mark), mark, key=order.index)
    return found


def _checked(
    workspace: Workspace,
    session: Session,
    positions: Collection[str],
    answer: Answer,
    run: str | None,
) -> Answer:
    """The answer, normalised. Raises UsageError."""
    who = checked_listener(answer.listener)
    if who != session.listener:
        raise UsageError(
            f"session {session.id} is another listener's, not {who}'s",
            hint=f"plan one for {who}: run.sh session new {session.run} --listener NAME",
        )
    if run is not None and run != session.run:
        raise UsageError(f"session {session.id} is not about run '{run}'", hint=f"run.sh session show {session.id}")
    if not 1 <= answer.trial <= session.trials:
        raise UsageError(f"session {session.id} has trials 1 to {session.trials}, not {answer.trial}", hint="--trial N")
    choices = CHOICES.get(session.kind, (SHEET,))
    if answer.answer not in choices:
        wanted = (
            "--heard CATEGORY, as its trials are sheets" if choices == (SHEET,) else f"--answer {' or '.join(choices)}"
        )
        raise UsageError(f"'{answer.answer}' is no answer to {session.kind}", hint=f"give {wanted}")
    if answer.confidence is not None and not 1 <= answer.confidence <= 5:
        raise UsageError("confidence is 1 (a guess) to 5 (certain)", hint="--confidence 3")
    times = answer.heard_seconds
    if set(times) - set(positions) or any(not 0 <= value < math.inf for value in times.values()):
        raise UsageError("seconds heard are positions of the trial and numbers from 0", hint="--listened first=2.5")
    if answer.replays is not None and answer.replays < 0:
        raise UsageError("replays count from 0", hint="--replays 2")
    if not 1 <= len(answer.nonce) <= 64 or not answer.nonce.isascii() or not answer.nonce.isprintable():
        raise UsageError("a nonce is 1 to 64 printable characters", hint="leave it out, and one is drawn")
    sheet = _checked_sheet(workspace, session, answer) if answer.answer == SHEET else None
    return Answer(**{**vars(answer), "listener": who, "sheet": sheet, "at": answer.at or now()})


def _checked_sheet(workspace: Workspace, session: Session, answer: Answer) -> dict[str, Any]:
    said = answer.sheet or {}
    verdict = checked(
        Verdict(
            run=session.run,
            epoch=0,
            listener=session.listener,
            heard=tuple(said.get("heard", ())),
            markers=said.get("markers", {}),
            words=said.get("words", {}),
            note=said.get("note", ""),
            confidence=answer.confidence,
        )
    )
    check_against_probe(verdict, RunFolder(workspace.run(session.run)).config(), workspace)
    row = verdict.as_row()
    return {name: row[name] for name in ("heard", "markers", "words", "note")}


def _insert(connection: sqlite3.Connection, session: Session, answer: Answer) -> bool:
    """Whether a row was added; asked and added in one transaction, so two senders of one nonce add one row."""
    sheet = json.dumps(answer.sheet, ensure_ascii=False, allow_nan=False) if answer.sheet is not None else None
    known = connection.execute("SELECT * FROM answers WHERE nonce = ?", (answer.nonce,)).fetchone()
    if known is not None:
        same = (known["session_id"], known["trial"], known["answer"], known["sheet"])
        if same == (session.id, answer.trial, answer.answer, sheet):
            return False
        raise UsageError("this nonce came with another answer before", hint="a nonce names one answer: draw a new one")
    if connection.execute("SELECT 1 FROM closings WHERE session_id = ?", (session.id,)).fetchone():
        raise UsageError(
            f"session {session.id} is closed and takes no more answers", hint="plan another: run.sh session new RUN"
        )
    connection.execute(
        "INSERT INTO answers (session_id, trial, answer, sheet, confidence, heard_seconds, replays, nonce, at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            session.id,
            answer.trial,
            answer.answer,
            sheet,
            answer.confidence,
            json.dumps(dict(answer.heard_seconds), allow_nan=False),
            answer.replays,
            answer.nonce,
            answer.at,
        ),
    )
    return True
