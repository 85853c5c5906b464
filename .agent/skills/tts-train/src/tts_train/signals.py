"""The signals that end a process: a scheduler's SIGTERM, Ctrl-C, the SIGHUP of a terminal that closes.

What the caller ignores stays ignored: SIGHUP under nohup, SIGINT in what a script starts with `&`. Standard library
only.
"""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

Handler = Callable[[int, FrameType | None], object]

ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_IMPORT: Final = "<frozen importlib._bootstrap>"
_SECONDS_BETWEEN_TRIES = 0.1
_TRIES = 100

_received: list[int] = []
_other_hooks: list[Callable[[Any], object]] = []


@contextlib.contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """`handler` for the signals that end a process; what they did before, afterwards."""
    previous = {number: signal.signal(number, handler) for number in _heard()}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def interrupt_the_work() -> None:
    """From now on each of them ends the work of the main thread as Ctrl-C does, with KeyboardInterrupt(number).

    Python drops an exception that is raised in a destructor or a weakref's callback, and an import that is broken off
    may be taken for a missing module, or leave half of one that everything after it stumbles over (seen in 11 of 600
    starts of numpy, scipy, torch and Ray). So an import is finished first, and what was dropped is raised again.
    """
    _received.clear()
    for number in _heard():
        signal.signal(number, _interrupt)
    if sys.unraisablehook is not _unraisable:
        _other_hooks[:] = [sys.unraisablehook]
        sys.unraisablehook = _unraisable


def received() -> int | None:
    """The signal that ends the work, once it has come."""
    return _received[-1] if _received else None


def raise_received() -> None:
    """Raise KeyboardInterrupt(number) once a signal has come: for loops around what drops exceptions."""
    if _received:
        raise KeyboardInterrupt(_received[-1])


def _heard() -> list[signal.Signals]:
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]


def _interrupt(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if _importing(frame) and len(_received) <= _TRIES:
        _send_again(number)
    else:
        raise KeyboardInterrupt(number)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False


def _send_again(number: int) -> None:
    def send() -> None:
        time.sleep(_SECONDS_BETWEEN_TRIES)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, number)

    # Not threading.Thread: its start takes a lock that the interrupted code may hold.
    _thread.start_new_thread(send, ())


def _unraisable(dropped: Any) -> None:
    if dropped.exc_type is KeyboardInterrupt and _received:
        _send_again(_received[-1])
    else:
        _other_hooks[0](dropped)
