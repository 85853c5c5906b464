"""ptrace through ctypes: the system calls of a traced process that change files. Linux on x86-64."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from dataclasses import dataclass

WRITES = ("write", "pwrite64", "writev", "pwritev")
SYSCALL_STOP = signal.SIGTRAP | 0x80

_TRACEME, _POKEUSER, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 6, 24, 0x4200, 0x420E
_OPTIONS = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x100000
"""TRACESYSGOOD, fork, vfork, clone and exec followed, EXITKILL: nothing traced outlives its tracer."""
_WALL = 0x40000000
_ENTRY, _EXIT = 1, 2
_RAX, _RDX, _ORIG_RAX = 10, 12, 15
"""Places in the saved registers, in words: result, third argument, number of the call."""
_AT_FDCWD = -100

_ON_DESCRIPTOR = {
    1: ("write", 0),
    18: ("pwrite64", 0),
    20: ("writev", 0),
    40: ("sendfile", 0),
    74: ("fsync", 0),
    75: ("fdatasync", 0),
    77: ("ftruncate", 0),
    285: ("fallocate", 0),
    296: ("pwritev", 0),
    326: ("copy_file_range", 2),
}
"""Number → (name, which argument is the file that changes)."""
_ON_PATH = {
    2: ("open", None, 0),
    76: ("truncate", None, 0),
    83: ("mkdir", None, 0),
    84: ("rmdir", None, 0),
    85: ("creat", None, 0),
    87: ("unlink", None, 0),
    257: ("openat", 0, 1),
    258: ("mkdirat", 0, 1),
    263: ("unlinkat", 0, 1),
}
"""Number → (name, argument with the folder it is relative to, argument with the path)."""
_FROM_TO = {
    82: ("rename", None, 0, None, 1),
    86: ("link", None, 0, None, 1),
    88: ("symlink", None, 1, None, 1),
    264: ("renameat", 0, 1, 2, 3),
    265: ("linkat", 0, 1, 2, 3),
    266: ("symlinkat", 1, 2, 1, 2),
    316: ("renameat2", 0, 1, 2, 3),
}
"""Number → (name, folder and path of the old, folder and path of the new)."""
_SHRINKS = ("unlink", "unlinkat", "rmdir", "ftruncate", "truncate")


class _Info(ctypes.Structure):
    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
        ("ret_data", ctypes.c_uint32),
    )


@dataclass(frozen=True)
class Stop:
    """A thread at the beginning or the end of a system call."""

    entering: bool
    number: int
    arguments: tuple[int, ...]


@dataclass(frozen=True)
class Change:
    """A system call that changes a file, with absolute paths. `count` is a write's length."""

    name: str
    path: str
    source: str | None
    count: int
    grows: bool


_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def _call(request: int, thread: int, address: int = 0, data: int = 0) -> int:
    """ptrace(2). A thread that is gone (a kill came first) is no error: waiting tells its end."""
    done = int(_ptrace(request, thread, address, data & (2**64 - 1)))
    if done == -1 and ctypes.get_errno() not in (0, errno.ESRCH):
        raise OSError(ctypes.get_errno(), f"ptrace({request:#x}): {os.strerror(ctypes.get_errno())}")
    return done


def refused() -> str | None:
    """Why this machine lets nobody trace its own child; None when it does."""
    pid = os.fork()
    if pid == 0:
        try:
            trace_me()
        finally:
            os._exit(1)
    try:
        begin(pid)
    except OSError as error:
        return f"system calls cannot be watched here: {error}"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None


def trace_me() -> None:
    """In the child: be traced by the parent, from here on."""
    _call(_TRACEME, 0)
    os.kill(os.getpid(), signal.SIGSTOP)


def begin(pid: int) -> None:
    """In the parent: wait for the child's `trace_me`, and let it go on to its first call."""
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        raise OSError(errno.EPERM, "the child could not be traced")
    _call(_SETOPTIONS, pid, 0, _OPTIONS)
    go_on(pid)


def wait() -> tuple[int, int]:
    """(thread, wait status) of whichever stopped or ended."""
    return os.waitpid(-1, _WALL)


def go_on(thread: int, deliver: int = 0) -> None:
    """Let a thread run to its next stop, with a signal delivered if it stopped for one."""
    _call(_SYSCALL, thread, 0, deliver)


def stop_of(thread: int) -> Stop | None:
    """What a thread in SYSCALL_STOP is about to do or has done."""
    info = _Info()
    if _call(_GET_SYSCALL_INFO, thread, ctypes.sizeof(info), ctypes.addressof(info)) <= 0:
        return None
    if info.op == _ENTRY:
        return Stop(True, info.number, tuple(info.arguments))
    return Stop(False, -1, ()) if info.op == _EXIT else None


def change(thread: int, stop: Stop) -> Change | None:
    """What the call that begins changes; None for one that changes nothing."""
    given = stop.arguments
    if stop.number in _ON_DESCRIPTOR:
        name, which = _ON_DESCRIPTOR[stop.number]
        path = _descriptor(thread, given[which])
        return path and Change(name, path, None, given[2], name not in _SHRINKS)
    if stop.number in _ON_PATH:
        name, folder, which = _ON_PATH[stop.number]
        flags = {"open": given[1], "openat": given[2]}.get(name, os.O_CREAT)
        if not flags & (os.O_CREAT | os.O_TRUNC):
            return None
        path = _path(thread, None if folder is None else given[folder], given[which])
        makes = name.startswith(("open", "mkdir")) and not flags & os.O_TRUNC
        if makes and path and os.path.lexists(path):
            return None  # it is there: opened, or not made again
        return path and Change(name, path, None, 0, name not in _SHRINKS)
    if stop.number in _FROM_TO:
        name, *places = _FROM_TO[stop.number]
        old, new = (
            _path(thread, None if folder is None else given[folder], given[which])
            for folder, which in (places[:2], places[2:])
        )
        return Change(name, new, old, 0, True) if old and new else None
    return None


def halve(thread: int, found: Change) -> None:
    """Let a write take half of what it was given, as a disk does that fills up."""
    _call(_POKEUSER, thread, 8 * _RDX, max(found.count // 2, 1))


def make_nothing(thread: int) -> None:
    """Turn the call that begins into none."""
    _call(_POKEUSER, thread, 8 * _ORIG_RAX, -1)


def no_space(thread: int) -> None:
    """Have the call that was turned into none return ENOSPC."""
    _call(_POKEUSER, thread, 8 * _RAX, -errno.ENOSPC)


def _descriptor(thread: int, number: int) -> str | None:
    try:
        return os.readlink(f"/proc/{thread}/fd/{_signed(number)}").removesuffix(" (deleted)")
    except OSError:
        return None


def _path(thread: int, folder: int | None, address: int) -> str | None:
    text = _text(thread, address)
    if text is None or text.startswith("/"):
        return text and os.path.normpath(text)
    if folder is None or _signed(folder) == _AT_FDCWD:
        base: str | None = os.readlink(f"/proc/{thread}/cwd")
    else:
        base = _descriptor(thread, folder)
    return base and os.path.normpath(os.path.join(base, text))


def _text(thread: int, address: int) -> str | None:
    """A string in the thread's memory, read to the end of a page at a time."""
    found = b""
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        while b"\0" not in found:
            memory.seek(address + len(found))
            piece = memory.read(4096 - (address + len(found)) % 4096)
            if not piece:
                return None
            found += piece
    return os.fsdecode(found.split(b"\0")[0])


def _signed(number: int) -> int:
    return ctypes.c_int(number & 0xFFFFFFFF).value
