"""Work for engines in tests: functions of a module that spawned processes can import."""

from __future__ import annotations

import os
import signal
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tts_train.errors import InputUnusable

if TYPE_CHECKING:
    import numpy as np


def slow_square(number: int) -> int:
    """The first pieces take longest, so results arrive in the wrong order."""
    time.sleep(0.3 if number == 0 else 0.02)
    return number * number


def energy(offset: float, samples: np.ndarray) -> tuple[float, int]:
    return float((samples**2).sum()) + offset, os.getpid()


@cache
def loaded() -> list[int]:
    return []


def loads(number: int) -> int:
    loaded().append(number)
    return len(loaded())


def refuse(number: int) -> int:
    if number == 3:
        raise InputUnusable("piece three", hint="leave it out")
    return number


class Odd(Exception):
    """Cannot be unpickled: it wants two arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def break_oddly(_: int) -> int:
    raise Odd(1, 2)


def die(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def own_pid(_: int) -> int:
    return os.getpid()


def hang(place: str) -> None:
    Path(place).write_text(str(os.getpid()))
    time.sleep(60)


def leave_mark(place: str) -> None:
    time.sleep(0.05)
    Path(place).touch()
