"""The file reviews.db itself: opened safely, migrated, append-only, shared by processes.

Every commit is on disk before the command answers (WAL with synchronous FULL), and triggers refuse to change or
delete what is there, whoever asks.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from tts_train.errors import Busy, DiskError, InputUnusable
from tts_train.files import locked
from tts_train.review.record.filesystem import MOUNTS, require_local_disk
from tts_train.review.record.schema import MIGRATIONS
from tts_train.training.status import now
from tts_train.workspace import Workspace

WAIT_SECONDS = 30.0


def database(workspace: Workspace) -> Path:
    return workspace.runs / "reviews.db"


class Database:
    """The open database; use as a context manager.

    Where nothing can be written, on a full disk say, what is there can still be read: nobody's word is hidden by it.

    Raises DiskError on a network file system or when the disk refuses, Busy when another writer holds it for
    WAIT_SECONDS, InputUnusable when the file is not a database of ours.
    """

    def __init__(self, path: Path, mounts: Path = MOUNTS) -> None:
        require_local_disk(path.parent, mounts)
        self.path = path
        self._read_only: Exception | None = None
        try:
            self._connection = self._open()
        except (DiskError, OSError) as error:
            if not path.is_file():
                raise
            self._read_only = error
            self._connection = _as_it_is(path, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that takes the write lock first, so that it never fails half-way for want of it."""
        if self._read_only is not None:
            raise _refused(self.path, self._read_only) from self._read_only
        with _sqlite_errors(self.path), self._transaction("BEGIN IMMEDIATE"):
            yield self._connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot for several queries, that of the transaction around it if there is one."""
        if self._connection.in_transaction:
            yield self._connection
            return
        with _sqlite_errors(self.path), self._transaction("BEGIN"):
            yield self._connection

    def _open(self) -> sqlite3.Connection:
        with _sqlite_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Turning WAL on and the first migration need the file for themselves; flock queues who comes second.
            with locked(self.path.with_name(f".{self.path.name}.lock"), wait=True):
                self._connection = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
                try:
                    self._prepare()
                except BaseException:
                    self._connection.close()
                    raise
        return self._connection

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
        done = _schema(connection, self.path)
        for version, (name, statements) in enumerate(MIGRATIONS[done:], done + 1):
            with self.writing():
                for statement in statements:
                    connection.execute(statement)
                connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", (version, name, now()))

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


def _schema(connection: sqlite3.Connection, path: Path) -> int:
    done = int(connection.execute("SELECT max(version) FROM migrations").fetchone()[0] or 0)
    if done > len(MIGRATIONS):
        message = f"{path} was made by a newer tts-train (schema {done}, this one knows {len(MIGRATIONS)})"
        raise InputUnusable(message, hint="update tts-train")
    return done


def _as_it_is(path: Path, why: Exception) -> sqlite3.Connection:
    """A copy of the database in memory, made without writing beside it."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    with _sqlite_errors(path), TemporaryDirectory(prefix="tts-train-reviews-") as scratch:
        files = [path, path.with_name(f"{path.name}-wal")]
        logged = files[1].is_file() and files[1].stat().st_size > 0
        for file in files if logged else []:  # the last rows are in the log, which SQLite reads beside its file alone
            shutil.copyfile(file, Path(scratch) / file.name)
        place = f"{(Path(scratch) / path.name).as_uri()}" if logged else f"{path.resolve().as_uri()}?immutable=1"
        with closing(sqlite3.connect(place, uri=True)) as there:
            there.backup(memory)
        memory.row_factory = sqlite3.Row
        if _schema(memory, path) < len(MIGRATIONS):
            raise _refused(path, why) from why  # it is an older version's, and cannot be brought up to date
    return memory


def _refused(path: Path, why: Exception) -> DiskError:
    return DiskError(f"{path} cannot be written: {why}", hint="check free space and permissions")


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
