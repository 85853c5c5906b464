"""Memory that is given back."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_BIG = 1 << 20
_GLIBC_MOST = 32 << 20
"""The highest limit that glibc takes for _M_MMAP_THRESHOLD."""


def return_big_blocks() -> None:
    """Let the C library map blocks of a megabyte and more on their own, so that freeing one returns it.

    By default glibc moves that limit up to 32 MiB once a block of such a size was freed, and then keeps the holes. Each
    opening of an m4b builds libav's table of its packets, some 5 MiB per hour and twice that while it grows: opened
    again, a book of six hours took 134 MiB instead of 68. Nothing happens with another C library.
    """
    _limits(map_from=_BIG, trim_from=128 << 10)


@contextlib.contextmanager
def big_blocks_kept() -> Iterator[None]:
    """Keep freed blocks meanwhile, for a network: it asks for the same sizes layer after layer.

    Whisper base on two threads took 27 s for what takes 17 s now, all of it page faults.
    """
    _limits(map_from=_GLIBC_MOST, trim_from=16 * _GLIBC_MOST)
    try:
        yield
    finally:
        return_big_blocks()


def _limits(*, map_from: int, trim_from: int) -> None:
    """Sizes in bytes from which blocks are mapped on their own, and from which the end of the heap is returned."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, map_from)
        library.mallopt(_M_TRIM_THRESHOLD, trim_from)
