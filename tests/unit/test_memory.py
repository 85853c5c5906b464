"""Freed blocks go back to the system: without that a book of six hours takes twice its table of packets.

Except while a network works: it would be given the same pages again and again.
"""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CHURN = """
import contextlib, sys
import psutil
from tts_train.memory import big_blocks_kept, return_big_blocks

def churn():
    for size in (8, 12, 16, 20):
        b"." * (size << 20)
    pairs = [(b"." * (6 << 20), b"," * 100_000) for _ in range(8)]
    small = [pair[1] for pair in pairs]
    del pairs
    print(psutil.Process().memory_info().rss >> 20)

mode = sys.argv[1]
if mode != "glibc":
    return_big_blocks()
with big_blocks_kept() if mode in ("kept", "after") else contextlib.nullcontext():
    if mode != "after":
        churn()
if mode == "after":
    churn()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library keeps holes like that")
def test_freed_blocks_go_back_but_not_from_under_a_network() -> None:
    glibc, returned, kept, after = (
        int(subprocess.run([sys.executable, "-c", CHURN, mode], capture_output=True, check=True, text=True).stdout)
        for mode in ("glibc", "returned", "kept", "after")
    )

    assert returned < glibc - 20
    assert kept > returned + 20
    assert after < kept - 20
