"""SIGKILL at a chosen I/O call, or after some time: a fork does the work, so heavy libraries are imported once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

CALLS = ("open", "write", "fsync", "replace", "rename", "mkdir", "unlink", "link")
STRIDE = 1 if os.environ.get("TTS_TRAIN_EXHAUSTIVE") else 4
"""`run.sh test --exhaustive` takes every point, otherwise every fourth, from a day's offset so that points rotate."""


def day() -> int:
    """Today as a number."""
    return int(time.time() // 86400)


def points(first: int, last: int, stride: int = STRIDE) -> range:
    """Today's crash points of the calls `first` to `last`, both counted in."""
    return range(first + day() % stride, last + 1, stride)


def in_child(work: Callable[[], object], crash_at: int | None = None) -> tuple[int, int]:
    """Run `work` in a fork that kills itself before I/O call `crash_at`. Returns (wait status, calls made)."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _run(work, crash_at, write)
    os.close(write)
    status = os.waitpid(pid, 0)[1]
    calls = int(os.read(read, 20) or 0)
    os.close(read)
    return status, calls


def killed_after(work: Callable[[], object], seconds: float) -> int:
    """Run `work` in a fork and kill it from outside after `seconds`. Returns the wait status."""
    pid = os.fork()
    if pid == 0:
        _run(work, None, None)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _run(work: Callable[[], object], crash_at: int | None, tell: int | None) -> None:
    made = 0
    write = os.write

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            nonlocal made
            made += 1
            if made == crash_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    try:
        work()
        if tell is not None:
            write(tell, str(made).encode())
        os._exit(0)
    except BaseException:  # noqa: BLE001  the fork must not fall back into pytest
        import traceback

        traceback.print_exc()
        os._exit(1)
