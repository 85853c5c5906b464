"""Which process it is: a pid alone may be somebody else by now."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def boot_id() -> str:
    """Changes with every boot, so that a reused pid after a power cut is not mistaken for the process."""
    path = Path("/proc/sys/kernel/random/boot_id")
    if path.is_file():
        return path.read_text().strip()
    import psutil  # only here: Linux needs none of it, and every command imports this module

    return str(int(psutil.boot_time()))


def identity(pid: int) -> dict[str, Any]:
    """{pid, started, boot_id, host} of a process. Raises ProcessLookupError when it has gone.

    A child of ours that has ended and was not reaped yet has an identity, too: it may have been very quick.
    """
    started = start_time(pid, zombies=True)
    if started is None:
        raise ProcessLookupError(f"process {pid} has gone")
    return {"pid": pid, "started": started, "boot_id": boot_id(), "host": socket.gethostname()}


def is_alive(process: Mapping[str, Any] | None) -> bool:
    """Whether the process that `identity` described still runs on this machine; a zombie does not."""
    if process is None or process["host"] != socket.gethostname() or process["boot_id"] != boot_id():
        return False
    return start_time(int(process["pid"])) == process["started"]


def start_time(pid: int, *, zombies: bool = False) -> float | None:
    """When a process started; None when there is none, or (without `zombies`) it has ended and was not reaped yet.

    Clock ticks since boot where there is /proc: unlike a wall-clock time they stay when the clock is set.
    """
    if Path("/proc/self/stat").exists():
        try:
            # The name, in parentheses, may hold anything: what counts comes after the last one.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" and not zombies else float(fields[19])
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE and not zombies else process.create_time()
    except psutil.NoSuchProcess:
        return None
