"""The time that a morning report looks back on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tts_train.errors import UsageError
from tts_train.table import duration
from tts_train.training.status import seconds_since

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
_HINT = "such as 12h, 90m, 2d, or a time: 2026-03-01T22:00"


@dataclass(frozen=True)
class Window:
    """From `since` to `until`, which is now; both UTC."""

    since: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        return (self.until - self.since).total_seconds()

    def holds(self, *times: str | None) -> bool:
        """Whether any of these ISO times is not before the window; a clock that was set back loses nothing."""
        return any(time is not None and datetime.fromisoformat(time) >= self.since for time in times)

    def holds_seconds(self, at: float) -> bool:
        """The same for a file's time."""
        return at >= self.since.timestamp()

    def holds_sign(self, status: Mapping[str, Any]) -> bool:
        """Whether a run's last heartbeat is in the window."""
        age = seconds_since(status, "heartbeat")
        return age is not None and age <= self.seconds

    def told(self) -> str:
        return f"{self.since.isoformat(timespec='minutes')} (the last {duration(self.seconds)})"


def window(since: str, until: datetime | None = None) -> Window:
    """`since` is 12h, 90m, 2d or an ISO time, local where it names no zone. Raises UsageError."""
    end = until or datetime.now(UTC)
    span = _SPAN.fullmatch(since.strip())
    try:
        if span:
            start = end - timedelta(seconds=float(span[1]) * _SECONDS[span[2]])
        else:
            start = datetime.fromisoformat(since).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--since {since} is no time", hint=_HINT) from error
    if start >= end:
        raise UsageError(f"--since {since} is not in the past", hint=_HINT)
    return Window(start, end)
