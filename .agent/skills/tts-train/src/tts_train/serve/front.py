"""The front: which voice speaks where, how many may wait, and which voices stay in memory."""

from __future__ import annotations

import asyncio
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tts_train.serve.metrics import Metrics
from tts_train.serve.process import Job, Line
from tts_train.serve.request import ApiError
from tts_train.serve.voices import Voice


@dataclass(frozen=True)
class Limits:
    """What a client may ask for."""

    text: int = 4096
    """Characters of a text; OpenAI's own limit."""
    queue: int = 32
    """Requests that are spoken or wait at the same time."""
    seconds: float = 120.0
    """From a request to the end of its answer."""
    keep: int = 4
    """Voices in memory at the same time."""

    @property
    def body(self) -> int:
        """Bytes of a request: every character of the text written as two \\u escapes, and the other fields."""
        return 12 * self.text + 16_384


class Front:
    """Voices, the lines in front of their workers, and numbers."""

    def __init__(
        self,
        voices: Mapping[str, Voice],
        limits: Limits,
        command: Callable[[str], Sequence[str]],
        *,
        watermark: bool = False,
    ) -> None:
        self.voices = voices
        self.limits = limits
        self.watermark = watermark
        """Whether all that is said is marked as spoken by a machine."""
        self.metrics = Metrics()
        self.draining = False
        self.in_flight = 0
        self.lines = {
            name: Line(name, command(name), limits.seconds, self._hold, self._forget)
            for name in sorted({voice.environment for voice in voices.values()})
        }
        self._held: OrderedDict[str, str] = OrderedDict()
        """Voices in memory → environment, the longest unused first."""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every worker and load as many voices as are kept. Raises what kept one from it."""
        await asyncio.gather(*(line.start() for line in self.lines.values()))
        self._tasks = [asyncio.create_task(line.run()) for line in self.lines.values()]
        loads = [self._enqueue(voice, {"op": "load"}) for voice in list(self.voices.values())[: self.limits.keep]]
        for load in loads:
            async for _ in load.audio():
                pass

    def submit(self, voice: Voice, message: Mapping[str, Any]) -> Job:
        """A request to speak; whoever submits it calls `left` in the end.

        Raises ApiError: 503 while the server stops, 429 when as many wait as may.
        """
        if self.draining:
            told = "this server is about to stop"
            raise ApiError(503, told, "stopping", kind="server_error", headers={"Connection": "close"})
        if self.in_flight >= self.limits.queue:
            # Roughly when there is room again: after as long as answers take.
            mean = self.metrics.whole.sum / self.metrics.whole.count if self.metrics.whole.count else 1.0
            again = str(min(60, max(1, math.ceil(mean))))
            told = f"{self.limits.queue} requests are spoken or wait: try again in {again} s"
            headers = {"Retry-After": again}
            raise ApiError(429, told, "rate_limit_exceeded", kind="rate_limit_error", headers=headers)
        self.in_flight += 1
        return self._enqueue(voice, {"op": "speak", **message})

    def left(self, job: Job) -> None:
        """The request has been answered, or nobody waits for it."""
        job.cancel()
        self.in_flight -= 1

    @property
    def held(self) -> list[str]:
        """Names of the voices in memory."""
        return list(self._held)

    def gauges(self) -> dict[str, tuple[str, list[tuple[str, float]]]]:
        """What is now, for metrics: name → (what it is, (label, value)…)."""
        processes = {"front": os.getpid(), **{name: line.pid for name, line in self.lines.items()}}
        memory = [(f'process="{name}"', float(resident_bytes(pid))) for name, pid in processes.items() if pid]
        restarts = [(f'environment="{name}"', float(line.restarts)) for name, line in self.lines.items()]
        return {
            "tts_train_in_flight": ("Requests that are spoken or wait.", [("", float(self.in_flight))]),
            "tts_train_queue_limit": ("How many may be.", [("", float(self.limits.queue))]),
            "tts_train_voices_loaded": ("Voices in memory.", [("", float(len(self._held)))]),
            "tts_train_worker_restarts_total": ("Workers that died and were started again.", restarts),
            "tts_train_resident_bytes": ("Memory of each process.", memory),
        }

    async def close(self) -> None:
        """End all workers."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*(line.close() for line in self.lines.values()))

    def _enqueue(self, voice: Voice, message: Mapping[str, Any]) -> Job:
        job = Job({**message, "voice": voice.as_message(), "watermark": self.watermark})
        self.lines[voice.environment].jobs.put_nowait(job)
        return job

    def _hold(self, name: str, environment: str) -> None:
        """Note that a voice is used now, and have the one that was not for the longest time forgotten."""
        self._held[name] = environment
        self._held.move_to_end(name)
        while len(self._held) > self.limits.keep:
            other, where = self._held.popitem(last=False)
            self.lines[where].drop(other)

    def _forget(self, environment: str) -> None:
        """A worker is gone, and its voices with it."""
        for name in [name for name, where in self._held.items() if where == environment]:
            del self._held[name]


def resident_bytes(pid: int) -> int:
    """Memory that a process holds now; 0 when it is gone."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
