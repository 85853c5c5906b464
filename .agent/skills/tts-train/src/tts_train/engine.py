"""Where pieces of work run: in this process, or on several spawned ones. The seam for whatever comes after.

Results come in the order of the pieces and do not depend on the number of jobs. `pieces` may be a generator that holds
audio: at most jobs + 1 pieces are unfinished at a time. Results are small: one that comes early waits for its turn.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tts_train.errors import TtsTrainError
from tts_train.output import mute_progress

P = TypeVar("P")
R = TypeVar("R")

_PATIENCE_SECONDS = 5.0


class Engine(Protocol):
    """Something that works on pieces, `jobs` of them at a time."""

    @property
    def jobs(self) -> int: ...

    def map(self, work: Callable[[P], R], pieces: Iterable[P]) -> Iterator[R]:
        """`work` of every piece, in order. The first exception stops everything and is raised."""

    def peak_rss_mib(self) -> int:
        """The most memory this process and its workers have held so far, added up."""


@contextlib.contextmanager
def engine(jobs: int = 1) -> Iterator[Engine]:
    """One job works inline; more are spawned processes, started when there is a piece for them.

    With more than one job `work` is a function of a module (not of a script, no lambda, no closure; functools.partial
    of one is fine) and pieces and results are pickled. What is expensive to load is cached per process with
    functools.cache. However the block is left, by a signal too, no worker outlives it.
    """
    if jobs == 1:
        yield Inline()
        return
    pool = Pool(jobs)
    try:
        yield pool
    finally:
        pool.close()


class Inline:
    """Piece after piece in this process."""

    jobs = 1

    def map(self, work: Callable[[P], R], pieces: Iterable[P]) -> Iterator[R]:
        return map(work, pieces)

    def peak_rss_mib(self) -> int:
        return _own_peak_rss_mib()


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    piece: int | None = None
    """Number of the piece it works on."""


@dataclass
class Pool:
    """Processes that each wait at a pipe of their own. concurrent.futures cannot end workers that are busy."""

    jobs: int
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
                    worker.piece = ahead[0]
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
            for worker in self._busy():
                self._end(worker)

    def peak_rss_mib(self) -> int:
        return _own_peak_rss_mib() + sum(self._peaks.values())

    def close(self) -> None:
        """End all workers: those that wait by closing their pipe, the others by force."""
        for worker in list(self._workers):
            if worker.piece is None:
                worker.pipe.close()
                worker.process.join(_PATIENCE_SECONDS)
            self._end(worker)

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
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
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
        except (EOFError, ConnectionResetError) as error:
            raise _died(worker) from error
        worker.piece = None
        self._peaks[worker.process.pid or 0] = peak
        if failed:
            raise value
        return value

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.kill()
        worker.process.join()
        worker.process.close()


def _died(worker: _Worker) -> TtsTrainError:
    worker.process.join()
    return TtsTrainError(
        f"a worker process ended with code {worker.process.exitcode}",
        hint="its messages are above; -9 mostly means that memory ran out: try fewer --jobs",
    )


def _serve(pipe: Connection) -> None:
    """A worker's life: take a piece, answer (value, whether that is an exception, peak MiB), until the pipe closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They go to the whole group: the parent decides, and ends its workers.
        signal.signal(number, signal.SIG_IGN)
    # What libraries make for themselves (tqdm a lock) has no name then, and a killed worker leaves nothing behind.
    multiprocessing.set_start_method("fork", force=True)
    threading.Thread(target=_follow_parent, daemon=True).start()
    mute_progress()
    with contextlib.suppress(EOFError):
        while True:
            work, piece = pipe.recv()
            answer, failed = _attempt(work, piece)
            del piece
            pipe.send((answer, failed, _own_peak_rss_mib()))


def _attempt(work: Callable[[Any], Any], piece: Any) -> tuple[Any, bool]:
    try:
        return work(piece), False
    except (TtsTrainError, OSError) as error:
        return error, True
    except Exception as error:  # noqa: BLE001  it must reach the parent, and a foreign exception may not be picklable
        traceback.print_exc()
        return TtsTrainError(
            f"{type(error).__name__}: {error}", hint="this is a bug of tts-train; the traceback is on stderr"
        ), True


def _follow_parent() -> None:
    """Die with the parent, even in the middle of a piece and even if the parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _own_peak_rss_mib() -> int:
    # Not ru_maxrss where there is something better: a spawned process begins with its parent's peak there.
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        kib = next((line.split()[1] for line in lines if line.startswith("VmHWM")), None)
        if kib:
            return round(int(kib) / 1024)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
