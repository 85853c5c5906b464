"""Work for engines in tests: functions of a module that spawned processes can import."""

from __future__ import annotations

import os
import signal
import sys
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


def first_loaded(number: int) -> int:
    loads(number)
    return loaded()[0]


def refuse(number: int) -> int:
    if number == 3:
        raise InputUnusable("piece three", hint="leave it out")
    return number


class Particular(InputUnusable):
    """Takes other arguments than it hands to its base."""

    def __init__(self, piece: int, why: str) -> None:
        super().__init__(f"piece {piece}: {why}", hint="leave it out")
        self.piece = piece


def refuse_particularly(number: int) -> int:
    raise Particular(number, "too loud")


def fill_the_disk(_: int) -> int:
    raise OSError(28, "No space left on device")


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


def die_while_answering(_: int) -> None:
    """The parent has got the first bytes of an answer of 256."""
    os.write(sys._getframe(2).f_locals["pipe"].fileno(), b"\0\0\1\0half")
    os.kill(os.getpid(), signal.SIGKILL)


def own_pid(_: int) -> int:
    return os.getpid()


def hang(place: str) -> None:
    Path(place).write_text(str(os.getpid()))
    time.sleep(60)


def finish(place: str) -> None:
    """Begun, and a second later finished."""
    Path(place).write_text(str(os.getpid()))
    time.sleep(1)
    Path(f"{place}-finished").touch()


def leave_mark(place: str) -> None:
    time.sleep(0.05)
    Path(place).touch()


def leave_mark_slowly(seconds: float, place: str) -> tuple[str, int]:
    """The mark, and that it was begun: a piece worked twice is there twice."""
    with (Path(place).parent / "begun").open("a") as begun:
        begun.write(f"{place}\n")
    time.sleep(seconds)
    Path(place).touch()
    return place, os.getpid()


def die_once(folder: str, number: int) -> int:
    """The process that takes piece 2 first is killed."""
    tried = Path(folder) / f"tried-{number}"
    if number == 2 and not tried.exists():
        tried.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number
