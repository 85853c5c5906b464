"""SIGKILL while a Qwen3-TTS run saves its state and publishes an epoch, then the same again: identical weights.

The task is loaded once, each run is a fork of that moment: what is tested is the disk. One step makes an epoch; the
state is saved after it, before it is published, and after.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kills
from tts_train.audio import Audio, write_audio
from tts_train.backends import backend
from tts_train.config import TrainConfig
from tts_train.files import sha256_file
from tts_train.training import loop
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

pytestmark = pytest.mark.faults

EPOCHS = 2
FILES = (
    "model.safetensors",
    "config.json",
    "speaker_encoder.safetensors",
    "voice.json",
    "speech_tokenizer/config.json",
)


@pytest.fixture(scope="module")
def loaded(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, TrainConfig]:
    """A task on two short clips, ready to train."""
    import torch.utils.tensorboard.writer

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("kills")
    rng = np.random.default_rng(0)
    write_audio(folder / "ref.wav", Audio((rng.standard_normal(36000) * 0.1).astype(np.float32), 24000))
    rows = [
        {
            "id": name,
            "audio": "ref.wav",
            "ref_audio": "ref.wav",
            "text": "Hello there.",
            "audio_codes": rng.integers(0, 2048, (5, 16)).tolist(),
            "speaker": "ann",
            "language": "en",
        }
        for name in ("a", "b")
    ]
    manifest = folder / "train_manifest_qwen3.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = TrainConfig.model_validate(
        {
            "voice": "ann",
            "backend": "qwen3",
            "dataset": str(manifest),
            "base": str(tiny_base),
            "epochs": EPOCHS,
            "batch_size": 2,
            "lr": 1e-3,
            "threads": 1,
            "save_every_steps": 1,
            "schedule": {"warmup_steps": 0},
        }
    )
    return backend("qwen3").load_task(config, Workspace(folder)), config


def train(loaded: tuple[Any, TrainConfig], folder: Path) -> None:
    task, config = loaded
    loop.train(task, config, RunFolder(folder))


def digests(folder: Path) -> dict[str, str]:
    return {
        f"{epoch}/{name}": sha256_file(folder / f"epochs/epoch-{epoch:03d}" / name)
        for epoch in range(1, EPOCHS + 1)
        for name in FILES
    }


def test_a_kill_while_saving_or_publishing_changes_nothing(loaded: Any, tmp_path: Path) -> None:
    started = time.monotonic()
    status, calls = kills.in_child(lambda: train(loaded, tmp_path / "whole"))
    seconds = time.monotonic() - started
    assert status == 0
    expected = digests(tmp_path / "whole")
    assert expected["1/model.safetensors"] != expected["2/model.safetensors"]

    # All of the first epoch's calls, that is half of them: a state save, the publication, the next state save.
    stride = kills.STRIDE if kills.STRIDE == 1 else 3 * kills.STRIDE
    crashes = list(kills.points(1, calls // EPOCHS + 5, stride))
    for point in crashes:
        folder = tmp_path / f"killed-{point}"
        status, _ = kills.in_child(lambda folder=folder: train(loaded, folder), crash_at=point)
        assert os.WIFSIGNALED(status), f"call {point} was not reached"
        _finishes_as_if_nothing_had_happened(loaded, folder, expected, f"a kill at I/O call {point}")

    draw = random.Random(kills.day())
    for number in range(5):
        folder = tmp_path / f"random-{number}"
        delay = draw.uniform(0, seconds)
        kills.killed_after(lambda folder=folder: train(loaded, folder), delay)
        _finishes_as_if_nothing_had_happened(loaded, folder, expected, f"a kill after {delay:.2f} s")
    print(f"killed at {len(crashes)} of {calls} I/O calls and 5 times at random")


def _finishes_as_if_nothing_had_happened(loaded: Any, folder: Path, expected: dict[str, str], what: str) -> None:
    status, _ = kills.in_child(lambda: train(loaded, folder))
    assert status == 0, f"the run could not resume after {what}"
    assert digests(folder) == expected, f"{what} changed a published epoch"
    leftovers = [path.name for path in folder.rglob(".tmp-*")]
    assert leftovers == [], f"{what} left {leftovers} behind"
