"""What ran in a window of time: runs, campaigns, jobs, each as a row of JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tts_train.errors import TtsTrainError
from tts_train.files import read_json
from tts_train.holders import holder
from tts_train.review.decision.evidence import read_evidence
from tts_train.review.decision.facts import best_epoch
from tts_train.review.decision.moves import load_moves
from tts_train.review.status import how_it_stands, run_status
from tts_train.training.run import RunFolder
from tts_train.training.status import read_status
from tts_train.work.background.record import everything
from tts_train.work.morning.window import Window
from tts_train.workspace import Workspace

_UNREADABLE = (TtsTrainError, ValueError, KeyError, TypeError)
_OF_STATUS = ("state", "alive", "stale", "reason", "error", "epochs_published", "epochs_planned", "next")


def runs(workspace: Workspace, night: Window) -> list[dict[str, Any]]:
    """Runs that are alive, or gave a sign or published an epoch in the window, by name.

    [{run, stands, new_epochs, measured, best, and of its status state, alive, stale, reason, error, epochs_published,
    epochs_planned, next}]: `best` is {epoch, speaker_similarity, wer} of the one that gates and measures favour, None
    when none passes or nothing was `measured`. A run that cannot be read has the state unreadable and the reason.
    """
    rows = []
    for path in sorted(workspace.runs.glob("*/run.json")):
        try:
            row = _run(workspace, path.parent, night)
        except _UNREADABLE as error:
            row = {"run": path.parent.name, "stands": "unreadable", "state": "unreadable", "reason": str(error)}
        if row:
            rows.append(row)
    return rows


def _run(workspace: Workspace, folder: Path, night: Window) -> dict[str, Any] | None:
    new = list(_new_epochs(RunFolder(folder), night))
    status = run_status(workspace, folder.name)
    if not (new or status["alive"] or night.holds_sign(read_status(folder))):
        return None
    return {
        "run": folder.name,
        "stands": how_it_stands(status),
        **{name: status[name] for name in _OF_STATUS},
        "new_epochs": new,
        **_best(workspace, folder.name, published=bool(status["epochs_published"])),
    }


def _new_epochs(run: RunFolder, night: Window) -> Iterator[int]:
    for epoch in run.epochs():
        # Pruning writes epoch.json anew: that makes no epoch of this night.
        if epoch.folder and not epoch.pruned and night.holds_seconds((epoch.folder / "epoch.json").stat().st_mtime):
            yield epoch.number


def _best(workspace: Workspace, run: str, *, published: bool) -> dict[str, Any]:
    if not published:
        return {"measured": False, "best": None}
    evidence = read_evidence(workspace, run)
    best = best_epoch(evidence, load_moves().thresholds)
    if best is None or best.measures is None:
        return {"measured": evidence.measured, "best": None}
    measures = best.measures
    found = {"epoch": best.epoch, "speaker_similarity": measures.speaker_similarity, "wer": measures.wer}
    return {"measured": True, "best": found}


def campaigns(workspace: Workspace, night: Window) -> list[dict[str, Any]]:
    """Campaigns that ran in the window: [{name, state, reason, started_at, ended_at, steps {state: n}, failed}].

    `state` is running, done, stopped, failed, or interrupted: nobody works on it, and nobody said that it ended.
    `failed` has {step, exit, reason, log} of every step that did.
    """
    rows = []
    for path in sorted(workspace.runs.glob("campaigns/*/campaign.json")):
        try:
            row = _campaign(path, night)
        except _UNREADABLE as error:
            row = {"name": path.parent.name, "state": "unreadable", "reason": str(error), "steps": {}, "failed": []}
        if row:
            rows.append(row)
    return rows


def _campaign(path: Path, night: Window) -> dict[str, Any] | None:
    data = read_json(path)
    steps, alive = data["steps"], holder(path.parent / ".lock") is not None
    times = [item[name] for item in (data, *steps) for name in ("started_at", "ended_at")]
    if not alive and not night.holds(*times):
        return None
    states = [str(step["state"]) for step in steps]
    failed = [
        {"step": f"{step['step']} {step['config']}", **{name: step[name] for name in ("exit", "reason", "log")}}
        for step in steps
        if step["state"] == "failed"
    ]
    return {
        **{name: data[name] for name in ("name", "reason", "started_at", "ended_at")},
        "state": "interrupted" if data["state"] == "running" and not alive else data["state"],
        "steps": {state: states.count(state) for state in sorted(set(states))},
        "failed": failed,
    }


def jobs(workspace: Workspace, night: Window) -> list[dict[str, Any]]:
    """Jobs that run, or started or ended in the window, oldest first.

    [{id, name, state, command, exit_code, started_at, ended_at, reason}]
    """
    rows = []
    for job in everything(workspace):
        if job["state"] == "unreadable":
            rows.append({"id": job["id"], "state": "unreadable", "command": "", "reason": job["error"]})
        elif job["state"] == "running" or night.holds(job["started_at"], job["ended_at"], job["heartbeat_at"]):
            kept = {name: job[name] for name in ("id", "name", "state", "exit_code", "started_at", "ended_at")}
            rows.append({**kept, "command": " ".join(job["argv"]), "reason": _why(job)})
    return rows


def _why(job: Mapping[str, Any]) -> str | None:
    if job["state"] == "lost":
        return "its supervisor died before an end was recorded"
    error = (job["answer"] or {}).get("error") or {}
    said = error.get("message") or job["error"]
    return str(said) if said else None
