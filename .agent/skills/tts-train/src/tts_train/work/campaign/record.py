"""campaign.json: the queue of a campaign and what became of each step, written after every change."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tts_train.errors import DiskError, TtsTrainError
from tts_train.files import read_json, write_json
from tts_train.processes import identity
from tts_train.training.status import now
from tts_train.work.campaign.queue import Step
from tts_train.work.campaign.recipe import MAKES
from tts_train.work.train import plan
from tts_train.workspace import Workspace

HEARTBEAT_SECONDS = 20.0
OPEN = ("waiting", "running", "stopped")
"""States of a step that is still to do."""
ENDED_BADLY = ("failed", "skipped")

Row = dict[str, Any]
"""A step of campaign.json."""


class Record:
    """Owner of one campaign.json; the caller holds the campaign's lock."""

    def __init__(self, path: Path, data: dict[str, Any]) -> None:
        self._path = path
        self.data = data
        self._beat = time.monotonic()

    @property
    def rows(self) -> list[Row]:
        rows: list[Row] = self.data["steps"]
        return rows

    def change(self, row: Row | None = None, **fields: Any) -> None:
        """Note fields of a step, or of the campaign, and write."""
        (self.data if row is None else row).update(fields)
        self.write()

    def write(self) -> None:
        write_json(self._path, {**self.data, "heartbeat_at": now()})

    def beat(self) -> None:
        """Say that somebody is there. A disk that is full for a while may be empty again when it matters."""
        if time.monotonic() - self._beat > HEARTBEAT_SECONDS:
            self._beat = time.monotonic()
            with contextlib.suppress(DiskError):
                self.write()

    def blocked_by(self, row: Row) -> Row | None:
        """The step before `row` that ended badly."""
        return next((other for other in self.rows if other["id"] in row["after"] and is_bad(other)), None)


def is_bad(row: Mapping[str, Any]) -> bool:
    return row["state"] in ENDED_BADLY


def known(folder: Path) -> dict[str, Any]:
    """What an earlier start left; without one, a campaign without steps."""
    path = folder / "campaign.json"
    found: dict[str, Any] = read_json(path) if path.is_file() else {"state": "new", "steps": []}
    return found


def merged(workspace: Workspace, folder: Path, steps: Sequence[Step], before: Mapping[str, Any]) -> list[Row]:
    """The rows of the queue, each as it was left where that still holds.

    A step is done when it was done and what it made is there, or, where the campaign never began it, when what it makes
    is there. What failed is tried again only after the whole queue was gone through.
    """
    old = {row["id"]: row for row in before["steps"]}
    rows: dict[str, Row] = {}
    for step in steps:
        then = old.get(step.identifier)
        row = _new_row(workspace, folder, step)
        if then is not None:
            # A command line that changed is run anew: it knows itself what is left of its work.
            row = dict(then) if then["argv"] == row["argv"] else {**row, "process": then["process"]}
        if then is None or row["state"] == "done":
            done_before = all(rows[name]["state"] == "done" for name in step.after)
            there = _is_there(workspace, step, steps, row, done_before=done_before)
            if not there:
                row |= {"state": "waiting", "estimate": None}
            elif then is None:
                row |= {"state": "done", "reason": "was there already"}
        elif row["state"] in OPEN or before["state"] == "failed":
            row |= {"state": "waiting", "reason": None}
        rows[step.identifier] = row
    return list(rows.values())


def _new_row(workspace: Workspace, folder: Path, step: Step) -> Row:
    return {
        "id": step.identifier,
        "config": step.order.path,
        "step": step.step,
        "subject": step.subject,
        "argv": list(step.argv),
        "after": list(step.after),
        "state": "waiting",
        "exit": None,
        "reason": None,
        "started_at": None,
        "ended_at": None,
        "process": None,
        "estimate": None,
        "log": workspace.relative(folder / "logs" / f"{step.identifier}.txt"),
    }


def _is_there(workspace: Workspace, step: Step, steps: Sequence[Step], row: Row, *, done_before: bool) -> bool:
    if step.step == "train":
        return done_before and _is_trained(workspace, step)
    if step.step == "probe":
        return done_before and row["state"] == "done"
    return any(path.is_file() for path in _products_from(step, steps))


def _products_from(step: Step, steps: Sequence[Step]) -> Iterator[Path]:
    """What the step makes, and what later ones make of that."""
    order = list(MAKES)
    for other in steps:
        if other.product and other.subject == step.subject and order.index(other.step) >= order.index(step.step):
            yield other.product


def _is_trained(workspace: Workspace, step: Step) -> bool:
    patience = step.argv[step.argv.index("--patience") + 1] if "--patience" in step.argv else None
    try:
        return bool(plan(step.order.config, workspace, int(patience) if patience else None)["done"])
    except TtsTrainError:  # not even checked yet, and the check will tell
        return False


def begun(name: str, argv: Sequence[str], limits: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The head of campaign.json for a start that takes up what `before` left."""
    return {
        "name": name,
        "state": "running",
        "started_at": before.get("started_at") or now(),
        "night_started_at": night_started(limits["hours"], before),
        "ended_at": None,
        "argv": list(argv),
        "limits": dict(limits),
        "reason": None,
        "process": identity(os.getpid()),
    }


def night_started(hours: float | None, before: Mapping[str, Any]) -> str:
    """When the hours began to count: at this start, or at the one that was killed, so that a kill gives no more."""
    if before["state"] != "running" or hours is None:
        return now()
    begun_at = str(before["night_started_at"])
    return begun_at if 0 <= seconds_since(begun_at) < hours * 3600 else now()


def seconds_since(when: str) -> float:
    return (datetime.fromisoformat(now()) - datetime.fromisoformat(when)).total_seconds()
