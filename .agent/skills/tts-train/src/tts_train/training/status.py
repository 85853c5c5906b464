"""status.json: what a run is doing, written at least every 30 s, and read without trusting it.

A process that was killed cannot say so; readers compare boot id, pid and the process's start time.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tts_train.errors import TtsTrainError
from tts_train.files import read_json, write_json
from tts_train.processes import boot_id, start_time

HEARTBEAT_SECONDS = 20.0
ALIVE = ("starting", "training")


class Status:
    """Writer of one run's status.json, with a heartbeat thread; use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._fields: dict[str, Any] = {
            "state": "starting",
            "pid": os.getpid(),
            "pid_started": start_time(os.getpid()),
            "boot_id": boot_id(),
            "host": socket.gethostname(),
            "step": 0,
            "epoch": 0,
            "loss": None,
            "eta_seconds": None,
            "reason": None,
        }

    def __enter__(self) -> Self:
        self.update()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if error is not None:
            stopped = isinstance(error, TtsTrainError) and error.kind == "stopped"
            self.update(state="stopped" if stopped else "failed", reason=str(error) or type(error).__name__)

    def update(self, *, write: bool = True, **fields: Any) -> None:
        """Note progress. With `write=False` the next heartbeat carries it."""
        with self._lock:
            self._fields.update(fields, progress_at=now())
            if write:
                self._write()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with self._lock:
                self._write()

    def _write(self) -> None:
        write_json(self._path, {**self._fields, "heartbeat_at": now()})


def read_status(run: Path) -> dict[str, Any]:
    """The run's status; a state that claims a process which is gone becomes `interrupted`."""
    path = run / "status.json"
    if not path.is_file():
        return {"state": "new"}
    status: dict[str, Any] = read_json(path)
    if status["state"] in ALIVE and status["host"] == socket.gethostname() and not _is_alive(status):
        status["state"] = "interrupted"
        status["reason"] = f"process {status['pid']} is gone; its last sign was at {status['heartbeat_at']}"
    return status


def now() -> str:
    """UTC, seconds."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")


def _is_alive(status: dict[str, Any]) -> bool:
    return status["boot_id"] == boot_id() and start_time(status["pid"]) == status["pid_started"]
