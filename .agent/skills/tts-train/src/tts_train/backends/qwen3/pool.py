"""Worker processes that take one piece of work at a time and die with their parent.

Each worker has a pipe of its own. A closed pipe is the only signal there is: a worker whose parent is gone reads the
end of its pipe and leaves after the task in hand; a parent whose worker is gone reads the end of that worker's pipe and
says which task it was.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Literal, TypeVar

from tts_train.errors import TtsTrainError, from_json
from tts_train.output import answer_of

GRACE_SECONDS = 20.0
"""How long a worker may finish its clip when the work is stopped."""

T = TypeVar("T")
Answer = dict[str, Any]
Prepare = Callable[[], Callable[[T], Answer]]


@dataclass
class _Worker(Generic[T]):
    process: BaseProcess
    pipe: Connection
    task: T


def work_through(
    tasks: Sequence[T],
    prepare: Prepare[T],
    workers: int,
    done: Callable[[T, Answer], object],
    *,
    name: str,
    describe: Callable[[T], str] = str,
    start: Literal["fork", "spawn"] = "fork",
) -> None:
    """Give `tasks`, in their order, to whichever of `workers` processes is free; call `done` here after each.

    A worker calls `prepare()` once and what that returns for each task. With "fork" both may be closures over what the
    parent has loaded (which then is in memory once); a parent that has used a GPU must "spawn", and then they are
    pickled. Raises the TtsTrainError that a worker met, or one that names the task on which a worker died. A signal's
    KeyboardInterrupt passes through after every worker has finished its task, or `GRACE_SECONDS` later.
    """
    context: Any = multiprocessing.get_context(start)
    team: dict[Connection, _Worker[T]] = {}
    left = iter(tasks)
    try:
        for _ in range(min(workers, len(tasks))):
            ours, theirs = context.Pipe()
            inherited = [*team, ours] if start == "fork" else []
            process = context.Process(target=_serve, args=(name, prepare, theirs, inherited), name=name)
            process.start()
            theirs.close()
            team[ours] = _Worker(process, ours, next(left))
            ours.send(team[ours].task)
        while team:
            for pipe in wait(list(team)):
                worker = team[pipe]  # type: ignore[index]
                done(worker.task, _received(worker, name, describe))
                _next(worker, left, team)
    finally:
        _dismiss(team.values())


def _next(worker: _Worker[T], left: Iterator[T], team: dict[Connection, _Worker[T]]) -> None:
    for task in left:
        worker.task = task
        worker.pipe.send(task)
        return
    del team[worker.pipe]
    _dismiss([worker])


def _received(worker: _Worker[T], name: str, describe: Callable[[T], str]) -> Answer:
    try:
        answer = worker.pipe.recv()
    except (EOFError, ConnectionResetError) as error:
        worker.process.join(GRACE_SECONDS)
        raise TtsTrainError(
            f"a worker of {name} died ({_ending(worker.process.exitcode)}) at {describe(worker.task)}",
            hint="SIGKILL mostly means that memory ran out: fewer --workers. What is finished stays: run it again",
        ) from error
    if not answer["ok"]:
        met = from_json(answer["error"])
        met.message = f"{describe(worker.task)}: {met.message}"
        met.args = (met.message,)
        raise met
    result: Answer = answer["result"]
    return result


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def _dismiss(workers: Iterable[_Worker[T]]) -> None:
    """Close the pipes, which ends the workers after the task in hand, and wait for them."""
    workers = list(workers)
    for worker in workers:
        worker.pipe.close()
    deadline = time.monotonic() + GRACE_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _serve(name: str, prepare: Prepare[T], pipe: Connection, inherited: Sequence[Connection]) -> None:
    # Whoever stops the parent's process group means the parent: it ends its workers in order.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A fork holds the parent's ends of all pipes made so far; while one is open, its reader never sees the end.
    for other in inherited:
        other.close()
    work: Callable[[T], Answer] | None = None

    def answer(task: T) -> Answer:
        nonlocal work
        work = work or prepare()
        return work(task)

    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            task: T = pipe.recv()
            pipe.send(answer_of(name, partial(answer, task))[0])
