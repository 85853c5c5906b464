"""What a campaign leaves to people: it trains what it was given, and every further move needs ears."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tts_train.errors import TtsTrainError
from tts_train.review.commandline import YOUR_NAME, command_line
from tts_train.review.decision.evidence import read_evidence
from tts_train.review.decision.facts import best_epoch
from tts_train.review.decision.moves import load_moves
from tts_train.review.decision.next import propose
from tts_train.table import duration, table
from tts_train.work.campaign.record import Row
from tts_train.workspace import Workspace


def waiting_for_ears(workspace: Workspace, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """`for_ears` of each run that was trained."""
    return [for_ears(workspace, row["subject"]) for row in rows if row["step"] == "train" and row["state"] == "done"]


def for_ears(workspace: Workspace, run: str) -> dict[str, Any]:
    """What a run leaves to listeners: {run, best_epoch, move, because, command, listen}.

    `best_epoch` is what gates and similarity favour, `move` what `next` would propose from measures alone; both are
    None where nothing was measured. `listen` starts a blind session.
    """
    listen = command_line(workspace, "session", "new", run, "--listener", YOUR_NAME)
    found: dict[str, Any] = {"run": run, "best_epoch": None, "move": None, "listen": listen}
    try:
        proposal = propose(workspace, run)
        best = best_epoch(read_evidence(workspace, run), load_moves().thresholds)
    except TtsTrainError as error:
        return {**found, "because": error.message, "command": error.hint}
    kept = {name: proposal[name] for name in ("move", "because", "command")}
    return {**found, "best_epoch": best.epoch if best else None, **kept}


def report_text(data: dict[str, Any], ears: Sequence[dict[str, Any]], *, planned: bool = False) -> str:
    """A campaign for people: its steps, what ended it, what to type in the morning."""
    head = ("step", "state", "time", "disk") if planned else ("step", "state", "code", "started", "ended")
    rows = [_planned_row(row) if planned else _row(row) for row in data["steps"]]
    reasons = [f"{row['id']}: {row['reason']}" for row in data["steps"] if row["reason"] and not planned]
    ended = f": {data['reason']}" if data["reason"] else ""
    lines = [f"campaign {data['name']}: {data['state']}{ended}", "", *table(head, rows)]
    lines += ["", *reasons] if reasons else []
    if ears:
        lines += ["", "Waiting for ears:"]
    for item in ears:
        best = "no epoch is known to be fit" if item["best_epoch"] is None else f"epoch {item['best_epoch']} first"
        move = f"; from measures alone: {item['move']}" if item["move"] else ""
        lines += [f"  {item['run']}: {best}{move}", f"    {item['listen']}"]
        lines += [f"    {item['command']}"] if item["command"] else []
    return "\n".join(lines)


def _row(row: Row) -> tuple[Any, ...]:
    return row["id"], row["state"], row["exit"], row["started_at"], row["ended_at"]


def _planned_row(row: Row) -> tuple[Any, ...]:
    said = row["estimate"] or {}
    minutes, disk = said.get("minutes"), said.get("disk_gb")
    time = None if minutes is None else duration(minutes * 60)
    return row["id"], row["state"], time, None if disk is None else f"{disk:.1f} GB"
