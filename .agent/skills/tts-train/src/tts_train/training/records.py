"""What a training tells: status.json, metrics.jsonl with TensorBoard, lines for people. Rank 0 tells, others do not."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tts_train.output import progress
from tts_train.signals import handled
from tts_train.training.metrics import Metrics
from tts_train.training.run import RunFolder
from tts_train.training.status import Status


class Records:
    """Keeps no records; `told` gives one that does."""

    def say(self, text: str) -> None:
        """A line for people."""

    def step(self, row: Mapping[str, Any], *, eta_seconds: float, write: bool) -> None:
        """An optimizer step's metrics row; `write` puts it into status.json at once."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch's metrics row."""

    def done(self, *, step: int, epoch: int, reason: str | None) -> None:
        """The run reached its last epoch, or has a reason to end before it."""


class _Told(Records):
    def __init__(self, status: Status, metrics: Metrics) -> None:
        self._status, self._metrics = status, metrics

    def say(self, text: str) -> None:
        progress(text)

    def step(self, row: Mapping[str, Any], *, eta_seconds: float, write: bool) -> None:
        self._metrics.write(row)
        self._status.update(
            write=write,
            state="training",
            step=row["step"],
            epoch=row["epoch"],
            loss=row["loss"],
            eta_seconds=round(eta_seconds, 1),
        )

    def epoch(self, row: Mapping[str, Any]) -> None:
        self._metrics.write(row)

    def done(self, *, step: int, epoch: int, reason: str | None) -> None:
        if reason is not None:
            progress(f"the training ends after epoch {epoch}: {reason}")
        self._status.update(state="done", eta_seconds=0.0, step=step, epoch=epoch, reason=reason)


@contextmanager
def told(run: RunFolder, *, resume_step: int) -> Iterator[Records]:
    """Records in the run folder; an exception that passes is the status's reason."""
    with (
        Status(run.path / "status.json") as status,
        Metrics(run.metrics, run.path / "tb", resume_step=resume_step) as metrics,
    ):
        yield _Told(status, metrics)


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGTERM, SIGINT and SIGHUP; the loop acts on them after the step under way."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        progress(f"signal {signal.Signals(number).name}: saving after this step")
        received.append(number)

    with handled(note):
        yield received
