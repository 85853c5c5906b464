"""All that was said of a run, as files for other programs and for a paper: two tables, one JSON, a methods text.

Sessions that are still open are counted and not told: their plan in a spreadsheet would unblind them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train.errors import UsageError
from tts_train.files import remove_leftovers, write_json, write_text
from tts_train.review.methods import methods_text
from tts_train.review.record.store import Profile, Store, database
from tts_train.review.record.trials import POSITIONS, Judgement, epoch_of, read_judgements
from tts_train.review.record.verdicts import Verdict
from tts_train.review.record.weights import is_stale, present_weights
from tts_train.review.sessions.session_rows import Session, answers_of, plan_of, read_sessions
from tts_train.workspace import Workspace

VERDICTS, TRIALS, REVIEWS, METHODS = FILES = ("verdicts.csv", "trials.csv", "reviews.json", "methods.md")

_VERDICT_FIELDS = (
    *("id", "at", "run", "epoch", "listener", "region", "headphones", "heard", "markers", "words", "note"),
    *("confidence", "session", "blind", "render_key", "weights_sha256", "stale"),
)
_TRIAL_FIELDS = (
    *("session", "kind", "blind", "listener", "region", "headphones", "number", "role", "repeat_of", "item", "seed"),
    *("first", "second", "x", "answer", "chosen", "confidence", "sheet", "replays", "at", "render_key", "stale"),
    *(f"{position}_{name}" for position in POSITIONS for name in ("token", "sha256", "gain_db", "heard_seconds")),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Said:
    """Everything on one run. `trials` are those of closed sessions, answered or not."""

    run: str
    profiles: Mapping[str, Profile]
    verdicts: tuple[Mapping[str, Any], ...]
    sessions: tuple[Session, ...]
    trials: tuple[Mapping[str, Any], ...]
    judgements: tuple[Judgement, ...]
    """Of all sessions, without stale ones."""
    moves: tuple[Mapping[str, Any], ...]
    replaced: int
    """Answers that their listener changed before the session was closed."""


def export_reviews(workspace: Workspace, run: str, folder: Path) -> dict[str, Any]:
    """Write verdicts.csv, trials.csv, reviews.json and methods.md on a run into `folder` (made when it is not there).

    Returns {folder, files, verdicts, sessions, trials, text}. Raises InputUnusable for an unknown run, DiskError.
    """
    workspace.run(run)
    said = collect(workspace, run)
    trials, verdicts = said.trials, said.verdicts
    for name in FILES:
        remove_leftovers(folder / name)
    write_text(folder / VERDICTS, _csv(_VERDICT_FIELDS, verdicts))
    write_text(folder / TRIALS, _csv(_TRIAL_FIELDS, trials))
    write_json(folder / REVIEWS, _document(said))
    write_text(folder / METHODS, methods_text(said))
    closed = sum(session.closed_at is not None for session in said.sessions)
    waiting = len(said.sessions) - closed
    told = f"; {waiting} more are open and not told yet" if waiting else ""
    text = f"{len(verdicts)} verdicts and {len(trials)} trials of {closed} closed sessions{told}: {folder}"
    return {
        "folder": str(folder),
        "files": list(FILES),
        "verdicts": len(verdicts),
        "sessions": len(said.sessions),
        "trials": len(trials),
        "text": text,
    }


def with_reviews(workspace: Workspace, report: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A run's report with its reviews exported beside it. Raises UsageError for a dataset's, of which nobody judged."""
    if "run" not in report:
        raise UsageError(
            "--reviews is for a run: nobody listens to a dataset here", hint="run.sh report RUN --reviews DIR"
        )
    exported = export_reviews(workspace, report["run"], folder)
    return {**report, "reviews": exported, "text": f"{report['text']}\nReviews: {exported['text']}\n"}


def collect(workspace: Workspace, run: str) -> Said:
    """Everything that was said of a run, in one snapshot; without a database nothing was."""
    if not database(workspace).is_file():
        return Said(run, {}, (), (), (), (), (), 0)
    present = present_weights(workspace, run)
    with Store(database(workspace)) as store, store.reading() as connection:
        sessions = read_sessions(connection, run)
        closed = [session for session in sessions if session.closed_at]
        plans = {session.id: plan_of(connection, session.id) for session in closed}
        given = {session.id: answers_of(connection, session.id) for session in closed}
        query = "SELECT count(*) FROM answers JOIN sessions ON sessions.id = session_id WHERE run = ?"
        every = int(connection.execute(query, (run,)).fetchone()[0])
        profiles, verdicts, moves = store.profiles(), store.verdicts(run), store.moves(run)
        judgements = read_judgements(store, run, None, present)
    trials = [
        _trial_row(session, trial, given[session.id].get(trial["number"], {}), profiles, present)
        for session in closed
        for trial in plans[session.id]
    ]
    rows = [_verdict_row(verdict, profiles, present) for verdict in verdicts]
    who = {verdict.listener for verdict in verdicts} | {session.listener for session in sessions}
    heard = {name: profile for name, profile in profiles.items() if name in who}
    replaced = every - sum(session.answered for session in sessions)
    return Said(run, heard, tuple(rows), tuple(sessions), tuple(trials), tuple(judgements), tuple(moves), replaced)


def _verdict_row(verdict: Verdict, profiles: Mapping[str, Profile], present: Mapping[int, str]) -> dict[str, Any]:
    stale = is_stale(verdict.epoch, verdict.weights_sha256, present)
    return {**verdict.as_row(), "headphones": profiles[verdict.listener].headphones, "stale": stale}


def _trial_row(
    session: Session,
    trial: Mapping[str, Any],
    given: Mapping[str, Any],
    profiles: Mapping[str, Profile],
    present: Mapping[int, str],
) -> dict[str, Any]:
    profile, heard = profiles[session.listener], given.get("heard_seconds", {})
    row: dict[str, Any] = {
        "session": session.id,
        "kind": session.kind,
        "blind": session.blind,
        "listener": session.listener,
        "region": profile.region,
        "headphones": profile.headphones,
        "render_key": session.render_key,
        **{name: trial[name] for name in ("number", "role", "repeat_of", "item", "seed", *POSITIONS)},
        **{name: given.get(name) for name in ("answer", "confidence", "sheet", "replays", "at")},
        "chosen": trial.get(given.get("answer", "")),
    }
    for position, stimulus in trial["stimuli"].items():
        row |= {f"{position}_{name}": stimulus[name] for name in ("token", "sha256", "gain_db")}
        row[f"{position}_heard_seconds"] = heard.get(position)
    sides = [(epoch_of(stimulus["source"]), stimulus["weights_sha256"]) for stimulus in trial["stimuli"].values()]
    row["stale"] = any(epoch is not None and is_stale(epoch, weights, present) for epoch, weights in sides)
    return row


def _document(said: Said) -> dict[str, Any]:
    sessions = []
    for session in said.sessions:
        row = {
            name: value for name, value in vars(session).items() if session.closed_at or name not in ("seed", "facts")
        }
        sessions.append({**row, "state": "closed" if session.closed_at else "open"})
    return {
        "run": said.run,
        "listeners": {name: vars(profile) for name, profile in said.profiles.items()},
        "verdicts": list(said.verdicts),
        "sessions": sessions,
        "trials": list(said.trials),
        "moves": list(said.moves),
        "answers_replaced": said.replaced,
    }


def _csv(fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows([_cell(row.get(field)) for field in fields] for row in rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    """Lists with semicolons, mappings as JSON; text that a spreadsheet would take for a formula is quoted."""
    if value is None or isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else value
    if isinstance(value, list):
        return ";".join(value)
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
