"""Who holds a lock: written into the lock's file by its holder, and told to whoever comes second.

The lock itself is the kernel's (flock): it is free the moment its holder is gone, whatever the file says.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tts_train.processes import identity, is_alive

_BYTES = 4096


def claim(run: Path | None = None) -> bytes:
    """This process as a lock's file names it: {pid, started, boot_id, host, command, job, since, run}.

    `run` is the folder of the run it works on: its status.json has the heartbeat. No arguments: they may be secret.
    """
    who = {
        **identity(os.getpid()),
        "command": _command(sys.argv),
        "job": os.environ.get("TTS_TRAIN_JOB_ID"),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": str(run.resolve()) if run else None,
    }
    return json.dumps(who).encode()


def read_claim(descriptor: int) -> dict[str, Any] | None:
    """What the lock's file says of its holder. On another host its word is all there is.

    None when nobody holds it, as far as can be told without touching it: nothing (yet), or one who has died.
    """
    try:
        value = json.loads(os.pread(descriptor, _BYTES, 0))
    except ValueError:
        return None
    if not isinstance(value, dict) or not {"pid", "started", "boot_id", "host", "since"} <= value.keys():
        return None
    return value if value["host"] != socket.gethostname() or is_alive(value) else None


def holder(path: Path) -> dict[str, Any] | None:
    """`read_claim` of the lock `path`, which need not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return read_claim(descriptor)
    finally:
        os.close(descriptor)


def told(found: Mapping[str, Any] | None) -> str:
    """A holder in words: command, run, pid, host, since when, last heartbeat."""
    if found is None:
        return "another process"
    run = f" of run {Path(found['run']).name}" if found.get("run") else ""
    heartbeat = _heartbeat(found)
    beat = f", last heartbeat {heartbeat}" if heartbeat else ""
    command = found.get("command") or "another program"
    return f"{command}{run} (pid {found['pid']} on {found['host']}, since {found['since']}{beat})"


def how_to_stop(found: Mapping[str, Any] | None) -> str:
    """What to type to end a holder so that it saves first."""
    if found is None:
        return "wait for it, or stop it first"
    there = "" if found["host"] == socket.gethostname() else f" on {found['host']}"
    stop = f"run.sh jobs stop {found['job']}" if found.get("job") else f"kill {found['pid']}"
    return f"wait for it, or stop it{there} (it saves first): {stop}"


def is_ours(found: Mapping[str, Any] | None) -> bool:
    """Whether the holder is this process or one that it descends from, which waits for it."""
    if found is None or not is_alive(found):
        return False
    import psutil

    ancestors = [os.getpid(), *(parent.pid for parent in psutil.Process().parents())]
    return found["pid"] in ancestors


def _command(argv: list[str]) -> str:
    """train-local for scripts/train_local.py, and for the worker that took its place."""
    program = Path(argv[0]) if argv else Path()
    if program.name == "worker.py" and len(argv) > 2:
        return argv[2].partition(":")[2] if argv[1] == "call" else argv[1]
    return program.stem.replace("_", "-")


def _heartbeat(found: Mapping[str, Any]) -> str | None:
    if not found.get("run"):
        return None
    try:
        status = json.loads((Path(found["run"]) / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    # An older one is of another process. By time and not by pid: with several ranks the first of them writes it.
    at = str(status.get("heartbeat_at"))
    return at if at >= str(found["since"]) else None
