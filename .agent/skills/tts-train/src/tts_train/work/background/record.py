"""What is known of a job: artifacts/jobs/<id>/job.json, written by its supervisor alone and read without trust.

A request to stop is a file of its own, stop.json, because others write it.
"""

from __future__ import annotations

import re
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tts_train.errors import InputUnusable, TtsTrainError
from tts_train.files import read_json
from tts_train.processes import is_alive
from tts_train.workspace import Workspace, check_name

ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
STOPPED_CODES = (130, 143)
LOST_CODE = 137
"""The exit code of a job that ended without a record, as of a process that was killed."""
HEARTBEAT_SECONDS = 20.0
SILENT_SECONDS = 600.0
"""Without a heartbeat for this long, a job on another host is taken for lost with it."""


@dataclass(frozen=True)
class JobFolder:
    """artifacts/jobs/<id>."""

    path: Path

    @property
    def identifier(self) -> str:
        return self.path.name

    @property
    def record(self) -> Path:
        return self.path / "job.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def stop_request(self) -> Path:
        return self.path / "stop.json"

    def read(self) -> dict[str, Any]:
        """job.json with `state` (running, ended, failed, stopped, lost) and `stop`, the request to stop if any."""
        job: dict[str, Any] = read_json(self.record)
        stop = read_json(self.stop_request) if self.stop_request.exists() else None
        return {**job, "stop": stop, "state": state(job, stop)}


def jobs_folder(workspace: Workspace) -> Path:
    return workspace.root / "artifacts" / "jobs"


def new_identifier() -> str:
    """Sorts by time; the rest keeps two of the same second apart."""
    return check_name(f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}", "job")


def find(workspace: Workspace, identifier: str) -> JobFolder:
    """The job of that id, or the newest of that name. Raises InputUnusable with the newest ids there are."""
    folder = JobFolder(jobs_folder(workspace) / check_name(identifier, "job"))
    if folder.record.is_file():
        return folder
    rows = [job for job in everything(workspace) if job["state"] != "unreadable"]
    named = [job["id"] for job in rows if job["name"] == identifier]
    if named:
        return JobFolder(jobs_folder(workspace) / named[-1])
    known = ", ".join(job["id"] for job in rows[-5:])
    hint = f"the newest: {known}" if known else "submit one first: run.sh jobs submit -- COMMAND"
    raise InputUnusable(f"there is no job '{identifier}' in {jobs_folder(workspace)}", hint=hint)


def everything(workspace: Workspace) -> list[dict[str, Any]]:
    """All jobs, oldest first. One whose files cannot be read has the state `unreadable` and the reason as `error`."""
    found = []
    for path in sorted(jobs_folder(workspace).glob("*/job.json")):
        try:
            found.append(JobFolder(path.parent).read())
        except (TtsTrainError, KeyError, TypeError, ValueError) as error:
            found.append({"id": path.parent.name, "name": None, "state": "unreadable", "error": str(error)})
    return found


def state(job: Mapping[str, Any], stop: Mapping[str, Any] | None = None) -> str:
    """running, ended (code 0), failed, stopped (by a signal), or lost (no supervisor, and no word of an end)."""
    if job["ended_at"] is None:
        return "running" if supervised(job) else "lost"
    if job["exit_code"] == 0:
        return "ended"
    return "stopped" if job["exit_code"] in STOPPED_CODES or stop else "failed"


def supervised(job: Mapping[str, Any]) -> bool:
    """Whether somebody still watches over the job: its supervisor here, or its heartbeat from another host."""
    if job["supervisor"]["host"] == socket.gethostname():
        return is_alive(job["supervisor"])
    return time.time() - datetime.fromisoformat(job["heartbeat_at"]).timestamp() < SILENT_SECONDS


def holds_name(job: Mapping[str, Any]) -> bool:
    """Whether a second job of its name has to wait: it runs, or its command has outlived a lost supervisor."""
    return job["state"] == "running" or (job["state"] == "lost" and is_alive(job["command"]))
