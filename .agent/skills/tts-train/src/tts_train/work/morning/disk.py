"""The disk in the morning: what is left, and what the night wrote."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tts_train.work.morning.window import Window
from tts_train.workspace import Workspace


def disk(workspace: Workspace, night: Window) -> dict[str, Any]:
    """{free_bytes, written_bytes, written [{folder, bytes}]}, the folder that grew most first.

    Counted is what was written in the window and is still there, below datasets/ and artifacts/; linked files once.
    """
    grown = [
        {"folder": workspace.relative(folder), "bytes": size}
        for folder in _folders(workspace)
        if (size := _written(folder, night))
    ]
    return {
        "free_bytes": shutil.disk_usage(workspace.root).free,
        "written_bytes": sum(row["bytes"] for row in grown),
        "written": sorted(grown, key=lambda row: -row["bytes"]),
    }


def _folders(workspace: Workspace) -> Iterator[Path]:
    """A dataset, a run, or what lies beside them."""
    for above in (workspace.datasets, workspace.runs, workspace.root / "artifacts"):
        if above.is_dir():
            yield from sorted(path for path in above.iterdir() if path.is_dir() and path != workspace.runs)


def _written(folder: Path, night: Window) -> int:
    sizes: dict[tuple[int, int], int] = {}
    for place, _folders_below, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(place, name))
            except FileNotFoundError:  # a temporary file of something that runs
                continue
            if night.holds_seconds(found.st_mtime):
                sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())
