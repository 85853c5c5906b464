"""status.json: what a run is doing, written at least every 30 s, and read without trusting it.

A process that was killed cannot say so; readers compare boot id, pid and the process's start time. How long ago a sign
was is read from the clock that counts from the boot, where that is the reader's too: a clock that somebody sets moves
it not, and a machine that slept has not made its runs silent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tts_train.errors import DiskError, TtsTrainError
from tts_train.files import read_json, write_json
from tts_train.masking import masked_text
from tts_train.processes import boot_id, start_time

HEARTBEAT_SECONDS = 20.0
STALE_SECONDS = 3 * HEARTBEAT_SECONDS + 30
"""Without a heartbeat for this long a living process hangs, or its host is gone."""
STALLED_SECONDS = 900.0
"""Without a step for this long, though the heart beats: more than saving takes, and most probes of an epoch."""
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
            "error": None,
            "started_at": now(),
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
            name = error.kind if isinstance(error, TtsTrainError) else "internal"
            state, reason = "stopped" if name == "stopped" else "failed", masked_text(str(error))
            with contextlib.suppress(DiskError):  # what ended the work is what its caller must hear
                self.update(state=state, error=name, reason=reason or type(error).__name__)

    def update(self, *, write: bool = True, **fields: Any) -> None:
        """Note progress. With `write=False` the next heartbeat carries it."""
        with self._lock:
            self._fields.update(fields, progress_at=now(), progress_monotonic=_monotonic())
            if write:
                self._write()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            # A disk that is full for a while must not end the heartbeat for good.
            with self._lock, contextlib.suppress(DiskError):
                self._write()

    def _write(self) -> None:
        write_json(self._path, {**self._fields, "heartbeat_at": now(), "heartbeat_monotonic": _monotonic()})


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


def seconds_since(status: Mapping[str, Any], what: Literal["heartbeat", "progress"]) -> float | None:
    """How long ago the status's heartbeat or progress was, never negative; None when there was none.

    By the clock that counts from the boot where the writer had the same one, else by what the two wall clocks say.
    """
    at, ticks = status.get(f"{what}_at"), status.get(f"{what}_monotonic")
    here = status.get("host") == socket.gethostname() and status.get("boot_id") == boot_id()
    if here and ticks is not None:
        return max(0.0, _monotonic() - float(ticks))
    if not isinstance(at, str):
        return None
    return max(0.0, (datetime.fromisoformat(now()) - datetime.fromisoformat(at)).total_seconds())


def is_stale(status: Mapping[str, Any]) -> bool:
    """Whether a run that should be alive has given no sign for too long."""
    age = seconds_since(status, "heartbeat")
    return status["state"] in ALIVE and age is not None and age > STALE_SECONDS


def now() -> str:
    """UTC, seconds."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")


def _monotonic() -> float:
    """Seconds since the boot, sleep left out: the same clock for every process of the machine."""
    return round(time.monotonic(), 1)


def _is_alive(status: dict[str, Any]) -> bool:
    return status["boot_id"] == boot_id() and start_time(status["pid"]) == status["pid_started"]
