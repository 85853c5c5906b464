"""reviews.db: the truth for what people say. Append-only: a correction is a new row, readers take the last word."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tts_train.review.record.database import Database, database
from tts_train.review.record.trials import Judgement, read_judgements
from tts_train.review.record.verdicts import CATEGORIES, Verdict, checked, checked_listener, checked_region
from tts_train.review.record.weights import is_stale, present_weights
from tts_train.training.status import now
from tts_train.workspace import Workspace

__all__ = ["Store", "database", "verdicts_of"]

_ADD_VERDICT = """
INSERT INTO verdicts (run, epoch, render_key, weights_sha256, session_id, listener_id, note, confidence, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADD_MOVE = """
INSERT INTO moves (run, epoch, move, basis, child_run, config, proposal, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_VERDICTS = """
SELECT verdicts.*, listeners.name AS listener, coalesce(last_profiles.region, '') AS region,
       coalesce(sessions.blind, 0) AS blind
FROM verdicts
JOIN listeners ON listeners.id = verdicts.listener_id
LEFT JOIN last_profiles ON last_profiles.listener_id = verdicts.listener_id
LEFT JOIN sessions ON sessions.id = verdicts.session_id
WHERE verdicts.run = ?1 OR ?1 IS NULL ORDER BY verdicts.id
"""
_ADD_PROFILE = "INSERT INTO profiles (listener_id, region, headphones, at) VALUES (?, ?, ?, ?)"
_PROFILES = """
SELECT listeners.name, coalesce(region, '') AS region, headphones
FROM listeners LEFT JOIN last_profiles ON last_profiles.listener_id = listeners.id ORDER BY listeners.id
"""
_MOVES = "SELECT * FROM moves WHERE run = ?1 OR ?1 IS NULL ORDER BY id"
_HEARD = "SELECT verdict_id, category FROM verdict_heard"
_MARKERS = "SELECT verdict_id, marker, mark FROM verdict_markers"
_WORDS = "SELECT verdict_id, word, fault FROM verdict_words"


def verdicts_of(workspace: Workspace, run: str, *, stale: bool = False) -> list[Verdict]:
    """Verdicts on a run, oldest first; asking does not create the database.

    A verdict on weights that its epoch no longer has is left out unless `stale`.
    """
    if not database(workspace).is_file():
        return []
    with Store(database(workspace)) as store:
        verdicts = store.verdicts(run)
    present = {} if stale else present_weights(workspace, run)
    return [verdict for verdict in verdicts if not is_stale(verdict.epoch, verdict.weights_sha256, present)]


@dataclass(frozen=True)
class Profile:
    """What a listener said of their ears last."""

    region: str = ""
    """Where they grew up, in their words; "" is unknown."""
    headphones: bool | None = None
    """False: loudspeakers; None: unknown."""


class Store(Database):
    """What people said, in an open database."""

    def add_verdict(self, verdict: Verdict) -> Verdict:
        """Record a verdict and return it with its id and time. Raises UsageError when it is not one."""
        new = checked(verdict)
        at = new.at or now()
        with self.writing() as connection:
            number = insert_verdict(connection, new, at)
        return Verdict(**{**vars(new), "at": at, "id": number})

    def verdicts(self, run: str | None = None) -> list[Verdict]:
        """Verdicts in the order they were given, of one run or of all."""
        with self.reading() as connection:
            rows = connection.execute(_VERDICTS, (run,)).fetchall()
            heard = _details(connection, _HEARD)
            markers = _details(connection, _MARKERS)
            words = _details(connection, _WORDS)
        return [
            Verdict(
                run=row["run"],
                epoch=row["epoch"],
                listener=row["listener"],
                heard=tuple(name for name in CATEGORIES if (name,) in heard.get(row["id"], ())),
                markers=dict(markers.get(row["id"], ())),
                words=dict(words.get(row["id"], ())),
                note=row["note"],
                confidence=row["confidence"],
                render_key=row["render_key"],
                weights_sha256=row["weights_sha256"],
                session=row["session_id"],
                blind=bool(row["blind"]),
                region=row["region"],
                at=row["at"],
                id=row["id"],
            )
            for row in rows
        ]

    def judgements(self, run: str, render_key: str | None = None) -> list[Judgement]:
        """The last answer to every answered trial, open sessions and stale answers included (see trials.py)."""
        return read_judgements(self, run, render_key)

    def add_profile(self, listener: str, region: str | None = None, headphones: bool | None = None) -> Profile:
        """Note what is known of a listener's ears; None leaves what was said before. Raises UsageError."""
        who, where = checked_listener(listener), checked_region(region)
        at = now()
        with self.writing() as connection:
            number = listener_id(connection, who, at)
            row = connection.execute("SELECT * FROM last_profiles WHERE listener_id = ?", (number,)).fetchone()
            known = _profile(row) if row else Profile()
            new = Profile(
                known.region if where is None else where, known.headphones if headphones is None else headphones
            )
            if new != known:
                values = (number, new.region, new.headphones, at)
                connection.execute(_ADD_PROFILE, values)
        return new

    def profiles(self) -> dict[str, Profile]:
        """Every listener by name, with what they said last of themselves."""
        with self.reading() as connection:
            return {row["name"]: _profile(row) for row in connection.execute(_PROFILES)}

    def add_move(self, proposal: Mapping[str, Any], *, run: str, child_run: str | None, config: str | None) -> None:
        """Record a move whose child config was written."""
        row = (run, proposal["epoch"], proposal["move"], proposal["basis"], child_run, config)
        text = json.dumps(dict(proposal), ensure_ascii=False, allow_nan=False)
        with self.writing() as connection:
            connection.execute(_ADD_MOVE, (*row, text, now()))

    def moves(self, run: str | None = None) -> list[dict[str, Any]]:
        """Moves that were written, oldest first, each with the whole proposal."""
        with self.reading() as connection:
            rows = connection.execute(_MOVES, (run,)).fetchall()
        return [{**dict(row), "proposal": json.loads(row["proposal"])} for row in rows]


def insert_verdict(connection: sqlite3.Connection, new: Verdict, at: str) -> int:
    """Write a checked verdict in a running transaction. Returns its id."""
    listener = listener_id(connection, new.listener, at)
    row = (new.run, new.epoch, new.render_key, new.weights_sha256, new.session, listener, new.note, new.confidence, at)
    number = int(connection.execute(_ADD_VERDICT, row).lastrowid or 0)
    connection.executemany("INSERT INTO verdict_heard VALUES (?, ?)", [(number, item) for item in new.heard])
    marks = [(number, *item) for item in new.markers.items()]
    connection.executemany("INSERT INTO verdict_markers VALUES (?, ?, ?)", marks)
    faults = [(number, *item) for item in new.words.items()]
    connection.executemany("INSERT INTO verdict_words VALUES (?, ?, ?)", faults)
    return number


def listener_id(connection: sqlite3.Connection, name: str, at: str) -> int:
    """A listener's id, a new one for a new name, in a running transaction."""
    known = connection.execute("SELECT id FROM listeners WHERE name = ?", (name,)).fetchone()
    if known:
        return int(known["id"])
    return int(connection.execute("INSERT INTO listeners (name, at) VALUES (?, ?)", (name, at)).lastrowid or 0)


def _profile(row: sqlite3.Row) -> Profile:
    return Profile(row["region"], None if row["headphones"] is None else bool(row["headphones"]))


def _details(connection: sqlite3.Connection, query: str) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {}
    for row in connection.execute(query):
        found.setdefault(row["verdict_id"], []).append(tuple(row)[1:])
    return found
