"""See, stop and await jobs."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tts_train.errors import Busy, TtsTrainError, UsageError
from tts_train.files import write_json
from tts_train.output import Serving, hand_over_stdout, own_options
from tts_train.processes import is_alive
from tts_train.table import duration, table
from tts_train.training.status import now
from tts_train.work.background.logfile import added, last_lines
from tts_train.work.background.record import LOST_CODE, JobFolder, everything, find
from tts_train.workspace import Workspace

RECENT_SECONDS = 86_400.0
_POLL_SECONDS = 0.3
_KILL_SECONDS = 30.0


class JobFailed(TtsTrainError):
    """A job that `wait` waited for did not end well; the exit code is the command's own."""

    kind = "job-failed"

    def __init__(self, job: Mapping[str, Any]) -> None:
        error = (job["answer"] or {}).get("error") or {}
        self.exit_code = LOST_CODE if job["state"] == "lost" else int(job["exit_code"])
        what = f"{job['state']} with code {self.exit_code}" if job["state"] != "lost" else "lost: its supervisor died"
        said = error.get("message") or job["error"]
        hint = error.get("hint") or f"run.sh jobs logs {job['id']} --human"
        super().__init__(f"job {job['id']} {what}{f': {said}' if said else ''}", hint=hint)
        self.job = dict(job)

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "job": self.job}


def list_jobs(workspace: Workspace, *, every: bool = False) -> dict[str, Any]:
    """Jobs that run, or ended in the last 24 hours, oldest first; all of them with `every`.

    Returns {jobs [summary], hidden, text}.
    """
    jobs = everything(workspace)
    shown = [job for job in jobs if every or _is_recent(job)]
    head = ("id", "name", "state", "started", "for", "code", "command")
    rows = [_row(job) for job in shown]
    lines = table(head, rows) if rows else ["no jobs; run.sh jobs submit -- COMMAND starts one"]
    hidden = len(jobs) - len(shown)
    if hidden:
        lines.append(f"{hidden} older: --all")
    return {"jobs": [_summary(job) for job in shown], "hidden": hidden, "text": "\n".join(lines)}


def logs(workspace: Workspace, identifier: str, *, lines: int, follow: bool = False) -> dict[str, Any] | Serving:
    """The last lines of the log: stdout and stderr of the command. Returns {id, state, log, lines, text}.

    With `follow`, for people only, what is added is printed until the job ends.
    """
    if follow and "--human" not in own_options(sys.argv):
        raise UsageError("--follow prints text for ever", hint="add --human, or ask again without --follow")
    folder = find(workspace, identifier)
    seen = folder.log.stat().st_size if follow else 0  # before reading: better a line twice than one missing
    last = last_lines(folder.log, lines)
    result = {
        "id": folder.identifier,
        "state": folder.read()["state"],
        "log": str(folder.log),
        "lines": last,
        "text": "\n".join(last),
    }
    return Serving(result, lambda: _follow(folder, seen)) if follow else result


def _follow(folder: JobFolder, start: int) -> None:
    """Ctrl-C ends the looking, not the job."""
    hand_over_stdout()
    try:
        for data in added(folder.log, start, lambda: folder.read()["state"] != "running"):
            os.write(1, data)
    except (KeyboardInterrupt, BrokenPipeError):
        return


def stop(workspace: Workspace, identifier: str, *, timeout: float, kill: bool = False) -> dict[str, Any]:
    """Ask a job to save and end (SIGTERM to its process group) and wait for that.

    With `kill` what still runs after `timeout` seconds is killed. Returns {id, state, exit_code, text}. Raises Busy
    when it still runs, and when it runs on another host.
    """
    folder = find(workspace, identifier)
    job = folder.read()
    if job["state"] == "running" or is_alive(job["command"]):
        if job["supervisor"]["host"] != socket.gethostname():
            host = job["supervisor"]["host"]
            raise Busy(f"job {job['id']} runs on {host}", hint=f"run.sh jobs stop {job['id']} on {host}")
        write_json(folder.stop_request, {"asked_at": now(), "kill_after_seconds": timeout if kill else None})
        _send(job, signal.SIGTERM)
        ended = _until_gone(folder, timeout)
        if not ended and kill:
            _send(folder.read(), signal.SIGKILL)
            ended = _until_gone(folder, _KILL_SECONDS)
        job = folder.read()
        if not ended:
            raise Busy(
                f"job {job['id']} was asked to stop and still runs after {timeout:g} s",
                hint="it may be saving: wait for it; --kill ends it at once and loses what is not saved",
            )
    code = "" if job["exit_code"] is None else f" with code {job['exit_code']}"
    text = f"job {job['id']}: {job['state']}{code}"
    return {**{key: job[key] for key in ("id", "name", "state", "exit_code", "signal")}, "text": text}


def wait(workspace: Workspace, identifier: str, *, timeout: float | None = None) -> dict[str, Any]:
    """Wait until a job has ended. Returns {job, answer, text} when its code is 0.

    Raises JobFailed with the command's own exit code otherwise (137 for a lost one), and Busy at the timeout.
    """
    folder = find(workspace, identifier)
    deadline = None if timeout is None else time.monotonic() + timeout
    while (job := folder.read())["state"] == "running":
        if deadline is not None and time.monotonic() >= deadline:
            raise Busy(f"job {job['id']} still runs", hint=f"run.sh jobs wait {job['id']}")
        time.sleep(_POLL_SECONDS)
    if job["state"] != "ended":
        raise JobFailed(job)
    return {"job": _summary(job), "answer": job["answer"], "text": f"job {job['id']} ended with code 0"}


def _send(job: Mapping[str, Any], number: signal.Signals) -> None:
    """Through the supervisor, who alone cannot hit a stranger; straight to the group when there is none left."""
    try:
        if is_alive(job["supervisor"]):
            os.kill(job["supervisor"]["pid"], signal.SIGUSR1 if number == signal.SIGKILL else number)
        elif is_alive(job["command"]):
            os.killpg(job["command"]["pid"], number)
    except ProcessLookupError:
        return


def _until_gone(folder: JobFolder, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while (job := folder.read())["state"] == "running" or (job["state"] == "lost" and is_alive(job["command"])):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _is_recent(job: Mapping[str, Any]) -> bool:
    if job["state"] in ("running", "unreadable"):
        return True
    return _seconds_since(job["ended_at"] or job["heartbeat_at"]) < RECENT_SECONDS


def _seconds_since(when: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(when)).total_seconds()


def _summary(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job without its answer, which may be long."""
    summary = {key: value for key, value in job.items() if key != "answer"}
    if job["state"] == "lost":
        summary["command_alive"] = is_alive(job["command"])
    return summary


def _row(job: Mapping[str, Any]) -> tuple[Any, ...]:
    if job["state"] == "unreadable":
        return job["id"], None, job["state"], None, None, None, job["error"]
    until = 0.0 if job["ended_at"] is None else _seconds_since(job["ended_at"])
    state = job["state"]
    if job["on_end"] and job["on_end"]["state"] == "failed":
        state += ", --on-end failed"
    command = " ".join(job["argv"])
    ran = duration(_seconds_since(job["started_at"]) - until)
    return job["id"], job["name"], state, job["started_at"], ran, job["exit_code"], command[:80]
