"""Memory that is given back, and memory that is kept where a network asks for the same again and again."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
"""Of mallopt(3)."""
_BIG = 1 << 20
_MAPPINGS = 65536
"""glibc's own number of blocks that may be mapped at a time."""


def return_big_blocks() -> None:
    """Let the C library map blocks of a megabyte and more on their own, so that freeing one returns it.

    By default glibc moves that limit up to 32 MiB once a block of such a size was freed, and then keeps the holes. Each
    opening of an m4b builds libav's table of its packets, some 5 MiB per hour and twice that while it grows: opened
    again, a book of six hours took 134 MiB instead of 68. Threads that start later share one arena, which
    `big_blocks_kept` needs. Nothing happens with another C library.
    """
    _set({_M_MMAP_THRESHOLD: _BIG, _M_TRIM_THRESHOLD: 128 << 10, _M_MMAP_MAX: _MAPPINGS, _M_ARENA_MAX: 1})


@contextlib.contextmanager
def big_blocks_kept() -> Iterator[None]:
    """Keep freed blocks meanwhile, for a network: it asks for the same sizes layer after layer.

    Whisper base in windows of 15 s took 27 s for what takes 17 s without the page faults. In its own windows of 30 s it
    asks for 72 MiB, which glibc maps anew whatever the limit (32 MiB at most) and which no arena of a thread can hold
    (64 MiB): hence no mappings, and one arena for all threads that start from here on. A probe's 39 readings: 103 s of
    CPU instead of 131.
    """
    _set({_M_ARENA_MAX: 1, _M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 1 << 30})
    try:
        yield
    finally:
        return_big_blocks()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def _set(limits: dict[int, int]) -> None:
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for name, value in limits.items():
            library.mallopt(name, value)
