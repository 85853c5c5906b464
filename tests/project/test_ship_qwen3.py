"""A shipped Qwen3-TTS voice on a tiny base: an epoch is a whole model and speaks when base and reference are gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import shipping
from tts_train.audio import Audio, write_audio
from tts_train.backends import backend
from tts_train.backends.qwen3 import base as bases
from tts_train.backends.qwen3 import checkpoint
from tts_train.backends.qwen3.vectors import speaker_vector
from tts_train.config import TrainConfig
from tts_train.files import read_json, sha256_file
from tts_train.probe.render import render_run
from tts_train.training.run import RunFolder
from tts_train.work.export import export
from tts_train.work.ship import ship
from tts_train.work.speak import infer
from tts_train.work.voice_package import open_voice
from tts_train.workspace import Workspace

CARD = "source: test\nlicence: CC0-1.0\nspeaker: ann\nconsent_basis: synthetic voice\nlanguage: en\n"
PROBE = "name: tiny\nlanguage: en\nseeds: [0, 1]\nitems:\n  - {id: one, text: Hello there.}\n"


@pytest.fixture
def run(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """One epoch off a base in the workspace, rendered with two seeds."""
    monkeypatch.setattr("tts_train.backends.qwen3.speaker.budget", lambda _tokens: 8)
    shipping.workers_in_this_process(monkeypatch)
    torch.set_num_threads(1)
    root = tmp_path / "workspace"
    (root / "datasets/ann").mkdir(parents=True)
    (root / "datasets/ann/dataset.yaml").write_text(CARD)
    (root / "probe.yaml").write_text(PROBE)
    base = Path(shutil.copytree(tiny_base, root / "tiny"))
    (base / "LICENSE").write_text(
        "                                 Apache License\n                           Version 2.0\n"
    )
    tone = 0.2 * np.sin(np.arange(3 * 24000) * 0.05) + 0.02 * np.random.default_rng(0).standard_normal(3 * 24000)
    write_audio(root / "ann.wav", Audio(tone.astype(np.float32), 24000))
    described = bases.describe(base, "tiny")
    wrapper = bases.load_model(described)
    settings = {"voice": "ann", "run": "ann", "backend": "qwen3", "dataset": "datasets/ann/train_manifest.jsonl"}
    config = {**settings, "base": "tiny", "epochs": 1, "lr": 1e-5, "threads": 1}
    facts = {"speaker": "ann", "language": "english", "attention": "sdpa", "reference": "ann.wav"}
    facts["reference_sha256"] = sha256_file(root / "ann.wav")
    folder = RunFolder(root / "artifacts/tts/ann")
    folder.start(TrainConfig.model_validate(config), {"base": {"sha256": bases.sha256(described)}, "voice": facts})

    def export(place: Path) -> dict[str, object]:
        state = wrapper.model.state_dict()
        moved = {name: value * 1.02 for name, value in state.items() if name.startswith("talker.")}
        written = checkpoint.write(
            place,
            base=described,
            weights=moved,
            speaker="ann",
            vector=speaker_vector(wrapper, root / "ann.wav"),
            voice={"speaker": "ann", "language": "english"},
            encoder=wrapper.model.speaker_encoder.state_dict(),
            dtype="float32",
        )
        return {"weights": checkpoint.WEIGHTS, **written}

    folder.publish(1, export, {"epoch": 1, "step": 1, "sum_lr": 0.0, "drift": 0.02})
    rendered = render_run(str(root), "ann", str(root / "probe.yaml"), [1])
    shipping.measured(folder.path / "renders" / rendered["key"] / "epoch-001", 1)
    return folder


def test_the_package_alone_says_what_was_judged(run: RunFolder, tmp_path: Path) -> None:
    workspace = Workspace(run.path.parents[2])
    [key] = [path for path in (run.path / "renders").iterdir() if path.is_dir()]
    judged = [sha256_file(key / f"epoch-001/one.seed-{seed}.wav") for seed in (0, 1)]
    assert judged[0] != judged[1]

    told = ship(workspace, "ann", 1)

    assert told["verified"] is True
    assert (told["base_licence"]["name"], told["base_licence"]["commercial"]) == ("Apache-2.0", True)
    export(workspace, "ann", tmp_path / "from-run", epoch=1)
    away = tmp_path / "away"
    shutil.move(told["voice"], away)
    shutil.rmtree(workspace.root)
    texts = {"text": "Hello there.", "epoch": None, "setting": "{}"}
    heard = [infer(Workspace(tmp_path), str(away), tmp_path / "x.wav", seed=seed, **texts) for seed in (None, 1)]
    assert [answer["audio_sha256"] for answer in heard] == judged
    manifest = read_json(away / "voice.json")
    assert (manifest["base"]["path"], manifest["base"]["name"]) == (None, "tiny")
    assert {
        "epoch/model.safetensors",
        "epoch/speech_tokenizer/model.safetensors",
        "reference.wav",
        "base/LICENSE",
    } <= set(manifest["files"])
    export(Workspace(tmp_path), str(away), tmp_path / "from-package", epoch=None)  # what qwen-tts loads
    assert shipping.hashes(tmp_path / "from-package") == shipping.hashes(tmp_path / "from-run") != {}


def test_a_lost_reference_keeps_no_epoch_from_shipping(run: RunFolder) -> None:
    workspace = Workspace(run.path.parents[2])
    (workspace.root / "ann.wav").unlink()

    told = ship(workspace, "ann", 1)

    assert told["verified"] is True
    assert open_voice(Path(told["voice"])).manifest.voice.reference is None


@pytest.mark.parametrize(
    ("name", "licence", "link"),
    [
        ("Qwen/Qwen3-TTS-12Hz-0.6B-Base", "Apache-2.0", "https://huggingface.co/Qwen/Qwen3-TTS-12Hz-0.6B-Base"),
        ("somebody/Qwen3-TTS-tuned", "unknown", "https://huggingface.co/somebody/Qwen3-TTS-tuned"),
    ],
)
def test_the_licence_of_a_base_that_is_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, licence: str, link: str
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    packed = backend("qwen3").package_base(name)

    assert (packed.licence.name, packed.licence.link, packed.files, packed.name) == (licence, link, (), name)
