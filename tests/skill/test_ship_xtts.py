"""A shipped XTTS voice on a tiny base: the base and the reference travel along, and no pickle runs code."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import shipping
from tts_train.audio import Audio, write_audio
from tts_train.backends.xtts import base as bases
from tts_train.backends.xtts import checkpoint, speaker
from tts_train.backends.xtts import voice as voices
from tts_train.config import TrainConfig
from tts_train.errors import InputUnusable
from tts_train.files import sha256_file
from tts_train.probe.render import render_run
from tts_train.training.run import RunFolder
from tts_train.work.export import export
from tts_train.work.ship import ship
from tts_train.work.speak import infer
from tts_train.workspace import Workspace

CARD = "source: test\nlicence: CC0-1.0\nspeaker: ann\nconsent_basis: synthetic voice\nlanguage: en\n"
PROBE = "name: tiny\nlanguage: en\nseeds: [0, 1]\nitems:\n  - {id: one, text: Hello there.}\n"


@pytest.fixture(autouse=True)
def one_thread(tiny_xtts: Path):
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    speaker._process.clear()


@pytest.fixture
def run(tmp_path: Path, tiny_xtts: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """One epoch off a base in the workspace, rendered with two seeds."""
    shipping.workers_in_this_process(monkeypatch)
    root = tmp_path / "workspace"
    (root / "datasets/ann").mkdir(parents=True)
    (root / "datasets/ann/dataset.yaml").write_text(CARD)
    (root / "probe.yaml").write_text(PROBE)
    shutil.copytree(tiny_xtts, root / "xtts")
    (root / "xtts/LICENSE.txt").write_text("Coqui Public Model License 1.0.0\n")
    tone = 0.2 * np.sin(np.arange(3 * 24000) * 0.05) + 0.02 * np.random.default_rng(0).standard_normal(3 * 24000)
    write_audio(root / "ann.wav", Audio(tone.astype(np.float32), 24000))
    settings = {"voice": "ann", "run": "ann", "backend": "xtts", "dataset": "datasets/ann/train_manifest.jsonl"}
    config = {**settings, "base": "xtts", "epochs": 1, "lr": 1e-5, "threads": 1}
    digest = bases.sha256(bases.describe(root / "xtts", "tiny"))
    facts = {"language": "en", "reference": "ann.wav", "reference_sha256": sha256_file(root / "ann.wav")}
    folder = RunFolder(root / "artifacts/tts/ann")
    folder.start(TrainConfig.model_validate(config), {"base": {"sha256": digest}, "voice": facts})
    stored = voices.read_model(tiny_xtts / "model.pth")
    moved = {name: value * 1.02 for name, value in stored.items() if name.startswith(checkpoint.GPT)}
    info = {"epoch": 1, "step": 1, "sum_lr": 0.0, "drift": 0.02}
    folder.publish(1, lambda place: checkpoint.write(place, moved, digest, "float32"), info)
    rendered = render_run(str(root), "ann", str(root / "probe.yaml"), [1])
    shipping.measured(folder.path / "renders" / rendered["key"] / "epoch-001", 1)
    return folder


def said(package: Path, out: Path, **changes: Any) -> dict[str, Any]:
    choices = {"text": "Hello there.", "epoch": None, "seed": None, "setting": "{}", **changes}
    return infer(Workspace(out.parent), str(package), out, **choices)


def test_the_package_alone_says_what_was_judged(run: RunFolder, tmp_path: Path) -> None:
    workspace = Workspace(run.path.parents[2])
    [key] = [path for path in (run.path / "renders").iterdir() if path.is_dir()]
    judged = [sha256_file(key / f"epoch-001/one.seed-{seed}.wav") for seed in (0, 1)]

    told = ship(workspace, "ann", 1)

    assert told["verified"] is True
    assert told["base_licence"]["commercial"] is False
    assert "NON-COMMERCIAL" in told["text"]
    export(workspace, "ann", tmp_path / "from-run", epoch=1)
    away = tmp_path / "away"
    shutil.move(told["voice"], away)
    shutil.rmtree(workspace.root)
    speaker._process.clear()
    heard = [said(away, tmp_path / f"{seed}.wav", seed=seed) for seed in (None, 1, 2)]
    assert [answer["audio_sha256"] for answer in heard[:2]] == judged
    assert [answer["as_judged"] for answer in heard] == [True, True, False]
    names = {path.relative_to(away).as_posix() for path in away.rglob("*") if path.is_file()}
    assert {"reference.wav", "base/LICENSE.txt", *(f"base/{name}" for name in bases.FILES)} <= names
    assert "non-commercial use only" in (away / "LICENSE.md").read_text()
    export(Workspace(tmp_path), str(away), tmp_path / "from-package", epoch=None)  # what coqui-tts loads
    assert shipping.hashes(tmp_path / "from-package") == shipping.hashes(tmp_path / "from-run") != {}


def test_code_in_a_pickle_of_a_package_does_not_run(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(ship(Workspace(run.path.parents[2]), "ann", 1)["voice"])

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model": Evil()}, package / "base/model.pth")
    shipping.reseal(package)
    speaker._process.clear()

    with pytest.raises(InputUnusable, match="refused: reading it would call"):
        said(package, tmp_path / "x.wav")

    assert not (tmp_path / "ran").exists()
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    torch.load(package / "base/model.pth", weights_only=False)
    assert (tmp_path / "ran").exists(), "the file would not have run anything anyway"
