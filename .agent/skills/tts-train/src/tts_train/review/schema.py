"""Tables of reviews.db, as ordered migrations. One that was released is never edited: the next change is a new one."""

from __future__ import annotations

from collections.abc import Sequence

from tts_train.review.verdicts import CATEGORIES, MARKS, WORD_FAULTS

_APPEND_ONLY = """
CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, 'reviews.db is append-only: add a new row instead'); END;

CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, 'reviews.db is append-only: add a new row instead'); END;

CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})
BEGIN SELECT RAISE(ABORT, 'reviews.db is append-only: add a new row instead'); END;
"""
"""INSERT OR REPLACE deletes without asking DELETE triggers, so it is refused at the insert."""

_FIRST = """
CREATE TABLE listeners (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    at TEXT NOT NULL
);

CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    render_key TEXT,
    listener_id INTEGER NOT NULL REFERENCES listeners(id),
    note TEXT NOT NULL DEFAULT '',
    confidence INTEGER CHECK (confidence BETWEEN 1 AND 5),
    at TEXT NOT NULL
);

CREATE INDEX verdicts_by_run ON verdicts(run, epoch);

CREATE TABLE verdict_heard (
    verdict_id INTEGER NOT NULL REFERENCES verdicts(id),
    category TEXT NOT NULL CHECK (category IN ({categories})),
    PRIMARY KEY (verdict_id, category)
) WITHOUT ROWID;

CREATE TABLE verdict_markers (
    verdict_id INTEGER NOT NULL REFERENCES verdicts(id),
    marker TEXT NOT NULL,
    mark TEXT NOT NULL CHECK (mark IN ({marks})),
    PRIMARY KEY (verdict_id, marker)
) WITHOUT ROWID;

CREATE TABLE verdict_words (
    verdict_id INTEGER NOT NULL REFERENCES verdicts(id),
    word TEXT NOT NULL,
    fault TEXT NOT NULL CHECK (fault IN ({faults})),
    PRIMARY KEY (verdict_id, word)
) WITHOUT ROWID;

CREATE TABLE moves (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    move TEXT NOT NULL,
    basis TEXT NOT NULL CHECK (basis IN ('verdicts', 'evidence')),
    child_run TEXT,
    config TEXT,
    proposal TEXT NOT NULL,
    at TEXT NOT NULL
);
"""


def _quoted(values: Sequence[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _append_only(table: str, *key: str) -> str:
    return _APPEND_ONLY.format(table=table, same=" AND ".join(f"{column} = NEW.{column}" for column in key))


def _statements(*scripts: str) -> tuple[str, ...]:
    """One statement each, so that a whole migration is one transaction (executescript would commit in between)."""
    return tuple(part.strip() for script in scripts for part in script.split("\n\n") if part.strip())


MIGRATIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "listeners, verdicts, moves",
        _statements(
            _FIRST.format(categories=_quoted(CATEGORIES), marks=_quoted(MARKS), faults=_quoted(WORD_FAULTS)),
            _append_only("migrations", "version"),
            _append_only("listeners", "id"),
            _append_only("verdicts", "id"),
            _append_only("verdict_heard", "verdict_id", "category"),
            _append_only("verdict_markers", "verdict_id", "marker"),
            _append_only("verdict_words", "verdict_id", "word"),
            _append_only("moves", "id"),
        ),
    ),
)
"""(name, statements), oldest first."""
