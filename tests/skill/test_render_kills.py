"""Rendering on a disk that fails at any call: the same wavs after the same again, spoken by the real packaged voice.

The voice is loaded once and every run is a fork of that moment: what is tested is the disk.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import disk_faults
import kills
from system_calls import unsynced
from tts_train.backends import backend
from tts_train.config import TrainConfig
from tts_train.files import sweep, write_synced
from tts_train.probe.render import render_run
from tts_train.training.run import RunFolder

pytestmark = pytest.mark.faults

CONFIG = {"voice": "v", "run": "r", "backend": "piper", "dataset": "none", "epochs": 1, "lr": 1e-5, "threads": 1}


def render(place: Path) -> None:
    """As probe_run does, in the lock that it holds."""
    sweep(place / "artifacts/tts/r/renders")
    render_run(str(place), "r", str(place / "probe.yaml"), [0, 1])


def outcome(place: Path) -> dict[str, object]:
    return {
        name: content
        for name, content in kills.everything(place / "artifacts/tts/r/renders").items()
        if not name.endswith("rendering.json")
    }


def test_a_render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    torch.set_num_threads(1)
    made = tmp_path / "made"
    run = RunFolder(made / "artifacts/tts/r")
    run.start(TrainConfig.model_validate(CONFIG), {"base": {"sha256": "of-the-base"}})
    info = {"epoch": 1, "step": 1, "sum_lr": 0.0, "drift": 0.0}
    run.publish(1, lambda folder: write_synced(folder / "weights.safetensors", b"w"), info)
    (made / "probe.yaml").write_text("name: tiny\nlanguage: en\nitems:\n  - {id: one, text: Up.}\n")
    speaker = backend("piper").load_speaker("packaged", None, 1, {})
    monkeypatch.setattr("tts_train.backends.piper.load_speaker", lambda *_given: speaker)

    def prepare(place: Path) -> Any:
        return shutil.copytree(made, place)

    seen = disk_faults.sweep("probe: render", render, outcome, tmp_path, prepare=prepare, coarser=2, warm=True)
    renders = outcome(tmp_path / "whole/it")
    assert sorted(name.partition("/")[2] for name in renders) == [
        *("epoch-000/one.wav", "epoch-000/render.json", "epoch-001/one.wav", "epoch-001/render.json", "key.json")
    ]
    assert any("/tb/" in call.path for call in seen.calls)
    assert unsynced(seen.calls) == []
