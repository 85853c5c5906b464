"""The process that watches over one job: starts the command, writes its log, and records how it ended.

It reads what to do as JSON from its stdin, answers one JSON line when the command has started (or may not), and then
needs nobody: it is in a session of its own and a child of init. It imports everything at its start, so that its
environment may be renewed while it watches.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from tts_train.errors import Busy, DiskError, TtsTrainError
from tts_train.files import locked, write_json
from tts_train.masking import masked
from tts_train.processes import identity
from tts_train.signals import ENDING
from tts_train.training.status import now
from tts_train.work.background.child import COMMAND_NOT_STARTED, Child
from tts_train.work.background.logfile import RotatingLog
from tts_train.work.background.record import HEARTBEAT_SECONDS, JobFolder, everything, holds_name
from tts_train.workspace import Workspace

ON_END_SECONDS = 600.0
_SECONDS_BETWEEN_TRIES = 15.0
_TRIES = 40


class Supervisor:
    """Owner of one job.json. `order`: {workspace, id, name, argv, program, cwd, on_end}, argv with its secrets."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._order = order
        self.workspace = Workspace(Path(order["workspace"]))
        self.folder = JobFolder(self.workspace.root / "artifacts" / "jobs" / str(order["id"]))
        self._child: Child | None = None
        self._stop_signals: list[int] = []
        self.job: dict[str, Any] = {
            "id": order["id"],
            "name": order["name"],
            "argv": masked(order["argv"]),
            "cwd": order["cwd"],
            "workspace": str(self.workspace.root),
            "supervisor": identity(os.getpid()),
            "command": None,
            "started_at": now(),
            "heartbeat_at": now(),
            "ended_at": None,
            "exit_code": None,
            "signal": None,
            "answer": None,
            "error": None,
            "log_lost_bytes": 0,
            "on_end": {"argv": masked(order["on_end"]), "state": "waiting"} if order["on_end"] else None,
        }

    def start(self, log: RotatingLog) -> None:
        """Start the command. Raises TtsTrainError, with the end recorded, when it cannot be started."""
        signal.signal(signal.SIGUSR1, lambda *_: self._forward(signal.SIGKILL))
        for number in ENDING:
            signal.signal(number, self._stop)
        write_json(self.folder.record, self.job)
        argv = [*self._order["program"], *self._order["argv"]]
        try:
            self._child = Child(argv, self._order["cwd"], self._variables(), log)
        except OSError as error:
            self.job |= {"exit_code": COMMAND_NOT_STARTED, "error": f"not started: {error}", "ended_at": now()}
            write_json(self.folder.record, self.job)
            raise TtsTrainError(f"cannot start {argv[0]}: {error}", hint="copy the whole skill folder again") from error
        self.job |= {"command": self._child.identity}
        write_json(self.folder.record, self.job)
        if self._stop_signals:  # asked before there was anybody to tell
            self._forward(signal.SIGTERM)

    def watch(self, log: RotatingLog) -> None:
        """Until the command has ended, and its end is on disk; then --on-end."""
        assert self._child is not None
        beat = time.monotonic()
        while self._child.copy(seconds=1.0):
            if time.monotonic() - beat > HEARTBEAT_SECONDS:
                beat = time.monotonic()
                self.job |= {"heartbeat_at": now(), "log_lost_bytes": log.lost_bytes}
                with contextlib.suppress(DiskError):  # a full disk may be empty again when it matters
                    write_json(self.folder.record, self.job)
        code = self._child.exit_code
        self.job |= {
            "heartbeat_at": now(),
            "ended_at": now(),
            "exit_code": code,
            "signal": signal.Signals(code - 128).name if self._child.killed else None,
            "answer": self._child.answer(),
            "log_lost_bytes": log.lost_bytes,
        }
        self.save()
        if self._order["on_end"]:
            self._run_on_end(log)

    def save(self) -> None:
        """Write job.json, patiently: the end of a night's work is not lost to a disk that is full for a while."""
        for _ in range(_TRIES - 1):
            try:
                return write_json(self.folder.record, self.job)
            except DiskError:
                time.sleep(_SECONDS_BETWEEN_TRIES)
        return write_json(self.folder.record, self.job)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stop_signals.append(number)
        self._forward(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    def _forward(self, number: int) -> None:
        if self._child is not None:
            self._child.send(number)

    def _variables(self) -> dict[str, str]:
        # TTS_TRAIN_HELD names locks of the submitter, which may be gone while its pid is somebody else's.
        kept = {key: value for key, value in os.environ.items() if key != "TTS_TRAIN_HELD"}
        return {**kept, "TTS_TRAIN_WORKSPACE": str(self.workspace.root), "TTS_TRAIN_JOB_ID": self.folder.identifier}

    def _run_on_end(self, log: RotatingLog) -> None:
        """Once, as an argument list; whatever becomes of it is recorded."""
        facts = self.folder.read()
        variables = {
            f"TTS_TRAIN_JOB_{key.upper()}": "" if facts[key] is None else str(facts[key])
            for key in ("id", "name", "state", "exit_code", "signal", "started_at", "ended_at")
        }
        variables |= {"TTS_TRAIN_JOB_RECORD": str(self.folder.record), "TTS_TRAIN_JOB_LOG": str(self.folder.log)}
        outcome = self.job["on_end"]
        outcome |= {"state": "running", "started_at": now()}
        self.save()  # before it starts: a supervisor killed now leaves "running", and nobody runs it twice
        argv = list(self._order["on_end"])
        try:
            child = Child(argv, self._order["cwd"], {**self._variables(), **variables}, log)
        except OSError as error:
            outcome |= {"state": "failed", "error": f"not started: {error}"}
        else:
            deadline = time.monotonic() + ON_END_SECONDS
            while child.copy(seconds=1.0):
                if time.monotonic() > deadline:
                    child.send(signal.SIGKILL)
                    outcome["error"] = f"killed after {ON_END_SECONDS:.0f} s"
            code = child.exit_code
            outcome |= {"state": "failed" if code else "done", "exit_code": code}
        outcome["ended_at"] = now()
        self.job["log_lost_bytes"] = log.lost_bytes
        self.save()


def main() -> None:
    """Become a daemon, take the name, start, answer, watch."""
    if os.fork():
        os._exit(0)  # the submitter reaps this one at once: it may live long and must be left no zombie
    order = json.load(sys.stdin)
    supervisor = Supervisor(order)
    try:
        with locked(supervisor.folder.path.parent / ".lock", wait=True):
            refuse_second(supervisor.workspace, order["name"])
            supervisor.folder.path.mkdir(parents=True)
            log = RotatingLog(supervisor.folder.log, order["piece_bytes"])
            supervisor.start(log)
    except TtsTrainError as error:
        return answer({"ok": False, "error": error.as_json()})
    except OSError as error:
        return answer({"ok": False, "error": DiskError(str(error), hint="check free space and permissions").as_json()})
    answer({"ok": True, "job": supervisor.job})
    with log:
        try:
            supervisor.watch(log)
        except Exception as error:
            log.write(traceback.format_exc().encode())
            supervisor.job["error"] = f"the supervisor failed: {type(error).__name__}: {error}"
            write_json(supervisor.folder.record, supervisor.job)
            raise
    return None


def refuse_second(workspace: Workspace, name: str | None) -> None:
    """Raise Busy, with the holder, when a job of that name has not ended."""
    if name is None:
        return
    for job in everything(workspace):
        if job["name"] == name and holds_name(job):
            who, since = job["supervisor"], f"since {job['started_at']}, last heartbeat {job['heartbeat_at']}"
            raise Busy(
                f"job '{name}' runs already: {job['id']} (pid {who['pid']} on {who['host']}, {since})",
                hint=f"run.sh jobs wait {job['id']}, or run.sh jobs stop {job['id']}",
            )


def answer(message: Mapping[str, Any]) -> None:
    """Tell the submitter, if it still lives, and let go of its pipes."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(message).encode() + b"\n")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
