"""Rows of sessions: plan, answers and closing, read and written in a transaction that the caller holds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tts_train.errors import InputUnusable
from tts_train.review.record.database import Database, database
from tts_train.review.record.trials import POSITIONS, epoch_of
from tts_train.review.sessions.ordering import Draft
from tts_train.workspace import Workspace


@dataclass(frozen=True)
class Session:
    """One planned session of one listener. `trials` was fixed when it was planned."""

    id: str
    run: str
    render_key: str
    kind: str
    blind: bool
    listener: str
    seed: int
    """Pairs, items, sides and order follow from it (and from what could be played)."""
    trials: int
    materials_sha256: str
    """Of the folder's session.json."""
    facts: Mapping[str, Any]
    at: str
    closed_at: str | None = None
    answered: int = 0
    """Trials that have an answer."""


_SESSIONS = """
SELECT sessions.*, listeners.name AS listener, closings.at AS closed_at,
       (SELECT count(*) FROM last_answers WHERE session_id = sessions.id) AS answered
FROM sessions JOIN listeners ON listeners.id = listener_id
LEFT JOIN closings ON closings.session_id = sessions.id
WHERE (sessions.id = ?1 OR ?1 IS NULL) AND (sessions.run = ?2 OR ?2 IS NULL) ORDER BY sessions.rowid
"""
_STIMULI = "SELECT * FROM stimuli WHERE session_id = ? ORDER BY trial, position"
_TRIALS = "SELECT * FROM trials WHERE session_id = ? ORDER BY number"
_ANSWERS = "SELECT * FROM last_answers WHERE session_id = ? ORDER BY trial"


def open_reviews(workspace: Workspace) -> Database:
    """The database, which must be there. Raises InputUnusable when nobody has said or planned anything yet."""
    if not database(workspace).is_file():
        raise InputUnusable("there is no session yet", hint="plan one: run.sh session new RUN --listener NAME")
    return Database(database(workspace))


def read_session(connection: sqlite3.Connection, identifier: str) -> Session:
    """One session. Raises InputUnusable when there is none of that name."""
    found = _sessions(connection, identifier, None)
    if not found:
        raise InputUnusable(f"there is no session '{identifier}'", hint="run.sh session list RUN")
    return found[0]


def read_sessions(connection: sqlite3.Connection, run: str | None) -> list[Session]:
    """Sessions of a run, or all, in the order they were planned."""
    return _sessions(connection, None, run)


def insert_session(
    connection: sqlite3.Connection,
    session: Session,
    listener: int,
    drafts: Sequence[Draft],
    tokens: Sequence[Mapping[str, str]],
    weights: Mapping[int, str],
) -> None:
    """Write a session with its whole plan; `tokens` per trial position → token, `weights` epoch → hash."""
    facts = json.dumps(dict(session.facts), ensure_ascii=False, allow_nan=False)
    connection.execute(
        "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            session.id,
            session.run,
            session.render_key,
            session.kind,
            session.blind,
            listener,
            session.seed,
            session.trials,
            session.materials_sha256,
            facts,
            session.at,
        ),
    )
    for number, draft in enumerate(drafts, 1):
        row = (session.id, number, draft.role, draft.item, draft.seed, draft.repeat_of)
        connection.execute("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?)", row)
        for position, item in zip(POSITIONS, (draft.first, draft.second, draft.x), strict=True):
            if item is None:
                continue
            epoch = epoch_of(item.source)
            spoke = weights.get(epoch) if epoch is not None else None
            where = (session.id, number, position, tokens[number - 1][position])
            what = (item.source, item.seed, item.sha256, spoke, item.gain_db, item.audio_seconds)
            connection.execute("INSERT INTO stimuli VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*where, *what))


def plan_of(connection: sqlite3.Connection, identifier: str) -> list[dict[str, Any]]:
    """Trials with their sources: {number, role, item, seed, repeat_of, first, second, x, stimuli {position: row}}.

    Nothing for the eyes of a listener whose session is open.
    """
    heard: dict[int, dict[str, dict[str, Any]]] = {}
    for row in connection.execute(_STIMULI, (identifier,)):
        heard.setdefault(row["trial"], {})[row["position"]] = dict(row)
    return [
        {
            **{name: row[name] for name in ("number", "role", "item", "seed", "repeat_of")},
            **{position: heard[row["number"]].get(position, {}).get("source") for position in POSITIONS},
            "stimuli": heard[row["number"]],
        }
        for row in connection.execute(_TRIALS, (identifier,))
    ]


def answers_of(connection: sqlite3.Connection, identifier: str) -> dict[int, dict[str, Any]]:
    """Trial number → its last answer, with `heard_seconds` and `sheet` as mappings (a sheet's may be None)."""
    return {
        row["trial"]: {
            **dict(row),
            "heard_seconds": json.loads(row["heard_seconds"]),
            "sheet": json.loads(row["sheet"]) if row["sheet"] else None,
        }
        for row in connection.execute(_ANSWERS, (identifier,))
    }


def answered_trials(connection: sqlite3.Connection, identifier: str) -> set[int]:
    """Numbers of the trials that have an answer."""
    rows = connection.execute("SELECT DISTINCT trial FROM answers WHERE session_id = ?", (identifier,))
    return {row["trial"] for row in rows}


def positions_of(connection: sqlite3.Connection, identifier: str, trial: int) -> list[str]:
    """Which of first, second and x a trial plays; none when there is no such trial."""
    query = "SELECT position FROM stimuli WHERE session_id = ? AND trial = ?"
    return [row["position"] for row in connection.execute(query, (identifier, trial))]


def _sessions(connection: sqlite3.Connection, identifier: str | None, run: str | None) -> list[Session]:
    rows = connection.execute(_SESSIONS, (identifier, run)).fetchall()
    names = Session.__dataclass_fields__
    return [
        Session(
            **{
                **{name: row[name] for name in names},
                "blind": bool(row["blind"]),
                "facts": json.loads(row["facts"]),
            }
        )
        for row in rows
    ]
