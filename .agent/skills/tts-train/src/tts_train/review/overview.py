"""What runs are doing: one run's status for a watcher, and the list of all."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tts_train.config import TrainConfig, load_train_config
from tts_train.errors import TtsTrainError
from tts_train.review.commandline import command_line, shown
from tts_train.review.decision.evidence import last_measures
from tts_train.review.record.store import Store, database
from tts_train.table import duration, table
from tts_train.training.run import RunFolder
from tts_train.training.status import ALIVE, HEARTBEAT_SECONDS, now, read_status
from tts_train.workspace import Workspace

STALE_SECONDS = 3 * HEARTBEAT_SECONDS + 30
"""Without a heartbeat for this long a living process hangs, or its host is gone."""


def run_status(workspace: Workspace, name: str) -> dict[str, Any]:
    """One run's status.

    Returns {run, state, stale, heartbeat_age_seconds, progress_age_seconds, host, pid, step, epoch, adopted,
    epochs_published, epochs_planned, last_epoch, loss, eta_seconds, reason, next, text}. `state` is new, starting,
    training, done, stopped, failed or interrupted (its process is gone). Raises InputUnusable when there is no
    such run.
    """
    run = RunFolder(workspace.run(name))
    config, published, status = run.config(), run.epochs(), read_status(run.path)
    heartbeat = _age(status.get("heartbeat_at"))
    state = str(status["state"])
    result: dict[str, Any] = {
        "run": name,
        "state": state,
        "stale": state in ALIVE and heartbeat is not None and heartbeat > STALE_SECONDS,
        "heartbeat_age_seconds": heartbeat,
        "progress_age_seconds": _age(status.get("progress_at")),
        **{key: status.get(key) for key in ("host", "pid", "step", "epoch", "loss", "eta_seconds", "reason")},
        "adopted": bool(run.info().get("adopted")),
        "epochs_published": len(published),
        "epochs_planned": config.epochs,
        "last_epoch": dict(published[-1].info) if published else None,
    }
    result["next"] = _next_command(workspace, config, state, published=bool(published))
    return {**result, "text": _status_text(result)}


def list_runs(workspace: Workspace, limit: int) -> dict[str, Any]:
    """The newest `limit` runs. Returns {runs [{run, voice, backend, state, epochs, …}], total, text}.

    A run whose files cannot be read is listed as such: one broken run must not hide the others.
    """
    verdicts: dict[str, int] = {}
    if database(workspace).is_file():
        with Store(database(workspace)) as store:
            for verdict in store.verdicts():
                verdicts[verdict.run] = verdicts.get(verdict.run, 0) + 1
    folders = sorted((path.parent for path in workspace.runs.glob("*/run.json")), key=_touched, reverse=True)
    rows = [run_row(folder, verdicts.get(folder.name, 0)) for folder in folders[:limit]]
    return {"runs": rows, "total": len(folders), "text": _runs_text(rows, len(folders))}


def config_path(workspace: Workspace, run: str) -> Path | None:
    """The config in configs/tts that trains a run."""
    for path in sorted(workspace.configs.glob("*.yaml")):
        try:
            if load_train_config(path, workspace).run == run:
                return path
        except TtsTrainError:
            continue
    return None


def run_row(folder: Path, verdicts: int) -> dict[str, Any]:
    """A run of the list: {run, voice, backend, state, epochs_published, …}.

    Its state is "unreadable", with a reason, when its files cannot be read.
    """
    try:
        run = RunFolder(folder)
        config, published, info = run.config(), run.epochs(), run.info()
        adopted = bool(info.get("adopted"))
        row: dict[str, Any] = {
            "run": folder.name,
            "voice": config.voice,
            "backend": config.backend,
            "state": read_status(folder)["state"],
            "epochs_published": len(published),
            "epochs_planned": config.epochs,
            "lr": config.lr if info.get("lr_known", True) else None,
            "schedule": None if adopted else config.schedule.shape,
            "adopted": adopted,
            "verdicts": verdicts,
            "parent": config.parent.model_dump(mode="json") if config.parent else None,
            "speaker_similarity": None,
            "wer": None,
        }
        if published:
            row |= _last_measures(run)
    except (TtsTrainError, ValueError, KeyError) as error:
        return {"run": folder.name, "state": "unreadable", "reason": str(error), "verdicts": verdicts}
    return row


def _last_measures(run: RunFolder) -> dict[str, Any]:
    measures = last_measures(run)
    if measures is None:
        return {}
    return {"speaker_similarity": measures.speaker_similarity, "wer": measures.wer}


def _next_command(workspace: Workspace, config: TrainConfig, state: str, *, published: bool) -> str:
    if state in ("stopped", "failed", "interrupted", "new"):
        path = config_path(workspace, config.run)
        if path is not None:
            return command_line(workspace, "train-local", shown(path))
    if state == "done" and published:
        return command_line(workspace, "next", config.run)
    return command_line(workspace, "status", config.run)


def _status_text(result: Mapping[str, Any]) -> str:
    lines = [
        f"{result['run']}: {result['state']}"
        + (" but silent: it hangs, or its host is gone" if result["stale"] else "")
    ]
    if result["reason"]:
        lines.append(f"  {result['reason']}")
    step = "steps unknown" if result["adopted"] else f"step {result['step'] or 0}"
    loss = "" if result["loss"] is None else f", loss {result['loss']:.3f}"
    lines.append(f"  epochs {result['epochs_published']} of {result['epochs_planned']}, {step}{loss}")
    if result["heartbeat_age_seconds"] is not None:
        where = "" if result["host"] == socket.gethostname() else f" on {result['host']}"
        lines.append(f"  last sign {duration(result['heartbeat_age_seconds'])} ago{where} (pid {result['pid']})")
    if result["eta_seconds"] and result["state"] in ALIVE:
        lines.append(f"  about {duration(result['eta_seconds'])} left")
    return "\n".join([*lines, f"  next: {result['next']}"])


def _runs_text(rows: list[dict[str, Any]], total: int) -> str:
    if not rows:
        return "no runs yet: run.sh train-local CONFIG"
    head = ("run", "state", "epochs", "lr", "schedule", "similarity", "WER", "verdicts", "parent")
    lines = table(
        head,
        [
            (
                row["run"],
                row["state"],
                f"{row.get('epochs_published', '?')}/{row.get('epochs_planned', '?')}",
                row.get("lr"),
                row.get("schedule"),
                row.get("speaker_similarity"),
                row.get("wer"),
                row["verdicts"],
                f"{row['parent']['run']} ({row['parent']['move']})" if row.get("parent") else None,
            )
            for row in rows
        ],
    )
    rest = [] if total == len(rows) else [f"… and {total - len(rows)} more: --limit {total}"]
    return "\n".join([*lines, *rest])


def _age(at: object) -> float | None:
    """Seconds since an ISO time of status.json; a clock that was set back counts as no time."""
    if not isinstance(at, str):
        return None
    return max(0.0, (datetime.fromisoformat(now()) - datetime.fromisoformat(at)).total_seconds())


def _touched(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder / "run.json", folder / "status.json") if path.is_file())
