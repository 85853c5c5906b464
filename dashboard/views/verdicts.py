"""What people said, as rows: verdicts and the answers of closed sessions, filtered, and as files to take away.

Sessions that are open are counted and not told, as in the export: their plan would unblind whoever reads it.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train.review.export import Said, collect, export_reviews
from tts_train.review.record.store import Store, database
from tts_train.review.sessions.session_rows import read_sessions
from tts_train.workspace import Workspace
from views.names import source_name

Row = dict[str, Any]

_FIXED_DATE = (2000, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Filter:
    """What is shown; empty is everything."""

    runs: Sequence[str] = ()
    listeners: Sequence[str] = ()
    heard: Sequence[str] = ()
    blind: bool | None = None
    stale: bool = True
    """False: what was said of weights that are no more is left out."""

    def passes(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of `verdict_rows` or `answer_rows` is shown; what was heard is asked of verdicts alone."""
        return (
            (not self.runs or row["run"] in self.runs)
            and (not self.listeners or row["listener"] in self.listeners)
            and (not self.heard or not {*self.heard}.isdisjoint(row.get("heard", self.heard)))
            and (self.blind is None or row["blind"] is self.blind)
            and (self.stale or not row["stale"])
        )


def judged_runs(workspace: Workspace) -> list[str]:
    """Runs that somebody judged or planned a session on, by name; asking does not create the database."""
    if not database(workspace).is_file():
        return []
    with Store(database(workspace)) as store, store.reading() as connection:
        names = {verdict.run for verdict in store.verdicts()} | {item.run for item in read_sessions(connection, None)}
    return sorted(names)


def gone(workspace: Workspace, runs: Iterable[str]) -> list[str]:
    """Those whose folder was removed: what was said of them is in the database alone."""
    return [run for run in runs if not (workspace.runs / run / "run.json").is_file()]


def everything(workspace: Workspace) -> list[Said]:
    """All that was said, run by run."""
    return [collect(workspace, run) for run in judged_runs(workspace)]


def verdict_rows(said: Iterable[Said]) -> list[Row]:
    """Verdicts, the newest first."""
    rows = [_verdict(verdict) for run in said for verdict in run.verdicts]
    return sorted(rows, key=lambda row: (row["at"], row["id"]), reverse=True)


def answer_rows(said: Iterable[Said]) -> list[Row]:
    """Answers of closed sessions, the newest session first, its trials in their order."""
    rows = [_answer(run.run, trial) for run in said for trial in run.trials if trial["answer"] or trial["sheet"]]
    closed = {session.id: session.closed_at or "" for run in said for session in run.sessions}
    rows.sort(key=lambda row: row["trial"])
    rows.sort(key=lambda row: (closed.get(row["session"], ""), row["session"]), reverse=True)
    return rows


def counts(said: Iterable[Said]) -> dict[str, int]:
    """How much is behind the tables: verdicts, closed and open sessions, trials nobody answered."""
    every = list(said)
    sessions = [session for run in every for session in run.sessions]
    closed = sum(session.closed_at is not None for session in sessions)
    return {
        "verdicts": sum(len(run.verdicts) for run in every),
        "closed": closed,
        "open": len(sessions) - closed,
        "unanswered": sum(not (trial["answer"] or trial["sheet"]) for run in every for trial in run.trials),
    }


def exported(workspace: Workspace, runs: Iterable[str]) -> bytes:
    """A zip of what `report --reviews` writes, a folder for each run. Raises InputUnusable for a run that is gone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, tempfile.TemporaryDirectory() as place:
        for run in runs:
            folder = Path(place) / run
            for name in export_reviews(workspace, run, folder)["files"]:
                archive.writestr(zipfile.ZipInfo(f"{run}/{name}", _FIXED_DATE), (folder / name).read_bytes())
    return buffer.getvalue()


def _verdict(verdict: Mapping[str, Any]) -> Row:
    return {
        "at": verdict["at"],
        "run": verdict["run"],
        "epoch": verdict["epoch"],
        "listener": verdict["listener"],
        "heard": list(verdict["heard"]),
        "markers": [f"{name}: {mark}" for name, mark in verdict["markers"].items()],
        "words": [f"{word}: {fault}" for word, fault in verdict["words"].items()],
        "note": verdict["note"],
        "confidence": verdict["confidence"],
        "session": verdict["session"],
        "blind": verdict["blind"],
        "stale": verdict["stale"],
        "id": verdict["id"],
    }


def _answer(run: str, trial: Mapping[str, Any]) -> Row:
    return {
        "at": trial["at"],
        "run": run,
        "session": trial["session"],
        "trial": trial["number"],
        "listener": trial["listener"],
        "task": trial["kind"].upper() if trial["kind"] != "sheet" else "sheet",
        "role": trial["role"],
        "item": trial["item"],
        "first": source_name(trial["first"]),
        "second": source_name(trial["second"]) if trial["second"] else None,
        "x": source_name(trial["x"]) if trial["x"] else None,
        "answer": _told(trial),
        "confidence": trial["confidence"],
        "blind": trial["blind"],
        "stale": trial["stale"],
    }


def _told(trial: Mapping[str, Any]) -> str:
    """The answer in words, its sides by what they were."""
    if trial["sheet"]:
        return f"heard {', '.join(trial['sheet']['heard'])}"
    if trial["answer"] == "same":
        return "no difference"
    chosen = source_name(trial["chosen"])
    if trial["kind"] == "abx":
        # Of two identical clips x is either: nothing there to be right about.
        told = "" if trial["role"] == "identical" else " (right)" if trial["chosen"] == trial["x"] else " (wrong)"
        return f"x is {trial['answer']}{told}"
    return f"{chosen} is closer to the real speaker" if trial["kind"] == "xab" else f"prefers {chosen}"
