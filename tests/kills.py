"""SIGKILL at a chosen I/O call, or after some time: a fork does the work, so heavy libraries are imported once."""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import mmap
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

CALLS = (
    *("open", "write", "pwrite", "sendfile", "fsync", "truncate", "ftruncate", "replace", "rename", "mkdir", "rmdir"),
    *("unlink", "remove", "link", "symlink"),
)
"""Of `os`. Files that open() opens to write are counted before and after: between, the file is empty."""
EXHAUSTIVE = bool(os.environ.get("TTS_TRAIN_EXHAUSTIVE"))
STRIDE = 1 if EXHAUSTIVE else 4
"""`run.sh test --exhaustive` takes every point, otherwise every fourth, from a day's offset so that points rotate."""
TABLE = "TTS_TRAIN_FAULT_TABLE"
"""Names the file, JSON lines, that the faults tier makes its table of."""


def day() -> int:
    """Today as a number."""
    return int(time.time() // 86400)


def every_other_day(turn: int) -> pytest.MarkDecorator:
    """For dear tests of what seldom changes: half of them (`turn` 0 or 1) run today, with --exhaustive all."""
    other = not EXHAUSTIVE and day() % 2 != turn
    return pytest.mark.skipif(other, reason="its turn is tomorrow: run.sh test --exhaustive")


def points(first: int, last: int, stride: int = STRIDE) -> range:
    """Today's crash points of the calls `first` to `last`, both counted in; `stride` days make all of them."""
    return range(first + day() % stride, last + 1, stride)


def record(stage: str, points: int, wrong: int, seconds: float, *, calls: int = 0, at_random: int = 0) -> None:
    """Add what a test found to the tier's table: killed at `points` of `calls` and `at_random` times, `wrong` ends."""
    row = {"stage": stage, "points": points, "calls": calls, "at_random": at_random, "wrong": wrong, "seconds": seconds}
    if place := os.environ.get(TABLE):
        with open(place, "a", encoding="utf-8") as table:
            table.write(json.dumps(row) + "\n")


def sweep(
    stage: str,
    work: Callable[[Path], object],
    outcome: Callable[[Path], object],
    folder: Path,
    *,
    prepare: Callable[[Path], object] = lambda _: None,
    coarser: int = 1,
    at_random: int = 0,
    warm: bool = False,
) -> None:
    """Kill `work(place)` at today's I/O calls, and some times at random, do it again, and expect the undisturbed end.

    `prepare(place)` makes what the work needs, in a place that does not exist yet; `outcome(place)` is compared. The
    default run takes `coarser` times fewer of both. `warm`: this process does it once before, so that forks find all
    libraries loaded. What was found goes to the tier's table, then anything wrong fails.
    """
    started = time.monotonic()

    def fresh(name: str) -> Path:
        place = folder / name / "it"  # what is made may name its folder
        place.parent.mkdir()
        prepare(place)
        return place

    if warm:
        work(fresh("warm"))
    whole = fresh("whole")
    begun = time.monotonic()
    status, calls = in_child(lambda: work(whole))
    alone = time.monotonic() - begun
    assert status == 0, f"{stage} fails undisturbed"
    expected = outcome(whole)
    draw = random.Random(day())
    killed, hit, wrong = 0, 0, []
    if not EXHAUSTIVE:
        at_random = -(-at_random // (STRIDE * coarser))
    crashes = [*points(1, calls, 1 if EXHAUSTIVE else STRIDE * coarser), *(0 for _ in range(at_random))]
    for number, point in enumerate(crashes):
        place = fresh(f"killed-{number}")
        if point:
            status, _ = in_child(lambda place=place: work(place), crash_at=point)  # type: ignore[misc]
            killed += os.WIFSIGNALED(status)
        else:
            status = killed_after(lambda place=place: work(place), draw.uniform(0, alone))  # type: ignore[misc]
            hit += os.WIFSIGNALED(status)
        what = f"a kill at I/O call {point}" if point else "a kill at random"
        # A thread (TensorBoard's) may make a call less than in the first run: then nothing was killed.
        assert os.WIFSIGNALED(status) or status == 0, f"{what}: {stage} failed by itself"
        status, _ = in_child(lambda place=place: work(place))  # type: ignore[misc]
        if status != 0:
            wrong.append(f"{what}: {stage} could not be run again")
        elif outcome(place) != expected:
            wrong.append(f"{what} changed what {stage} made, see {place}")
        else:
            shutil.rmtree(place.parent)
    record(stage, killed, len(wrong), round(time.monotonic() - started, 1), calls=calls, at_random=hit)
    assert killed >= 0.9 * (len(crashes) - at_random), f"only {killed} of {len(crashes) - at_random} calls were reached"
    assert not wrong, f"{len(wrong)} of {len(crashes)} ends are wrong: {wrong[:5]}"


def everything(folder: Path) -> dict[str, bytes]:
    """Every file of `folder` but its lock, by its path: also one that should have been cleared away."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def in_child(work: Callable[[], object], crash_at: int | None = None) -> tuple[int, int]:
    """Run `work` in a fork that kills itself before I/O call `crash_at`. Returns (wait status, calls made).

    Calls of processes that it forks count too, and they die with it: as when a machine goes down.
    """
    calls = memoryview(mmap.mmap(-1, 8)).cast("q")
    return _end_of(*_fork(work, calls, crash_at)), calls[0]


def killed_after(work: Callable[[], object], seconds: float) -> int:
    """Run `work` in a fork and kill it, and what it started, from outside after `seconds`. Returns the wait status."""
    pid, alive = _fork(work, memoryview(bytearray(8)).cast("q"), None)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return _end_of(pid, alive)


def killed_once(work: Callable[[], object], victim: Callable[[int], int | None]) -> int:
    """Run `work` in a fork, ask `victim(its pid)` again and again, and kill the process that this names.

    Returns the wait status of the fork, which may have ended before.
    """
    pid, alive = _fork(work, memoryview(bytearray(8)).cast("q"), None)
    while (doomed := victim(pid)) is None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            os.close(alive)
            return status
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.kill(doomed, signal.SIGKILL)
    return _end_of(pid, alive)


def _fork(work: Callable[[], object], calls: memoryview, crash_at: int | None) -> tuple[int, int]:
    """The fork's id, which is its group's too, and a pipe that ends when the last of its forks is gone."""
    alive, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.close(alive)
        _run(work, calls, crash_at)
    with contextlib.suppress(OSError):  # it was faster
        os.setpgid(pid, pid)
    os.close(held)
    return pid, alive


def _end_of(pid: int, alive: int) -> int:
    status = os.waitpid(pid, 0)[1]
    # A worker of a killed group holds its locks until it is gone.
    os.read(alive, 1)
    os.close(alive)
    return status


def _run(work: Callable[[], object], calls: memoryview, crash_at: int | None) -> None:
    def count() -> None:
        calls[0] += 1
        if calls[0] == crash_at:
            os.killpg(0, signal.SIGKILL)

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            count()
            return real(*arguments, **named)

        return call

    real_open = builtins.open

    def opened(file: object, mode: str = "r", *arguments: object, **named: object) -> object:
        if not set(mode) & set("wax+"):
            return real_open(file, mode, *arguments, **named)  # type: ignore[call-overload]
        count()
        handle = real_open(file, mode, *arguments, **named)  # type: ignore[call-overload]
        count()
        return handle

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    builtins.open = io.open = opened  # type: ignore[assignment]
    try:
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001  the fork must not fall back into pytest
        import traceback

        traceback.print_exc()
        os._exit(1)
