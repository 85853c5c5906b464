"""What disks do to a program: it dies between two calls, there is no space, a write is short, a folder is read-only.

`sweep` tries them at every system call that changes a folder (see system_calls.py); `mounted` does it to a real file
system of its own, in a namespace that only the fork sees.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

import kills
from system_calls import KILLED, Fault, Outcome, unavailable, watched
from tts_train.files import TEMPORARY

DISK = 74
"""The exit code that users get when the disk refuses."""
FAULTS = {
    "kill": ("killed", KILLED),
    "full": ("disk full", DISK),
    "short": ("short write", 0),
}
"""What can be tried → (its name in the tier's table, the exit code that is due)."""

_NEW_USERS, _NEW_MOUNTS = 0x10000000, 0x00020000
_READ_ONLY, _REMOUNT, _BIND = 1, 32, 4096


def sweep(
    stage: str,
    work: Callable[[Path], object],
    outcome: Callable[[Path], Mapping[str, object]],
    folder: Path,
    *,
    prepare: Callable[[Path], object] = lambda _: None,
    faults: Sequence[str] = tuple(FAULTS),
    coarser: int = 1,
    from_to: tuple[float, float] = (0.0, 1.0),
    harmless: Sequence[str] = (),
    rows_apart: bool = True,
    warm: bool = False,
) -> Outcome:
    """Try `faults` at today's calls of `work(place)`, do it again undisturbed, and expect the undisturbed end.

    `outcome(place)` tells what there is, by name. Right after a fault each name, but those of temporary files, must be
    as it was before or as it ends: nothing is torn. A full disk must end the work with exit code 74; it may pass
    unnoticed only if all of the work is there and it began with a call on one of the files `harmless`, or with the one
    right before it. A short write must change nothing at all.

    The default run takes `coarser` times fewer points, of the part `from_to` of the calls; without `rows_apart` a row
    of writes to one file is its first two and its last. `warm`: this process does the work once before, so that forks
    find all libraries loaded. Skips, with the reason,
    where calls cannot be watched. Returns the undisturbed run's calls.
    """
    if reason := unavailable():
        pytest.skip(reason)

    def fresh(name: str) -> Path:
        place = folder / name / "it"  # what is made may name its folder
        place.parent.mkdir()
        prepare(place)
        return place

    if warm:
        work(fresh("warm"))
    whole = fresh("whole")
    undisturbed = watched(lambda: work(whole), whole)
    assert undisturbed.code == 0, f"{stage} fails undisturbed"
    expected = dict(outcome(whole))
    bad: list[str] = []
    for kind in faults:
        name, due = FAULTS[kind]
        started, wrong, hit = time.monotonic(), [], 0
        numbers = _part(undisturbed.numbers(kind) if rows_apart else _ends(undisturbed, kind), from_to)
        taken = _todays(numbers, coarser)
        for number in taken:
            place = fresh(f"{kind}-{number}")
            before = dict(outcome(place))
            faulted = watched(lambda place=place: work(place), place, Fault(kind, number))  # type: ignore[misc]
            # A thread (TensorBoard's) may make a call less than in the first run: then nothing happened.
            happened = any(call.grows or kind != "full" for call in faulted.calls[number - 1 :])
            hit += happened
            what = f"{name} at {faulted.at(number)}"
            now = outcome(place)
            spared = kind == "full" and _closes(undisturbed, number, harmless) and now == expected
            if faulted.code != due and not (faulted.code == 0 and (spared or not happened)):
                wrong.append(f"{what}: {stage} ended with code {faulted.code} instead of {due}")
            torn = [key for key, value in now.items() if value not in (before.get(key), expected.get(key))]
            torn = [key for key in torn if TEMPORARY not in key]
            if torn:
                wrong.append(f"{what}: {stage} left {torn[:3]} torn")
            if kind != "short" and kills.in_child(lambda place=place: work(place))[0] != 0:  # type: ignore[misc]
                wrong.append(f"{what}: {stage} could not be run again")
            elif (found := dict(outcome(place))) != expected:
                differ = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
                wrong.append(f"{what}: {stage} ended otherwise: {differ[:3]}, see {place}")
            else:
                shutil.rmtree(place.parent)
        kills.record(f"{stage}: {name}", hit, len(wrong), round(time.monotonic() - started, 1), calls=len(numbers))
        assert hit + 1 >= 0.9 * len(taken), f"{name}: {stage} reached {hit} of {len(taken)} calls only"
        bad += wrong
    assert not bad, f"{len(bad)} wrong ends: {bad[:5]}"
    return undisturbed


def _todays(numbers: Sequence[int], coarser: int) -> list[int]:
    stride = 1 if kills.EXHAUSTIVE else kills.STRIDE * coarser
    return [numbers[place - 1] for place in kills.points(1, len(numbers), stride)]


def _closes(outcome: Outcome, number: int, files: Sequence[str]) -> bool:
    """Whether the call is on one of `files` or, as SQLite does when it empties its log, right before one on them."""
    return any(Path(call.path).name in files for call in outcome.calls[number - 1 : number + 1])


def _ends(outcome: Outcome, kind: str) -> list[int]:
    """Without the writes inside a row of writes: a temporary file of ten pieces is no other than one of eleven."""
    calls = outcome.calls
    alike = {number for number in range(3, len(calls)) if len(set(calls[number - 3 : number + 1])) == 1}
    return [number for number in outcome.numbers(kind) if number not in alike]


def _part(numbers: Sequence[int], from_to: tuple[float, float]) -> Sequence[int]:
    first, last = from_to
    return numbers[int(first * len(numbers)) : max(int(last * len(numbers)), 1)]


@functools.cache
def unmountable() -> str | None:
    """Why no file system can be mounted here; None when it can."""
    status, _ = kills.in_child(_own_mounts)
    return None if status == 0 else "no namespace of its own for mounts: user namespaces are closed here"


def mounted(folder: Path, body: Callable[[], object], *, megabytes: float | None = None) -> None:
    """Run `body` in a fork where `folder` is an empty disk of `megabytes`, or else itself, read-only.

    What fails in `body` fails the test, its traceback on stderr. Skips, with the reason, where nothing can be mounted.
    """
    if reason := unmountable():
        pytest.skip(reason)

    def inside() -> None:
        _own_mounts()
        if megabytes is not None:
            _mount("tmpfs", folder, "tmpfs", 0, f"size={round(megabytes * 1024)}k")
        else:
            _mount(str(folder), folder, "", _BIND)
            _mount("none", folder, "", _BIND | _REMOUNT | _READ_ONLY)
        body()

    assert kills.in_child(inside)[0] == 0, "see stderr"


def _own_mounts() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USERS | _NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [source.encode(), os.fsencode(target), kind.encode()]
    if libc.mount(*words, ctypes.c_ulong(flags), options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}: {os.strerror(ctypes.get_errno())}")
