"""Free space, held against what a set-up and an epoch need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tts_train.backends import hub
from tts_train.work.checkups.row import Row

GB = 1e9
SET_UP_RESERVE = 2.0
"""Gigabytes that a set-up leaves over: logs, bytecode, what else goes on meanwhile."""
LEAST = 1.0
"""Gigabytes of a small run: a Piper epoch has 0.06, its state 0.4 while it is replaced, and renders."""
LITTLE = 5.0
NEEDS = "an epoch takes 0.06 GB (Piper), 1.8 (XTTS-v2), 3.7 or 7.7 (Qwen3-TTS), its state 0.4, 11, 22 or 46"
"""Measured for Piper; XTTS-v2 and Qwen3-TTS (0.6B, 1.7B) as their references reckon, all weights trained."""


def rows(
    workspace: Path,
    environments_root: Path,
    missing_gigabytes: float,
    free: Callable[[Path], float] | None = None,
) -> Iterator[Row]:
    """Gigabytes free in the workspace, where environments go, and in the hub's cache if that is another disk."""
    free = free or free_gigabytes
    there = free(workspace)
    prune = "run.sh prune RUN --keep last:2, then with --delete; or --workspace on another disk"
    if there < LEAST:
        yield Row("disk workspace", "problem", f"{there:.1f} GB free in {workspace}: too little for any run", prune)
    elif there < LITTLE:
        yield Row("disk workspace", "warning", f"{there:.1f} GB free in {workspace}: {NEEDS}", prune)
    else:
        yield Row("disk workspace", "ok", f"{there:.1f} GB free; {NEEDS}")

    there, needed = free(environments_root), missing_gigabytes + SET_UP_RESERVE if missing_gigabytes else 0.0
    if there < needed:
        detail = f"{there:.1f} GB free in {environments_root}; the missing environments need {missing_gigabytes:.1f} GB"
        fix = "free some disk space, or set TTS_TRAIN_ENVS to a folder on another disk"
        yield Row("disk environments", "problem", f"{detail} and {SET_UP_RESERVE:.0f} to spare", fix)
    else:
        to_come = f"; {missing_gigabytes:.1f} GB are still to come" if missing_gigabytes else ""
        yield Row("disk environments", "ok", f"{there:.1f} GB free{to_come}")

    cache = hub.cache()
    if _device(cache) not in (_device(workspace), _device(environments_root)):
        there = free(cache)
        few = there < LITTLE
        detail = f"{there:.1f} GB free in {cache}, where bases from the hub go"
        yield Row("disk hub cache", "warning" if few else "ok", detail, "set HF_HOME to another disk" if few else "")


def missing_gigabytes(states: Sequence[Mapping[str, Any]]) -> float:
    """What the environments that are not there will take."""
    return sum(state["megabytes"] for state in states if state["state"] == "missing") / 1000


def free_gigabytes(folder: Path) -> float:
    """What a user without privileges may still write where `folder` is, or will be."""
    return shutil.disk_usage(_nearest(folder)).free / GB


def _device(folder: Path) -> int:
    return os.stat(_nearest(folder)).st_dev


def _nearest(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())
