"""A piece of work, wherever it is worked: what becomes of its errors, and how it is named in them."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tts_train.errors import TtsTrainError
from tts_train.output import as_ours

Describe = Callable[[Any], str]
"""Names a piece for a person."""


def attempt(work: Callable[[Any], Any], piece: Any) -> tuple[Any, bool]:
    """(what `work` gave, False), or (the TtsTrainError that it met, True), which can be pickled."""
    try:
        return work(piece), False
    except Exception as error:  # noqa: BLE001  it must reach the parent, and a foreign exception may not be picklable
        return as_ours(error), True


def name_of(describe: Describe | None, piece: Any) -> str:
    return describe(piece) if describe else ""


def named(error: TtsTrainError, what: str) -> TtsTrainError:
    """The error, and which piece it met."""
    if what:
        error.message = f"{what}: {error.message}"
        error.args = (error.message,)
    return error


def peak_rss_mib_here() -> int:
    # Not ru_maxrss where there is something better: a spawned process begins with its parent's peak there.
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        kib = next((line.split()[1] for line in lines if line.startswith("VmHWM")), None)
        if kib:
            return round(int(kib) / 1024)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
