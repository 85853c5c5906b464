"""Where the time of a build goes."""

from __future__ import annotations

import time
from collections.abc import Mapping


class Clock:
    """Seconds spent per kind of work. With several jobs their work is added up; the total is on the wall."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = self._start = time.monotonic()

    def lap(self, name: str) -> None:
        """Count the time since the last lap as `name`."""
        now = time.monotonic()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now

    def add(self, seconds: Mapping[str, float]) -> None:
        """Take in what another clock measured."""
        for name, value in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + value

    def skip(self) -> None:
        """Count the time since the last lap as nothing: another clock did."""
        self._last = time.monotonic()

    def report(self) -> dict[str, float]:
        """Rounded seconds, with the total since the start."""
        laps = {name: round(value, 2) for name, value in self.seconds.items()}
        return {**laps, "total": round(time.monotonic() - self._start, 2)}
