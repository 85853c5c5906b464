"""SIGKILL at every I/O call of a run with two epochs, then the same command again: identical weights.

A hundred random kills miss what one crash at a particular call shows, so every call is a crash point. Torch is
imported once and each run is a fork. `--exhaustive` (TTS_TRAIN_EXHAUSTIVE=1) takes every point, otherwise every
fourth, starting from a day's offset so that the points rotate.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch.utils.tensorboard.writer

import kills
from toy import ToyTask, toy_config
from tts_train.files import sha256_file
from tts_train.training import loop
from tts_train.training.metrics import read_metrics
from tts_train.training.run import RunFolder

pytestmark = pytest.mark.faults


def train(folder: Path) -> None:
    loop.train(ToyTask(), toy_config(save_every_steps=4), RunFolder(folder))


def digests(folder: Path) -> list[str]:
    run = RunFolder(folder)
    return [sha256_file(run.path / f"epochs/epoch-{epoch:03d}/weights.safetensors") for epoch in (1, 2)]


def test_a_kill_at_any_io_call_changes_nothing(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    status, calls = kills.in_child(lambda: train(tmp_path / "whole"))
    assert status == 0
    expected = digests(tmp_path / "whole")
    points = kills.points(1, calls)

    for point in points:
        folder = tmp_path / f"killed-{point}"
        status, _ = kills.in_child(lambda folder=folder: train(folder), crash_at=point)
        assert os.WIFSIGNALED(status), f"call {point} was not reached"
        status, _ = kills.in_child(lambda folder=folder: train(folder))
        assert status == 0, f"the run could not resume after a kill at I/O call {point}"
        assert digests(folder) == expected, f"a kill at I/O call {point} changed the weights"
        steps = [row["step"] for row in read_metrics(folder / "metrics.jsonl", "step")]
        assert steps == list(range(1, 13)), f"a kill at I/O call {point} left steps {steps} in metrics.jsonl"
        leftovers = [path.name for path in folder.rglob(".tmp-*")]
        assert leftovers == [], f"a kill at I/O call {point} left {leftovers} behind"
    print(f"killed at {len(points)} of {calls} I/O calls")
