"""What may end a campaign before its queue does."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Limits:
    hours: float | None
    keep_free_gb: float
    patience: int | None


@dataclass(frozen=True)
class Stop:
    """Why nothing more is started, and what runs is asked to save and end. `kind`: signal, hours or disk."""

    kind: str
    reason: str
    signal_number: int = signal.SIGTERM


class Watch:
    """Looks at the clock, the disk and the signals that came. `seconds_left`: None for a night without end."""

    def __init__(self, limits: Limits, folder: Path, seconds_left: float | None, received: Sequence[int]) -> None:
        self._limits, self._folder, self._received = limits, folder, received
        self._deadline = None if seconds_left is None else time.monotonic() + seconds_left

    def stop(self, needed_gb: float = 0.0) -> Stop | None:
        """What asks for an end now, if something does; `needed_gb` is what the next step will write."""
        if self._received:
            number = self._received[0]
            return Stop("signal", f"stopped by {signal.Signals(number).name}", number)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return Stop("hours", f"out of hours: {self._limits.hours:g} were given")
        free, keep = shutil.disk_usage(self._folder).free / 1e9, self._limits.keep_free_gb
        if free - needed_gb < keep:
            wants = f" and the next step takes about {needed_gb:.1f} GB" if needed_gb else ""
            return Stop("disk", f"{free:.1f} GB of disk are free{wants}; {keep:g} GB are to be kept free")
        return None


def estimate_of(plan: Mapping[str, Any]) -> dict[str, Any]:
    """{minutes, disk_gb} from what a command's --dry-run says; None for what it does not say."""
    said = plan.get("estimate") or {}
    units = {"disk_gigabytes": 1.0, "disk_megabytes": 1e-3, "disk_mb": 1e-3}
    disk = next((said[name] * factor for name, factor in units.items() if said.get(name) is not None), None)
    return {"minutes": said.get("minutes"), "disk_gb": None if disk is None else round(disk, 3)}
