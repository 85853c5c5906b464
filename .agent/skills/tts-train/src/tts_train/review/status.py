"""status: what runs are doing: alive, silent, without a step, gone or done, each told apart."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tts_train.config import TrainConfig
from tts_train.errors import TtsTrainError, UsageError
from tts_train.holders import holder
from tts_train.output import Serving, hand_over_stdout, own_options
from tts_train.review.commandline import command_line, shown
from tts_train.review.overview import config_path
from tts_train.table import duration, table
from tts_train.training.run import RunFolder
from tts_train.training.status import ALIVE, STALLED_SECONDS, is_stale, read_status, seconds_since
from tts_train.workspace import Workspace

LATELY_SECONDS = 86_400.0
WATCH_SECONDS = 5.0
_CLEAR = "\x1b[H\x1b[2J"


def run_status(workspace: Workspace, name: str) -> dict[str, Any]:
    """One run's status.

    Returns {run, state, alive, stale, stalled, probing, heartbeat_age_seconds, progress_age_seconds, host, pid, step,
    epoch, adopted, epochs_published, epochs_planned, last_epoch, loss, eta_seconds, reason, error, next, text}. `state`
    is new, starting, training, done, stopped, failed or interrupted (its process is gone). `stale`: no heartbeat for
    too long; `stalled`: a heartbeat but no step. Raises InputUnusable when there is no such run.
    """
    run = RunFolder(workspace.run(name))
    config, published, status = run.config(), run.epochs(), read_status(run.path)
    state, probing = str(status["state"]), holder(run.path / "renders" / ".lock") is not None
    stale, stepped = is_stale(status), seconds_since(status, "progress")
    result: dict[str, Any] = {
        "run": name,
        "state": state,
        "alive": state in ALIVE or probing,
        "stale": stale,
        "stalled": state in ALIVE and not stale and stepped is not None and stepped > STALLED_SECONDS,
        "probing": probing,
        "heartbeat_age_seconds": seconds_since(status, "heartbeat"),
        "progress_age_seconds": stepped,
        **{key: status.get(key) for key in ("host", "pid", "step", "epoch", "loss", "eta_seconds", "reason", "error")},
        "adopted": bool(run.info().get("adopted")),
        "epochs_published": len(published),
        "epochs_planned": config.epochs,
        "last_epoch": dict(published[-1].info) if published else None,
    }
    result["next"] = _next_command(workspace, config, state, published=bool(published))
    return {**result, "text": _text(result)}


def statuses(workspace: Workspace, lately_seconds: float = LATELY_SECONDS) -> dict[str, Any]:
    """Every run that is alive, or gave its last sign in the last 24 hours, by name.

    Returns {runs [as `run_status`, or {run, state "unreadable", reason}], alive, others, text}.
    """
    rows, others = [], 0
    for path in sorted(workspace.runs.glob("*/run.json")):
        try:
            if _is_recent(path.parent, lately_seconds):
                row = run_status(workspace, path.parent.name)
                rows.append({key: value for key, value in row.items() if key != "text"})
            else:
                others += 1
        except (TtsTrainError, ValueError, KeyError, TypeError) as error:
            rows.append({"run": path.parent.name, "state": "unreadable", "alive": False, "reason": str(error)})
    alive = any(row["alive"] for row in rows)
    return {"runs": rows, "alive": alive, "others": others, "text": _table(rows, others)}


def watch(read: Callable[[], dict[str, Any]], seconds: float = WATCH_SECONDS) -> Serving:
    """What `read` says, drawn anew every few seconds until nothing is alive. For people only: it is text."""
    if "--human" not in own_options(sys.argv):
        raise UsageError("--watch prints text until the run ends", hint="add --human, or ask again without --watch")
    first = read()
    return Serving(first, lambda: _redraw(read, seconds) if first["alive"] else None)


def how_it_stands(status: Mapping[str, Any]) -> str:
    """A run's state in words: what a watcher should know beside the state's name."""
    state = str(status["state"])
    if status.get("stale"):
        return f"{state}, but stale: no heartbeat for {duration(status['heartbeat_age_seconds'])}"
    if status.get("probing"):
        return f"{state}, being probed"
    if status.get("stalled"):
        return f"{state}, but no step for {duration(status['progress_age_seconds'])}"
    return state


def _is_recent(folder: Path, lately_seconds: float) -> bool:
    status = read_status(folder)
    age = seconds_since(status, "heartbeat")
    recent = age is not None and age < lately_seconds
    return recent or status["state"] in ALIVE or holder(folder / "renders" / ".lock") is not None


def _redraw(read: Callable[[], dict[str, Any]], seconds: float) -> None:
    """Ctrl-C ends the looking, nothing else."""
    hand_over_stdout()
    clear = _CLEAR if os.isatty(1) else ""
    try:
        alive = True
        while alive:
            time.sleep(seconds)
            result = read()
            alive = result["alive"]
            os.write(1, f"{clear}{result['text']}\n".encode())
    except TtsTrainError as error:
        os.write(1, f"{error.message}\n".encode())
    except (KeyboardInterrupt, BrokenPipeError):
        return


def _next_command(workspace: Workspace, config: TrainConfig, state: str, *, published: bool) -> str:
    if state in ("stopped", "failed", "interrupted", "new"):
        path = config_path(workspace, config.run)
        if path is not None:
            return command_line(workspace, "train-local", shown(path))
    if state == "done" and published:
        return command_line(workspace, "next", config.run)
    return command_line(workspace, "status", config.run)


def _text(result: Mapping[str, Any]) -> str:
    lines = [f"{result['run']}: {how_it_stands(result)}"]
    here = result["host"] in (None, socket.gethostname())
    if result["stale"]:
        lines.append(f"  its process still {'lives: it hangs' if here else 'cannot be seen from here: ask its host'}")
    elif result["stalled"]:
        lines.append("  its process lives: a slow probe or save, or it is stuck")
    if result["reason"]:
        lines.append(f"  {result['reason']}")
    step = "steps unknown" if result["adopted"] else f"step {result['step'] or 0}"
    loss = "" if result["loss"] is None else f", loss {result['loss']:.3f}"
    lines.append(f"  epochs {result['epochs_published']} of {result['epochs_planned']}, {step}{loss}")
    if result["heartbeat_age_seconds"] is not None:
        where = "" if here else f" on {result['host']}"
        lines.append(f"  last sign {duration(result['heartbeat_age_seconds'])} ago{where} (pid {result['pid']})")
    if result["eta_seconds"] and result["state"] in ALIVE:
        lines.append(f"  about {duration(result['eta_seconds'])} left")
    return "\n".join([*lines, f"  next: {result['next']}"])


def _table(rows: list[dict[str, Any]], others: int) -> str:
    lines = ["no run is alive, or was in the last 24 hours"]
    if rows:
        lines = table(("run", "state", "epochs", "step", "loss", "left", "last sign", "reason"), map(_row, rows))
    return "\n".join([*lines, *([f"{others} older: run.sh runs"] if others else [])])


def _row(status: Mapping[str, Any]) -> tuple[Any, ...]:
    if status["state"] == "unreadable":
        return status["run"], status["state"], None, None, None, None, None, status["reason"]
    left = status["eta_seconds"] if status["state"] in ALIVE else None
    age = status["heartbeat_age_seconds"]
    return (
        status["run"],
        how_it_stands(status),
        f"{status['epochs_published']}/{status['epochs_planned']}",
        status["step"],
        status["loss"],
        duration(left) if left else None,
        None if age is None else f"{duration(age)} ago",
        status["reason"],
    )
