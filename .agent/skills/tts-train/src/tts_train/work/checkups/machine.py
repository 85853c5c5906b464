"""Cores and memory that this process may use: a container often has less than the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from tts_train.work.checkups.row import Row

CGROUP = Path("/sys/fs/cgroup")
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
"""Version 2, version 1."""
LITTLE_GIGABYTES = 4.0
"""A rough bound: torch with its libraries, a Whisper model and a batch."""


def rows(cgroup: Path = CGROUP, total: int | None = None) -> Iterator[Row]:
    """One row for cores, one for memory; `total` bytes of memory (None: this machine's)."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = os.cpu_count() or 1
    yield Row("cores", "ok", f"{cores}" if usable == cores else f"{usable} of {cores} may be used")

    there = psutil.virtual_memory().total if total is None else total
    limit = min([there, *_limits(cgroup)])
    detail = f"{limit / 1e9:.1f} GB" + (f" of {there / 1e9:.1f} (the container's limit)" if limit < there else "")
    if limit / 1e9 < LITTLE_GIGABYTES:
        fix = f"give this machine or container {LITTLE_GIGABYTES:.0f} GB or more, use --jobs 1 and small batches"
        yield Row("memory", "warning", f"{detail}: ingest, align and training may be killed for lack of memory", fix)
    else:
        yield Row("memory", "ok", detail)


def _limits(cgroup: Path) -> Iterator[int]:
    for file in _LIMITS:
        try:
            text = (cgroup / file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():  # "max": no limit
            yield int(text)
