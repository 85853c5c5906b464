"""Freed blocks go back to the system: without that a book of six hours takes twice its table of packets."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CHURN = """
import sys
import psutil
from tts_train.memory import return_big_blocks
if "back" in sys.argv:
    return_big_blocks()
for size in (8, 12, 16, 20):
    b"." * (size << 20)
pairs = [(b"." * (6 << 20), b"," * 100_000) for _ in range(8)]
small = [pair[1] for pair in pairs]
del pairs
print(psutil.Process().memory_info().rss >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library keeps holes like that")
def test_freed_blocks_go_back() -> None:
    kept, returned = (
        int(subprocess.run([sys.executable, "-c", CHURN, mode], capture_output=True, check=True, text=True).stdout)
        for mode in ("kept", "back")
    )

    assert returned < kept - 20
