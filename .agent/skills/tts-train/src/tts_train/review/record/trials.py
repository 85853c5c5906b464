"""Answers to trials as statistics need them: who was asked to tell what from what, and what they said."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tts_train.review.record.database import Database, database
from tts_train.review.record.weights import is_stale, present_weights
from tts_train.workspace import Workspace

KINDS = ("abx", "ab", "xab", "sheet")
ROLES = ("test", "identical", "repeat", "anchor", "natural")
POSITIONS = ("first", "second", "x")
ANSWERS = ("first", "second", "same")
TARGET, ANCHOR = "target", "anchor"


@dataclass(frozen=True)
class Judgement:
    """The last answer to one trial. Sources are "epoch-003", "target" (the real speaker) or "anchor" (3.5 kHz).

    abx: `x` is the source of `first` or of `second` and `answer` says which of the two x is; ab: which is preferred;
    xab: which is closer to `x`, the real speaker. "same" is no answer to abx.
    """

    session: str
    number: int
    kind: Literal["abx", "ab", "xab"]
    role: Literal["test", "identical", "repeat", "anchor", "natural"]
    listener: str
    region: str
    """Where the listener grew up, as they last said; "" is unknown."""
    item: str
    seed: int
    first: str
    second: str
    x: str | None
    answer: Literal["first", "second", "same"]
    blind: bool
    confidence: int | None
    """1 (a guess) to 5 (certain)."""
    render_key: str
    closed: bool
    """Whether the session is: answers of an open one may still change, and telling them would unblind it."""
    repeat_of: int | None = None
    """Of a repeat: the number of the earlier trial with the same pair, sides swapped."""


_JUDGEMENTS = """
SELECT sessions.id AS session, trials.number, kind, role, listeners.name AS listener,
       coalesce(profile.region, '') AS region, trials.item, trials.seed, trials.repeat_of,
       one.source AS first, two.source AS second, reference.source AS x,
       one.weights_sha256 AS first_weights, two.weights_sha256 AS second_weights,
       answer, blind, confidence, render_key, closings.session_id IS NOT NULL AS closed
FROM last_answers
JOIN trials ON trials.session_id = last_answers.session_id AND trials.number = last_answers.trial
JOIN sessions ON sessions.id = trials.session_id
JOIN listeners ON listeners.id = sessions.listener_id
LEFT JOIN last_profiles AS profile ON profile.listener_id = sessions.listener_id
LEFT JOIN closings ON closings.session_id = sessions.id
JOIN stimuli AS one ON one.session_id = sessions.id AND one.trial = trials.number AND one.position = 'first'
JOIN stimuli AS two ON two.session_id = sessions.id AND two.trial = trials.number AND two.position = 'second'
LEFT JOIN stimuli AS reference
       ON reference.session_id = sessions.id AND reference.trial = trials.number AND reference.position = 'x'
WHERE kind <> 'sheet' AND run = ?1 AND (render_key = ?2 OR ?2 IS NULL)
ORDER BY sessions.rowid, trials.number
"""

_PLAYED = """
SELECT DISTINCT sessions.id, source FROM stimuli JOIN sessions ON sessions.id = session_id
WHERE run = ? ORDER BY sessions.rowid
"""


def judgements_of(
    workspace: Workspace, run: str, render_key: str | None = None, *, stale: bool = False
) -> list[Judgement]:
    """The last answer to every answered trial of a run, in the order of sessions and trials.

    Answers about weights that an epoch no longer has are left out unless `stale`. Asking does not create the database.
    """
    if not database(workspace).is_file():
        return []
    with Database(database(workspace)) as opened:
        return read_judgements(opened, run, render_key, {} if stale else present_weights(workspace, run))


def read_judgements(
    opened: Database, run: str, render_key: str | None = None, present: Mapping[int, str] | None = None
) -> list[Judgement]:
    """`judgements_of` an open database; `present` maps epochs to the weights they have now."""
    with opened.reading() as connection:
        rows = connection.execute(_JUDGEMENTS, (run, render_key)).fetchall()
    return [_judgement(row) for row in rows if not _stale(row, present or {})]


def sessions_on(workspace: Workspace, run: str) -> dict[int, list[str]]:
    """Epoch → sessions in which it is or was played, answered or not."""
    if not database(workspace).is_file():
        return {}
    found: dict[int, list[str]] = {}
    with Database(database(workspace)) as opened, opened.reading() as connection:
        for session, source in connection.execute(_PLAYED, (run,)):
            epoch = epoch_of(source)
            if epoch is not None:
                found.setdefault(epoch, []).append(session)
    return found


def epoch_of(source: str) -> int | None:
    """The epoch that a source is; None for the real speaker and the anchor."""
    return int(source.removeprefix("epoch-")) if source.startswith("epoch-") else None


def _stale(row: sqlite3.Row, present: Mapping[int, str]) -> bool:
    sides = ((epoch_of(row[side]), row[f"{side}_weights"]) for side in ("first", "second"))
    return any(epoch is not None and is_stale(epoch, weights, present) for epoch, weights in sides)


def _judgement(row: sqlite3.Row) -> Judgement:
    fields = {name: row[name] for name in Judgement.__dataclass_fields__}
    return Judgement(**{**fields, "blind": bool(row["blind"]), "closed": bool(row["closed"])})
