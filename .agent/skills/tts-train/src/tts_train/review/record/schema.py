"""Tables of reviews.db, as ordered migrations. One that was released is never edited: the next change is a new one."""

from __future__ import annotations

from collections.abc import Sequence

from tts_train.review.record.verdicts import CATEGORIES, MARKS, WORD_FAULTS

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

_SESSIONS = """
ALTER TABLE verdicts ADD COLUMN weights_sha256 TEXT;

ALTER TABLE verdicts ADD COLUMN session_id TEXT REFERENCES sessions(id);

CREATE TABLE profiles (
    id INTEGER PRIMARY KEY,
    listener_id INTEGER NOT NULL REFERENCES listeners(id),
    region TEXT NOT NULL DEFAULT '',
    headphones INTEGER CHECK (headphones IN (0, 1)),
    at TEXT NOT NULL
);

CREATE INDEX profiles_by_listener ON profiles(listener_id);

CREATE VIEW last_profiles AS
SELECT * FROM profiles WHERE id IN (SELECT max(id) FROM profiles GROUP BY listener_id);

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    run TEXT NOT NULL,
    render_key TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('abx', 'ab', 'xab', 'sheet')),
    blind INTEGER NOT NULL CHECK (blind IN (0, 1)),
    listener_id INTEGER NOT NULL REFERENCES listeners(id),
    seed INTEGER NOT NULL,
    trials INTEGER NOT NULL CHECK (trials > 0),
    materials_sha256 TEXT NOT NULL,
    facts TEXT NOT NULL,
    at TEXT NOT NULL
);

CREATE INDEX sessions_by_run ON sessions(run);

CREATE TABLE trials (
    session_id TEXT NOT NULL REFERENCES sessions(id),
    number INTEGER NOT NULL CHECK (number > 0),
    role TEXT NOT NULL CHECK (role IN ('test', 'identical', 'repeat', 'anchor', 'natural')),
    item TEXT NOT NULL,
    seed INTEGER NOT NULL,
    repeat_of INTEGER CHECK (repeat_of < number),
    PRIMARY KEY (session_id, number),
    CHECK ((role = 'repeat') = (repeat_of IS NOT NULL))
) WITHOUT ROWID;

CREATE TABLE stimuli (
    session_id TEXT NOT NULL,
    trial INTEGER NOT NULL,
    position TEXT NOT NULL CHECK (position IN ('first', 'second', 'x')),
    token TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    seed INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    weights_sha256 TEXT,
    gain_db REAL NOT NULL,
    audio_seconds REAL NOT NULL,
    PRIMARY KEY (session_id, trial, position),
    FOREIGN KEY (session_id, trial) REFERENCES trials(session_id, number)
) WITHOUT ROWID;

CREATE TABLE answers (
    id INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL,
    trial INTEGER NOT NULL,
    answer TEXT NOT NULL CHECK (answer IN ('first', 'second', 'same', 'sheet')),
    sheet TEXT CHECK ((answer = 'sheet') = (sheet IS NOT NULL)),
    confidence INTEGER CHECK (confidence BETWEEN 1 AND 5),
    heard_seconds TEXT NOT NULL DEFAULT '{}',
    replays INTEGER CHECK (replays >= 0),
    nonce TEXT NOT NULL UNIQUE,
    at TEXT NOT NULL,
    FOREIGN KEY (session_id, trial) REFERENCES trials(session_id, number)
);

CREATE INDEX answers_by_trial ON answers(session_id, trial);

CREATE VIEW last_answers AS
SELECT * FROM answers WHERE id IN (SELECT max(id) FROM answers GROUP BY session_id, trial);

CREATE TABLE closings (
    session_id TEXT NOT NULL PRIMARY KEY REFERENCES sessions(id),
    answered INTEGER NOT NULL,
    at TEXT NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER answers_not_after_closing BEFORE INSERT ON answers
WHEN EXISTS (SELECT 1 FROM closings WHERE session_id = NEW.session_id)
BEGIN SELECT RAISE(ABORT, 'the session is closed and takes no more answers'); END;

CREATE TRIGGER trials_not_beyond_the_plan BEFORE INSERT ON trials
WHEN NEW.number > (SELECT trials FROM sessions WHERE id = NEW.session_id)
BEGIN SELECT RAISE(ABORT, 'a session has the number of trials it was planned with'); END;

CREATE TRIGGER listeners_no_replace_by_name BEFORE INSERT ON listeners
WHEN EXISTS (SELECT 1 FROM listeners WHERE name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'reviews.db is append-only: add a new row instead'); END;

CREATE TRIGGER stimuli_no_replace_by_token BEFORE INSERT ON stimuli
WHEN EXISTS (SELECT 1 FROM stimuli WHERE token = NEW.token)
BEGIN SELECT RAISE(ABORT, 'reviews.db is append-only: add a new row instead'); END;

CREATE TRIGGER answers_no_replace_by_nonce BEFORE INSERT ON answers
WHEN EXISTS (SELECT 1 FROM answers WHERE nonce = NEW.nonce)
BEGIN SELECT RAISE(ABORT, 'reviews.db is append-only: add a new row instead'); END;
"""
"""Values that others read are spelt out: a constant that changes later must not change this migration."""


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
    (
        "profiles, sessions, trials, answers",
        _statements(
            _SESSIONS,
            _append_only("profiles", "id"),
            _append_only("sessions", "id"),
            _append_only("trials", "session_id", "number"),
            _append_only("stimuli", "session_id", "trial", "position"),
            _append_only("answers", "id"),
            _append_only("closings", "session_id"),
        ),
    ),
)
"""(name, statements), oldest first."""
