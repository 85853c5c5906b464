"""A real Piper voice is trained and exported on a disk that fails, then the same again: the same weights and voice.

Sixteen million weights and their moments go to disk: a run takes some seconds, so this is for --exhaustive alone. The
loop's own calls are tried by the toy in tests/faults every time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import disk_faults
import kills
import piper_voices
from system_calls import unsynced
from tts_train.backends.piper import export, model, parity
from tts_train.files import sha256_file
from tts_train.training import loop
from tts_train.training.run import RunFolder

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not kills.EXHAUSTIVE, reason="some minutes: run.sh test --exhaustive"),
]


def test_training(load_task: Any, manifest: Path, tmp_path: Path) -> None:
    settings = piper_voices.config(manifest, batch_size=5)
    task = load_task(batch_size=5)

    def train(folder: Path) -> None:
        loop.train(task, settings, RunFolder(folder))

    def outcome(folder: Path) -> dict[str, object]:
        weights = {str(path.relative_to(folder)): sha256_file(path) for path in folder.glob("epochs/epoch-*/*.safe*")}
        return weights | {str(path.relative_to(folder)): "left" for path in folder.rglob(".tmp-*")}

    kills.in_child(lambda: train(tmp_path / "warm"))
    seen = disk_faults.sweep("training (piper)", train, outcome, tmp_path, faults=["kill", "full"], rows_apart=False)
    assert list(outcome(tmp_path / "whole/it")) == ["epochs/epoch-001/weights.safetensors"]
    assert unsynced(seen.calls) == []


def test_an_export(voice: Any, base: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is written once, and what it says is measured elsewhere: here it is the disk."""
    state = base.state_dict()
    data = export.rewritten(voice, state).SerializeToString()
    agreed = parity.measure(data, model.build(voice.architecture, state), voice.settings)
    monkeypatch.setattr(parity, "measure", lambda *_given: agreed)

    class Graph:
        def SerializeToString(self) -> bytes:  # noqa: N802  protobuf's name
            return data

    monkeypatch.setattr(export, "rewritten", lambda *_given: Graph())
    monkeypatch.setattr(model, "build", lambda *_given: None)

    def work(place: Path) -> None:
        export.export_voice(voice, state, place / "out", "joe")

    def outcome(place: Path) -> dict[str, object]:
        return {path.name: sha256_file(path) for path in (place / "out").glob("*")}

    disk_faults.sweep("export (piper)", work, outcome, tmp_path, prepare=lambda place: place.mkdir())
    assert sorted(outcome(tmp_path / "whole/it")) == ["joe.onnx", "joe.onnx.json"]
