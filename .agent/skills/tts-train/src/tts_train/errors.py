"""Every error this product raises on purpose, and the exit code each one means.

TtsTrainError                 1   our bug, if raised bare
├── UsageError                2   the command line is wrong
├── EnvironmentMissing        3   an environment is not set up
├── InputUnusable            65   no clip left, or too much of the audio was rejected
├── Unavailable              69   a model, package, extra or GPU is missing
├── Diverged                 70   a loss or gradient was not finite
├── DiskError                74   the disk is full or I/O failed
├── Busy                     75   somebody else holds the lock
├── ConfigError              78   a config, probe or manifest is wrong
└── Stopped                 128+n a signal, after everything was saved
"""

from __future__ import annotations

import copyreg
import signal as signals
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, with the place where it is."""

    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return f"{place}: {self.message}" if place else self.message


class TtsTrainError(Exception):
    """Base of the tree. `hint` says what to try; `problems` lists all that is wrong at once."""

    kind: ClassVar[str] = "internal"
    exit_code: int = 1

    def __init__(self, message: str, *, hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[Any, ...]:
        # Some subclasses take more than a message: a copy in another process is made without asking them.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]

    def as_json(self) -> dict[str, Any]:
        """The `error` object of the command's JSON."""
        error: dict[str, Any] = {"kind": self.kind, "message": self.message, "hint": self.hint}
        if self.problems:
            error["problems"] = [asdict(problem) for problem in self.problems]
        return error


class UsageError(TtsTrainError):
    kind = "usage"
    exit_code = 2


class EnvironmentMissing(TtsTrainError):
    kind = "environment-missing"
    exit_code = 3


class InputUnusable(TtsTrainError):
    kind = "input-unusable"
    exit_code = 65


class Unavailable(TtsTrainError):
    kind = "unavailable"
    exit_code = 69


class Diverged(TtsTrainError):
    kind = "diverged"
    exit_code = 70


class DiskError(TtsTrainError):
    kind = "disk"
    exit_code = 74


class Busy(TtsTrainError):
    kind = "busy"
    exit_code = 75


class ConfigError(TtsTrainError):
    kind = "config"
    exit_code = 78


class Stopped(TtsTrainError):
    """A signal arrived and everything was saved first; the exit code is 128 + the signal's number."""

    kind = "stopped"

    def __init__(self, signal_number: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "signal": signals.Signals(self.signal_number).name}


BY_KIND: dict[str, type[TtsTrainError]] = {
    kind.kind: kind
    for kind in (
        TtsTrainError,
        UsageError,
        EnvironmentMissing,
        InputUnusable,
        Unavailable,
        Diverged,
        DiskError,
        Busy,
        ConfigError,
    )
}


def from_json(error: Mapping[str, Any]) -> TtsTrainError:
    """The error that a worker process reported as JSON, as the same class again."""
    message, hint = str(error.get("message", "")), str(error.get("hint", ""))
    if error.get("kind") == Stopped.kind:
        return Stopped(signals.Signals[str(error["signal"])].value, message, hint=hint)
    problems = [Problem(**problem) for problem in error.get("problems", ())]
    return BY_KIND.get(str(error.get("kind")), TtsTrainError)(message, hint=hint, problems=problems)
