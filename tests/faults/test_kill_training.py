"""SIGKILL at every I/O call of a run with two epochs, then the same command again: identical weights.

A hundred random kills miss what one crash at a particular call shows, so every call is a crash point. Torch is
imported once and each run is a fork. `--exhaustive` (TTS_TRAIN_EXHAUSTIVE=1) takes every point, otherwise every
fourth, starting from a day's offset so that the points rotate.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.utils.tensorboard.writer

from toy import ToyTask, toy_config
from tts_train.files import sha256_file
from tts_train.training import loop
from tts_train.training.metrics import read_metrics
from tts_train.training.run import RunFolder

pytestmark = pytest.mark.faults

CALLS = ("open", "write", "fsync", "replace", "rename", "mkdir", "unlink")
STRIDE = 1 if os.environ.get("TTS_TRAIN_EXHAUSTIVE") else 4


def in_child(work: Callable[[], object], crash_at: int | None = None) -> tuple[int, int]:
    """Run `work` in a fork that kills itself before I/O call `crash_at`. Returns (wait status, calls made)."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        made = 0
        tell = os.write

        def counted(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **named: object) -> object:
                nonlocal made
                made += 1
                if made == crash_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **named)

            return call

        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        try:
            work()
            tell(write, str(made).encode())
            os._exit(0)
        except BaseException:  # noqa: BLE001  the fork must not fall back into pytest
            os._exit(1)
    os.close(write)
    status = os.waitpid(pid, 0)[1]
    calls = int(os.read(read, 20) or 0)
    os.close(read)
    return status, calls


def train(folder: Path) -> None:
    loop.train(ToyTask(), toy_config(save_every_steps=4), RunFolder(folder))


def digests(folder: Path) -> list[str]:
    run = RunFolder(folder)
    return [sha256_file(run.path / f"epochs/epoch-{epoch:03d}/weights.safetensors") for epoch in (1, 2)]


def test_a_kill_at_any_io_call_changes_nothing(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    status, calls = in_child(lambda: train(tmp_path / "whole"))
    assert status == 0
    expected = digests(tmp_path / "whole")
    points = range(1 + int(time.time() // 86400) % STRIDE, calls + 1, STRIDE)

    for point in points:
        folder = tmp_path / f"killed-{point}"
        status, _ = in_child(lambda folder=folder: train(folder), crash_at=point)
        assert os.WIFSIGNALED(status), f"call {point} was not reached"
        status, _ = in_child(lambda folder=folder: train(folder))
        assert status == 0, f"the run could not resume after a kill at I/O call {point}"
        assert digests(folder) == expected, f"a kill at I/O call {point} changed the weights"
        steps = [row["step"] for row in read_metrics(folder / "metrics.jsonl", "step")]
        assert steps == list(range(1, 13)), f"a kill at I/O call {point} left steps {steps} in metrics.jsonl"
        leftovers = [path.name for path in folder.rglob(".tmp-*")]
        assert leftovers == [], f"a kill at I/O call {point} left {leftovers} behind"
    print(f"killed at {len(points)} of {calls} I/O calls")
