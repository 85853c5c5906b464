"""Every system call that changes a folder: seen, and on demand killed at, refused for want of space, or cut short.

What patches `os` does not see what libraries write by themselves: SQLite, safetensors, TensorBoard, Python's own
files. Here the work runs in a fork whose system calls pass through ptrace, whoever makes them and from any thread.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import signal
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import ptrace
from tts_train.output import answer_of

KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Call:
    """One system call on something in the watched folder. Paths are relative to it; `source` is a rename's old one."""

    name: str
    path: str
    source: str | None = None
    grows: bool = False
    """Whether a full disk may refuse it."""


@dataclass(frozen=True)
class Fault:
    """What happens at call `at` (the first is 1): "kill", "full" (half of a write, then no space from there on),
    or "short" (half of a write, once)."""

    kind: str
    at: int


@dataclass(frozen=True)
class Outcome:
    """How the work ended: the exit code a user would see (KILLED after SIGKILL), and its calls in order."""

    code: int
    calls: tuple[Call, ...]

    def at(self, number: int) -> str:
        """A call for messages."""
        return f"call {number} of {len(self.calls)}, {self.calls[number - 1]}" if number <= len(self.calls) else "end"

    def numbers(self, kind: str) -> list[int]:
        """Numbers of the calls where a fault of this kind can happen: any, those that need space, writes."""
        wanted = {
            "kill": lambda _: True,
            "full": lambda call: call.grows,
            "short": lambda call: call.name in ptrace.WRITES,
        }[kind]
        return [number for number, call in enumerate(self.calls, 1) if wanted(call)]


@functools.cache
def unavailable() -> str | None:
    """Why system calls cannot be watched here; None when they can."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return f"watching system calls is written for Linux on x86-64, not {platform.system()} {platform.machine()}"
    return ptrace.refused()


def watched(work: Callable[[], object], folder: Path, fault: Fault | None = None) -> Outcome:
    """Run `work` in a fork and watch what it does to `folder`; `fault` happens on the way.

    A process in between is the tracer, so that waiting for any thread of the work reaps nobody else's child.
    """
    read, write = os.pipe()
    tracer = os.fork()
    if tracer == 0:
        os.close(read)
        _watch(work, folder.resolve(), fault, write)
    os.close(write)
    with os.fdopen(read) as answers:
        answer = answers.read()
    status = os.waitpid(tracer, 0)[1]
    if not answer:
        raise RuntimeError(f"the tracer died with status {status}")
    told = json.loads(answer)
    return Outcome(told["code"], tuple(Call(**call) for call in told["calls"]))


def unsynced(calls: Iterable[Call]) -> list[str]:
    """Renames to final names that a power cut could tear: fsync(file) < rename < fsync(folder) is what is due.

    A renamed folder needs it of every file in it. What is inside a temporary folder is nobody's final name yet.
    """
    calls = list(calls)
    problems = []
    dirty: dict[str, int] = {}
    for number, call in enumerate(calls):
        if call.name in ptrace.WRITES or call.name == "ftruncate":
            dirty[call.path] = number
        elif call.name in ("fsync", "fdatasync"):
            dirty.pop(call.path, None)
        elif call.name.startswith("rename") and call.source is not None:
            inside = [path for path in dirty if path == call.source or path.startswith(f"{call.source}/")]
            if not any(part.startswith(".tmp") for part in Path(call.path).parts):
                problems += [f"{call.path}: {path} was not flushed before the rename" for path in inside]
                parent = str(Path(call.path).parent)
                if not any(later.name == "fsync" and later.path == parent for later in calls[number + 1 :]):
                    problems.append(f"{call.path}: its folder was not flushed after the rename")
            for path in inside:
                dirty[call.path + path.removeprefix(call.source)] = dirty.pop(path)
    return problems


def _watch(work: Callable[[], object], folder: Path, fault: Fault | None, tell: int) -> NoReturn:
    try:
        pid = os.fork()
        if pid == 0:
            os.close(tell)
            _work(work)
        code, calls = _Tracer(pid, folder, fault).run()
        with os.fdopen(tell, "w") as answers:
            json.dump({"code": code, "calls": [asdict(call) for call in calls]}, answers)
        os._exit(0)
    except BaseException:  # noqa: BLE001  the fork must not fall back into pytest
        import traceback

        traceback.print_exc()
        os._exit(1)


def _work(work: Callable[[], object]) -> NoReturn:
    code = 1
    try:
        ptrace.trace_me()

        def run() -> dict[str, Any]:
            work()
            return {}

        answer, code = answer_of("test", run)
        if code:
            os.write(2, f"{json.dumps(answer)}\n".encode())
    finally:
        os._exit(code)


class _Tracer:
    def __init__(self, pid: int, folder: Path, fault: Fault | None) -> None:
        self.pid, self.folder, self.fault = pid, str(folder), fault
        self.calls: list[Call] = []
        self.refusing: set[int] = set()
        """Threads in a call that was turned into none: at its end it gets the error."""

    def run(self) -> tuple[int, list[Call]]:
        ptrace.begin(self.pid)
        seen = {self.pid}
        while True:
            thread, status = ptrace.wait()
            if not os.WIFSTOPPED(status):
                if thread == self.pid:
                    return os.waitstatus_to_exitcode(status), self.calls
                continue
            stop = os.WSTOPSIG(status)
            deliver = 0
            if stop == ptrace.SYSCALL_STOP:
                self._syscall(thread)
            elif stop == signal.SIGSTOP and thread not in seen:
                seen.add(thread)  # how a new thread begins
            elif stop != signal.SIGTRAP:
                deliver = stop
            ptrace.go_on(thread, deliver)

    def _syscall(self, thread: int) -> None:
        stop = ptrace.stop_of(thread)
        if stop is None:
            return
        if not stop.entering:
            if thread in self.refusing:
                self.refusing.discard(thread)
                ptrace.no_space(thread)
            return
        found = ptrace.change(thread, stop)
        if found is None:
            return
        paths = [self._inside(path) for path in (found.path, found.source) if path is not None]
        if None in paths:
            return
        call = Call(found.name, str(paths[0]), str(paths[1]) if found.source else None, found.grows)
        self.calls.append(call)
        self._fail(thread, found)

    def _fail(self, thread: int, found: ptrace.Change) -> None:
        number = len(self.calls)
        if self.fault is None or number < self.fault.at:
            return
        if self.fault.kind == "kill":
            os.kill(self.pid, signal.SIGKILL)
        elif number == self.fault.at and found.name in ptrace.WRITES and found.count > 1:
            ptrace.halve(thread, found)
        elif self.fault.kind == "full" and found.grows:
            ptrace.make_nothing(thread)
            self.refusing.add(thread)

    def _inside(self, path: str) -> str | None:
        if path == self.folder:
            return "."
        return path.removeprefix(f"{self.folder}/") if path.startswith(f"{self.folder}/") else None
