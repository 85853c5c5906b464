"""Pieces of work on this machine: in this process, or on several others."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal, TypeVar

from tts_train.engine.pieces import Describe, attempt, name_of, named, peak_rss_mib_here
from tts_train.errors import TtsTrainError
from tts_train.output import mute_progress, progress

P = TypeVar("P")
R = TypeVar("R")

Start = Literal["spawn", "fork"]
GRACE_SECONDS = 20.0
"""How long a worker may finish its piece when the work is stopped: mostly it writes a receipt at its end."""


@dataclass(frozen=True)
class Inline:
    """Piece after piece in this process. A signal stops it in the middle of one."""

    describe: Describe | None = None
    jobs = 1

    def map(self, work: Callable[[P], R], pieces: Iterable[P]) -> Iterator[R]:
        for piece in pieces:
            answer, failed = attempt(work, piece)
            if failed:
                raise named(answer, name_of(self.describe, piece))
            del piece  # before the next one is made
            yield answer

    def peak_rss_mib(self) -> int:
        return peak_rss_mib_here()


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    piece: int | None = None
    """Number of the piece it works on."""

    what: str = ""
    """Name of that piece."""


@dataclass
class Pool:
    """Processes that each wait at a pipe of their own. concurrent.futures cannot end workers that are busy."""

    jobs: int
    start: Start = "spawn"
    describe: Describe | None = None
    _workers: list[_Worker] = field(default_factory=list)
    _peaks: dict[int, int] = field(default_factory=dict)

    def map(self, work: Callable[[P], R], pieces: Iterable[P]) -> Iterator[R]:
        waiting = enumerate(pieces)
        done: dict[int, Any] = {}
        following = 0
        ahead = next(waiting, None)
        try:
            while ahead is not None or following in done or self._busy():
                while ahead is not None and (worker := self._idle()) is not None:
                    worker.piece, worker.what = ahead[0], name_of(self.describe, ahead[1])
                    self._give(worker, (work, ahead[1]))
                    ahead = next(waiting, None)
                if following in done:
                    yield done.pop(following)
                    following += 1
                    continue
                for worker in self._answering():
                    number = worker.piece
                    assert number is not None
                    done[number] = self._answer(worker)
        finally:
            # Left in the middle, by an exception or by a caller who has enough: late answers would be mistaken.
            self._dismiss(self._busy())

    def peak_rss_mib(self) -> int:
        return peak_rss_mib_here() + sum(self._peaks.values())

    def close(self) -> None:
        """End all workers."""
        self._dismiss(list(self._workers))

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.piece is not None]

    def _idle(self) -> _Worker | None:
        """A worker without a piece, started now if there may be one more. One that was killed is replaced."""
        for worker in [worker for worker in self._workers if worker.piece is None]:
            if worker.process.is_alive():
                return worker
            self._end(worker)
        if len(self._workers) == self.jobs:
            return None
        context: Any = multiprocessing.get_context(self.start)
        ours, theirs = context.Pipe()
        inherited = [ours, *(worker.pipe for worker in self._workers)] if self.start == "fork" else []
        process = context.Process(target=_serve, args=(theirs, inherited), daemon=True)
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))
        return self._workers[-1]

    def _give(self, worker: _Worker, piece: Any) -> None:
        try:
            worker.pipe.send(piece)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _died(worker) from error

    def _answering(self) -> list[_Worker]:
        ready = wait([worker.pipe for worker in self._busy()])
        return [worker for worker in self._busy() if worker.pipe in ready]

    def _answer(self, worker: _Worker) -> Any:
        """A worker's result. Raises the exception that its work raised, or says that it died."""
        try:
            value, failed, peak = worker.pipe.recv()
        except (EOFError, OSError) as error:  # OSError: in the middle of an answer
            raise _died(worker) from error
        worker.piece = None
        self._peaks[worker.process.pid or 0] = peak
        if failed:
            raise named(value, worker.what)
        return value

    def _dismiss(self, workers: Sequence[_Worker]) -> None:
        """Close the pipes, which ends each worker after its piece, wait for them, and end by force who is left."""
        try:
            for worker in workers:
                worker.pipe.close()
            if any(worker.piece is not None and worker.process.is_alive() for worker in workers):
                progress(f"pieces in hand may take {GRACE_SECONDS:.0f} s to finish; a second signal does not wait")
            deadline = time.monotonic() + GRACE_SECONDS
            for worker in workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for worker in workers:
                self._end(worker)

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.kill()
        worker.process.join()
        worker.process.close()


def _died(worker: _Worker) -> TtsTrainError:
    worker.process.join()
    place = f" at {worker.what}" if worker.what else ""
    return TtsTrainError(
        f"a worker process died ({_ending(worker.process.exitcode or 0)}){place}",
        hint="SIGKILL mostly means that memory ran out: try fewer processes. What is finished stays: run it again",
    )


def _ending(code: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"exit code {code}"


def _serve(pipe: Connection, inherited: Sequence[Connection]) -> None:
    """A worker's life: take a piece, answer (value, whether that is an error, peak MiB), until the pipe closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They go to the whole group: the parent decides, and ends its workers.
        signal.signal(number, signal.SIG_IGN)
    # A fork holds the parent's ends of all pipes made so far; while one is open, its reader never sees the end.
    for other in inherited:
        other.close()
    # What libraries make for themselves (tqdm a lock) has no name then, and a killed worker leaves nothing behind.
    multiprocessing.set_start_method("fork", force=True)
    threading.Thread(target=_follow_parent, daemon=True).start()
    mute_progress()
    with contextlib.suppress(EOFError, OSError):  # OSError: nobody waits for the answer any more
        while True:
            work, piece = pipe.recv()
            answer, failed = attempt(work, piece)
            del piece
            pipe.send((answer, failed, peak_rss_mib_here()))


def _follow_parent() -> None:
    """Die with the parent, even in the middle of a piece and even if the parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
