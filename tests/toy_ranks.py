"""What a rank of the toy training does, and how it can go wrong on purpose; called through launch.run_ranks."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch

from toy import ToyTask, toy_config
from tts_train.training import loop
from tts_train.training.ranks import joined
from tts_train.training.run import RunFolder


class Faulty:
    """The toy's forward, which notes the clips it sees, and goes wrong at call `at` in rank `rank`."""

    def __init__(self, task: ToyTask, rank: int, fault: dict[str, Any], folder: Path) -> None:
        self.task, self.fault, self.folder = task, fault if fault.get("rank") == rank else {}, folder
        self.forward = task.module.forward
        self.seen: list[int] = []
        self.calls = 0

    def __call__(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        self.calls += 1
        known = torch.cat([self.task.data, self.task.held_out])
        self.seen += [int((known == clip).all(dim=1).nonzero()) for clip in batch]
        kind = self.fault.get("kind") if self.calls == self.fault.get("at") else None
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "signal":
            os.kill(os.getpid(), signal.SIGTERM)
        if kind == "nan":
            batch = batch * float("nan")
        if kind == "drift":
            with torch.no_grad():
                self.task.module.layers[3].bias += 1e-6
        if kind == "wait":
            (self.folder / "waiting").write_text(str(os.getpid()))
            time.sleep(self.fault["seconds"])
        return self.forward(batch)


def train(folder: str, changes: dict[str, Any], fault: dict[str, Any]) -> dict[str, Any]:
    """Train the toy; leaves rank-<n>.json with its pid and the clips it saw beside the run."""
    config, place = toy_config(**changes), Path(folder)
    task = ToyTask(held_out=config.validation_clips)
    with joined(config) as ranks:
        with ranks.first_alone():
            assert ranks.first or (place / "cache").exists(), "rank 0 was to fill the cache first"
            time.sleep(0.2 if ranks.first else 0.0)
            (place / "cache").write_text("made once")
        facts = {"pid": os.getpid(), "env": sorted(name for name in os.environ if "RANK" in name)}
        write(place / f"rank-{ranks.rank}.json", facts)
        task.module.forward = faulty = Faulty(task, ranks.rank, fault, place)  # type: ignore[method-assign]
        result = loop.train(task, config, RunFolder(place / "toy"), ranks=ranks)
        write(place / f"rank-{ranks.rank}.json", {**facts, "seen": faulty.seen})
    return result


def write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value))


def fail_early(folder: str) -> dict[str, Any]:
    """Rank 1 fails before it meets rank 0."""
    from tts_train.training import ranks

    number = ranks._seat[0].rank
    write(Path(folder) / f"rank-{number}.json", {"pid": os.getpid()})
    if number == 1:
        while not (Path(folder) / "rank-0.json").exists():
            time.sleep(0.05)
        raise ValueError("not rank 1")
    with joined(toy_config(processes=2, accumulation=2)):
        return {}
