"""A Qwen3-TTS run saves its state and publishes an epoch on a disk that fails, then the same again: identical weights.

The task is loaded once, each run is a fork of that moment: what is tested is the disk. One step makes an epoch; the
state is saved after it, before it is published, and after.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import disk_faults
import kills
from system_calls import unsynced
from tts_train.audio import Audio, write_audio
from tts_train.backends import backend
from tts_train.config import TrainConfig
from tts_train.files import sha256_file
from tts_train.training import loop
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

pytestmark = pytest.mark.faults

EPOCHS = 2
FILES = ("model.safetensors", "config.json", "speaker_encoder.safetensors", "voice.json")


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


def outcome(folder: Path) -> dict[str, object]:
    """What published epochs are made of, and what was left behind."""
    found = {path: sha256_file(path) for path in folder.glob("epochs/epoch-*/**/*") if path.name in FILES}
    return {str(path.relative_to(folder)): digest for path, digest in found.items()} | {
        str(path.relative_to(folder)): "left" for path in folder.rglob(".tmp-*")
    }


def test_a_disk_that_fails_while_saving_or_publishing_changes_nothing(loaded: Any, tmp_path: Path) -> None:
    # All of the first epoch's calls, that is half of them: a state save, the publication, the next state save.
    seen = disk_faults.sweep(
        "training (tiny Qwen3-TTS)",
        lambda folder: train(loaded, folder),
        outcome,
        tmp_path,
        faults=["kill", "full"] if kills.EXHAUSTIVE else ["kill"],
        coarser=8,
        rows_apart=False,
        warm=True,
        from_to=(0.0, 0.55),
    )
    expected = outcome(tmp_path / "whole/it")
    assert expected["epochs/epoch-001/model.safetensors"] != expected["epochs/epoch-002/model.safetensors"]
    assert len(expected) == EPOCHS * len([*FILES, "the codec's config.json", "and its model.safetensors"])
    assert any(call.name == "renameat" and call.path.endswith("/model.safetensors") for call in seen.calls)
    assert unsynced(seen.calls) == []
