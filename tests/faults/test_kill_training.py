"""A run of two epochs on a disk that fails at any call: identical weights after the same command again.

A hundred random kills miss what one crash at a particular call shows, so every system call is a point, TensorBoard's
too. Torch is imported and warm, and each run is a fork: a tenth of a second.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

import disk_faults
from system_calls import unsynced, watched
from toy import ToyTask, toy_config
from tts_train.files import sha256_file
from tts_train.training import loop
from tts_train.training.metrics import read_metrics
from tts_train.training.run import RunFolder

pytestmark = pytest.mark.faults


def train(folder: Path) -> None:
    loop.train(ToyTask(), toy_config(save_every_steps=4), RunFolder(folder))


def outcome(folder: Path) -> dict[str, object]:
    """Weights of published epochs, how often each step is told, and what was left behind."""
    found: dict[str, object] = {str(path): sha256_file(folder / path) for path in _weights(folder)}
    found |= Counter(f"step {row['step']}" for row in read_metrics(folder / "metrics.jsonl", "step"))
    return found | {str(path.relative_to(folder)): "left" for path in folder.rglob(".tmp-*")}


def _weights(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.glob("epochs/epoch-*/weights.safetensors")]


@pytest.fixture(autouse=True, scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What torch imports late is imported before the forks."""
    torch.set_num_threads(1)
    train(tmp_path_factory.mktemp("warm"))


def test_a_kill_at_any_call_changes_nothing(tmp_path: Path) -> None:
    seen = disk_faults.sweep("training (toy)", train, outcome, tmp_path, faults=["kill"], coarser=2)
    assert any("events.out.tfevents" in call.path for call in seen.calls)
    assert len(outcome(tmp_path / "whole/it")) == 2 + 12


def test_a_full_disk_is_told_and_costs_nothing(tmp_path: Path) -> None:
    disk_faults.sweep("training (toy)", train, outcome, tmp_path, faults=["full", "short"], coarser=4)


def test_nothing_is_published_before_it_is_flushed(tmp_path: Path) -> None:
    seen = watched(lambda: train(tmp_path), tmp_path)
    renamed = {call.path for call in seen.calls if call.name.startswith("rename")}
    assert renamed >= {"epochs/epoch-001", "epochs/epoch-002", "state/state.pt", "status.json", "metrics.jsonl"}
    assert unsynced(seen.calls) == []


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """Sixteen kilobytes are left: enough for the check before training, which knows weights and states alone."""

    def body() -> None:
        from tts_train.output import answer_of

        def run() -> dict[str, object]:
            train(tmp_path)
            return {}

        (tmp_path / "filler").write_bytes(bytes(240_000))
        answer, code = answer_of("train-local", run)
        assert code == disk_faults.DISK, answer
        published = outcome(tmp_path)
        assert not any(".tmp-" in name or "epoch-002" in name for name in published), published
        (tmp_path / "filler").unlink()
        train(tmp_path)
        assert len(outcome(tmp_path)) == 2 + 12

    disk_faults.mounted(tmp_path, body, megabytes=0.25)
