"""Memory that is given back."""

from __future__ import annotations

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3
_BIG = 1 << 20


def return_big_blocks() -> None:
    """Let the C library map blocks of a megabyte and more on their own, so that freeing one returns it.

    By default glibc moves that limit up to 32 MiB once a block of such a size was freed, and then keeps the holes. Each
    opening of an m4b builds libav's table of its packets, some 5 MiB per hour and twice that while it grows: opened
    again, a book of six hours took 134 MiB instead of 68. Nothing happens with another C library.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _BIG)
