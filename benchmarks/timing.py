"""CPU time and ratios of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def cpu(work: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds after one unmeasured call."""
    work()
    measured = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        measured.append(time.process_time() - started)
    return median(measured)


def ratio(usual: float, ours: float) -> dict[str, float]:
    return {"usual_seconds": round(usual, 3), "our_seconds": round(ours, 3), "ratio": round(usual / ours, 2)}
