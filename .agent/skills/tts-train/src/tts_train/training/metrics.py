"""metrics.jsonl and TensorBoard: one line per optimizer step, one per epoch.

The trainer is the only writer. On resume everything after the saved state is cut off first, so no step is counted
twice and a torn last line disappears.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tts_train.files import atomic_write_bytes, disk_errors


class Metrics:
    """Appends rows to `path` and scalars to `tensorboard_folder`; use as a context manager."""

    def __init__(self, path: Path, tensorboard_folder: Path, *, resume_step: int) -> None:
        kept = [row for row in read_metrics(path) if row["step"] <= resume_step]
        atomic_write_bytes(path, "".join(_line(row) for row in kept).encode())
        self._path, self._file = path, path.open("a", encoding="utf-8")
        from torch.utils.tensorboard.writer import SummaryWriter

        self._tensorboard = SummaryWriter(str(tensorboard_folder), purge_step=resume_step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self._tensorboard.close()

    def write(self, row: Mapping[str, Any]) -> None:
        """One row with `step`; numbers also go to TensorBoard under `row['kind']/name`."""
        with disk_errors(self._path):
            self._file.write(_line(row))
            self._file.flush()
        for name, value in row.items():
            if isinstance(value, float):
                self._tensorboard.add_scalar(f"{row['kind']}/{name}", value, row["step"])


def read_metrics(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl in order; a torn last line is left out."""
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if kind is None or row["kind"] == kind:
            rows.append(row)
    return rows


def _line(row: Mapping[str, Any]) -> str:
    finite = {
        key: value if not isinstance(value, float) or math.isfinite(value) else None for key, value in row.items()
    }
    return json.dumps(finite, allow_nan=False) + "\n"
