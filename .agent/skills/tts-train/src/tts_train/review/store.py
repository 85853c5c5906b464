"""reviews.db: the truth for what people say. Append-only SQLite, made by ordered migrations.

A correction is a new row: readers take each listener's last word. Every commit is on disk before the command
answers (WAL with synchronous FULL), and triggers refuse to change or delete what is there, whoever asks.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tts_train.errors import Busy, DiskError, InputUnusable
from tts_train.files import locked
from tts_train.review.filesystem import MOUNTS, require_local_disk
from tts_train.review.schema import MIGRATIONS
from tts_train.review.verdicts import CATEGORIES, Verdict, checked
from tts_train.training.status import now
from tts_train.workspace import Workspace

WAIT_SECONDS = 30.0


_ADD_VERDICT = """
INSERT INTO verdicts (run, epoch, render_key, listener_id, note, confidence, at) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_ADD_MOVE = """
INSERT INTO moves (run, epoch, move, basis, child_run, config, proposal, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_VERDICTS = """
SELECT verdicts.*, listeners.name AS listener FROM verdicts JOIN listeners ON listeners.id = listener_id
WHERE run = ?1 OR ?1 IS NULL ORDER BY verdicts.id
"""
_MOVES = "SELECT * FROM moves WHERE run = ?1 OR ?1 IS NULL ORDER BY id"
_HEARD = "SELECT verdict_id, category FROM verdict_heard"
_MARKERS = "SELECT verdict_id, marker, mark FROM verdict_markers"
_WORDS = "SELECT verdict_id, word, fault FROM verdict_words"


def database(workspace: Workspace) -> Path:
    return workspace.runs / "reviews.db"


def verdicts_of(workspace: Workspace, run: str) -> list[Verdict]:
    """All verdicts on a run, oldest first; asking does not create the database."""
    if not database(workspace).is_file():
        return []
    with Store(database(workspace)) as store:
        return store.verdicts(run)


class Store:
    """The open database; use as a context manager.

    Raises DiskError on a network file system or when the disk refuses, Busy when another writer holds it for
    WAIT_SECONDS, InputUnusable when the file is not a database of ours.
    """

    def __init__(self, path: Path, mounts: Path = MOUNTS) -> None:
        require_local_disk(path.parent, mounts)
        self.path = path
        with _sqlite_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Turning WAL on and the first migration need the file for themselves; flock queues who comes second.
            with locked(path.with_name(f".{path.name}.lock"), wait=True):
                self._connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
                try:
                    self._prepare()
                except BaseException:
                    self._connection.close()
                    raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def add_verdict(self, verdict: Verdict) -> Verdict:
        """Record a verdict and return it with its id and time. Raises UsageError when it is not one."""
        new = checked(verdict)
        at = new.at or now()
        with self._writing() as connection:
            listener = self._listener(connection, new.listener, at)
            row = (new.run, new.epoch, new.render_key, listener, new.note, new.confidence, at)
            number = connection.execute(_ADD_VERDICT, row).lastrowid
            connection.executemany("INSERT INTO verdict_heard VALUES (?, ?)", [(number, item) for item in new.heard])
            marks = [(number, *item) for item in new.markers.items()]
            connection.executemany("INSERT INTO verdict_markers VALUES (?, ?, ?)", marks)
            faults = [(number, *item) for item in new.words.items()]
            connection.executemany("INSERT INTO verdict_words VALUES (?, ?, ?)", faults)
        return Verdict(**{**vars(new), "at": at, "id": number})

    def verdicts(self, run: str | None = None) -> list[Verdict]:
        """Verdicts in the order they were given, of one run or of all."""
        with _sqlite_errors(self.path), self._reading() as connection:
            rows = connection.execute(_VERDICTS, (run,)).fetchall()
            heard = self._details(connection, _HEARD)
            markers = self._details(connection, _MARKERS)
            words = self._details(connection, _WORDS)
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
                at=row["at"],
                id=row["id"],
            )
            for row in rows
        ]

    def add_move(self, proposal: Mapping[str, Any], *, run: str, child_run: str | None, config: str | None) -> None:
        """Record a move whose child config was written."""
        row = (run, proposal["epoch"], proposal["move"], proposal["basis"], child_run, config)
        text = json.dumps(dict(proposal), ensure_ascii=False, allow_nan=False)
        with self._writing() as connection:
            connection.execute(_ADD_MOVE, (*row, text, now()))

    def moves(self, run: str | None = None) -> list[dict[str, Any]]:
        """Moves that were written, oldest first, each with the whole proposal."""
        with _sqlite_errors(self.path):
            rows = self._connection.execute(_MOVES, (run,)).fetchall()
        return [{**dict(row), "proposal": json.loads(row["proposal"])} for row in rows]

    def _prepare(self) -> None:
        connection = self._connection
        connection.row_factory = sqlite3.Row
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise DiskError(f"{self.path} cannot use WAL here (SQLite says '{mode}')", hint="use a local disk")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, at TEXT NOT NULL)"
        )
        done = connection.execute("SELECT max(version) FROM migrations").fetchone()[0] or 0
        if done > len(MIGRATIONS):
            message = f"{self.path} was made by a newer tts-train (schema {done}, this one knows {len(MIGRATIONS)})"
            raise InputUnusable(message, hint="update tts-train")
        for version, (name, statements) in enumerate(MIGRATIONS[done:], done + 1):
            with self._writing():
                for statement in statements:
                    connection.execute(statement)
                connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", (version, name, now()))

    def _listener(self, connection: sqlite3.Connection, name: str, at: str) -> int | None:
        known = connection.execute("SELECT id FROM listeners WHERE name = ?", (name,)).fetchone()
        if known:
            return int(known["id"])
        return connection.execute("INSERT INTO listeners (name, at) VALUES (?, ?)", (name, at)).lastrowid

    @staticmethod
    def _details(connection: sqlite3.Connection, query: str) -> dict[int, list[tuple[Any, ...]]]:
        found: dict[int, list[tuple[Any, ...]]] = {}
        for row in connection.execute(query):
            found.setdefault(row["verdict_id"], []).append(tuple(row)[1:])
        return found

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that takes the write lock first, so that it never fails half-way for want of it."""
        with _sqlite_errors(self.path), self._transaction("BEGIN IMMEDIATE"):
            yield self._connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot for several queries."""
        with self._transaction("BEGIN"):
            yield self._connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._connection.execute(begin)
        try:
            yield
        except BaseException:
            # A full disk has SQLite roll back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


@contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise Busy(f"{path} is held by another writer: {error}", hint="try again in a moment") from error
        raise DiskError(f"{path}: {error}", hint="check free space and permissions") from error
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise InputUnusable(f"{path} is not a usable database: {error}", hint="restore it from a backup") from error
