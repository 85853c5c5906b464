"""A shipped Piper voice, by the real speaker: sample for sample what was rendered, without run, workspace or base."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import shipping
from tts_train.backends.piper import onnx_voice, weights
from tts_train.config import TrainConfig
from tts_train.errors import InputUnusable
from tts_train.files import read_json, sha256_file
from tts_train.probe.render import render_run
from tts_train.training.run import RunFolder
from tts_train.work import voices
from tts_train.work.export import export
from tts_train.work.ship import ship
from tts_train.work.speak import infer
from tts_train.work.voices_import import import_voice
from tts_train.work.watermark import examine
from tts_train.workspace import Workspace

CARD = "source: test\nlicence: CC0-1.0\nspeaker: joe\nconsent_basis: synthetic voice\nlanguage: en\n"
PROBE = "name: tiny\nlanguage: en\nitems:\n  - {id: one, text: Good luck.}\n  - {id: two, text: The long path.}\n"


@pytest.fixture
def run(tmp_path: Path, voice: Any, base: Any, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """One epoch, a little off the base, rendered; the base is a file of its own."""
    shipping.workers_in_this_process(monkeypatch)
    root = tmp_path / "workspace"
    (root / "datasets/joe").mkdir(parents=True)
    (root / "datasets/joe/dataset.yaml").write_text(CARD)
    (root / "probe.yaml").write_text(PROBE)
    for file in (voice.file, onnx_voice.settings_beside(voice.file)):
        shutil.copyfile(file, root / file.name)
    settings = {"voice": "joe", "run": "joe", "backend": "piper", "dataset": "datasets/joe/train_manifest.jsonl"}
    config = {**settings, "base": voice.file.name, "epochs": 1, "lr": 1e-5, "threads": 1}
    folder = RunFolder(root / "artifacts/tts/joe")
    folder.start(TrainConfig.model_validate(config), {"base": {"sha256": voice.sha256}})

    def export(place: Path) -> None:
        weights.save(base, place, voice.sha256)
        state = weights.load(place, voice.sha256)
        (place / weights.FILE).unlink()
        torch.manual_seed(0)
        moved = type("Moved", (), {"state_dict": lambda _: {name: value * 1.01 for name, value in state.items()}})()
        weights.save(moved, place, voice.sha256)

    folder.publish(1, export, {"epoch": 1, "step": 1, "sum_lr": 0.0, "drift": 0.01})
    rendered = render_run(str(root), "joe", str(root / "probe.yaml"), [0, 1])
    shipping.measured(folder.path / "renders" / rendered["key"] / "epoch-001", 1)
    return folder


def test_the_package_alone_says_what_was_judged(run: RunFolder, tmp_path: Path) -> None:
    workspace = Workspace(run.path.parents[2])
    [key] = [path for path in (run.path / "renders").iterdir() if path.is_dir()]
    judged = sha256_file(key / "epoch-001/two.wav")
    assert judged != sha256_file(key / "epoch-000/two.wav")

    told = ship(workspace, "joe", 1)

    assert told["verified"] is True
    assert told["base_licence"]["name"] == "unknown"  # no MODEL_CARD lies beside the copy
    voices.pack(workspace, "joe-epoch-001", tmp_path / "joe.zip")
    shutil.rmtree(workspace.root)
    away = Workspace(tmp_path)
    import_voice(away, tmp_path / "joe.zip", "away")
    how: dict[str, Any] = {"text": "The long path.", "epoch": None, "seed": None, "setting": "{}"}
    said = infer(away, "away", tmp_path / "two.wav", **how)
    assert (said["audio_sha256"], said["as_judged"]) == (judged, True)
    assert export(away, "away", tmp_path / "out", epoch=None)["max_abs_diff"] < 1e-4  # by Piper's own runtime
    assert set(shipping.hashes(tmp_path / "out")) == {"joe.onnx", "joe.onnx.json"}
    marked = infer(away, "away", tmp_path / "marked.wav", watermark=True, **how)
    assert (marked["audio_seconds"], marked["as_judged"]) == (said["audio_seconds"], False)
    assert [examine(str(tmp_path / name))["marked"] for name in ("two.wav", "marked.wav")] == ["no", "yes"]


def test_an_epoch_of_another_base_does_not_speak(run: RunFolder, tmp_path: Path) -> None:
    told = ship(Workspace(run.path.parents[2]), "joe", 1)
    package = Path(told["voice"])
    name = read_json(package / "voice.json")["base"]["path"]
    with (package / name).open("ab") as file:
        file.write(b"\x7a\x00")  # an empty metadata string: still a model, another file
    shipping.reseal(package)

    with pytest.raises(InputUnusable, match="another base voice"):
        infer(Workspace(tmp_path), str(package), tmp_path / "x.wav", text="Hi.", epoch=None, seed=None, setting="{}")


def test_the_packaged_voice_is_named_with_its_licence(tmp_path: Path) -> None:
    from tts_train.backends import backend

    packed = backend("piper").package_base("packaged")

    assert [path.name for path in packed.files] == ["en_US-joe-medium.onnx", "en_US-joe-medium.onnx.json", "MODEL_CARD"]
    assert (packed.name, packed.path) == ("en_US-joe-medium", "en_US-joe-medium.onnx")
    assert packed.licence.name == "CC0-1.0"
    assert "lessac" in packed.licence.note
