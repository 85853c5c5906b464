"""The whole way of a Qwen3-TTS voice on a tiny base: clips to codes, training, probe renders, speaking, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kills
from tts_train.audio import Audio, read_audio, write_audio
from tts_train.backends.qwen3.convert import convert
from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, InputUnusable
from tts_train.files import read_json
from tts_train.probe.render import render_run
from tts_train.training.metrics import read_metrics
from tts_train.training.run import RunFolder
from tts_train.work.export import export_epoch
from tts_train.work.speak import speak
from tts_train.work.train import plan, train
from tts_train.workspace import Workspace

TEXTS = ("Hello there.", "The quick brown fox jumps.", "She said no.", "One two three four.", "The path was muddy.")
CARD = "source: test\nlicence: CC0-1.0\nspeaker: ann\nconsent_basis: synthetic voice\nlanguage: en\n"
PROBE = """
name: small
language: en
seeds: [0]
items:
  - {id: one, text: Hello there.}
"""


@pytest.fixture(scope="module")
def place(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a coded dataset of five clips."""
    root = tmp_path_factory.mktemp("workspace")
    dataset = root / "datasets/ann"
    (root / "configs/tts").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number, text in enumerate(TEXTS):
        seconds = 1.0 + 0.2 * number
        tone = np.sin(np.arange(int(24000 * seconds)) * (0.03 + 0.01 * number))
        samples = (0.2 * tone + 0.02 * rng.standard_normal(len(tone))).astype(np.float32)
        write_audio(dataset / f"clips/{number}.flac", Audio(samples, 24000))
        row = {"id": f"c{number}", "audio_file": f"clips/{number}.flac", "text": text, "speaker": "Ann"}
        rows.append({**row, "language": "en", "audio_seconds": seconds})
    (dataset / "train_manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (dataset / "dataset.yaml").write_text(CARD)
    (root / "probe.yaml").write_text(PROBE)
    convert(
        dataset / "train_manifest.jsonl",
        dataset / "train_manifest_qwen3.jsonl",
        tokenizer=str(tiny_base),
        ref=dataset / "clips/4.flac",
        workers=1,
    )
    return Workspace(root)


def config(place: Workspace, base: Path, **changes: Any) -> TrainConfig:
    settings = {
        "voice": "ann",
        "backend": "qwen3",
        "dataset": "datasets/ann/train_manifest_qwen3.jsonl",
        "base": str(base),
        "epochs": 2,
        "batch_size": 2,
        "lr": 1e-4,
        "threads": 1,
        "validation_clips": 1,
    }
    return TrainConfig.model_validate({**settings, **changes})


def run(place: Workspace, settings: TrainConfig) -> RunFolder:
    train(settings.frozen(), str(place.root), probe=False)
    return RunFolder(place.runs / settings.run)


def test_a_voice_from_clips_to_speech(place: Workspace, tiny_base: Path, tmp_path: Path) -> None:
    settings = config(place, tiny_base)
    planned = plan(settings, place)
    assert (planned["clips"], planned["steps_per_epoch"], planned["done"]) == (5, 2, False)

    folder = run(place, settings)
    info = folder.info()
    assert info["voice"] == {
        "speaker": "ann",
        "language": "english",
        "reference": "datasets/ann/clips/4.flac",
        "reference_sha256": info["voice"]["reference_sha256"],
        "attention": "sdpa",
    }
    assert [epoch.number for epoch in folder.epochs()] == [1, 2]
    for epoch in folder.epochs():
        assert set(epoch.info["validation"]) >= {"talker", "code_predictor"}
        assert epoch.info["drift"] > 0
    again = train(settings.frozen(), str(place.root), probe=False)
    assert again["trained"] == []

    rendered = render_run(str(place.root), folder.name, str(place.root / "probe.yaml"), [0, 1, 2])
    assert [epoch["rendered"] for epoch in rendered["epochs"]] == [1, 1, 1]
    key = read_json(folder.path / "renders" / rendered["key"] / "key.json")
    assert key["setting"]["voice"]["language"] == "english"

    said = speak(
        str(place.root), folder.name, 2, "Hello there.", str(tmp_path / "said.wav"), 0, dict(key["setting"]["knobs"])
    )
    probe_wav = folder.path / "renders" / rendered["key"] / "epoch-002/one.wav"
    assert Path(said["file"]).read_bytes() == probe_wav.read_bytes()
    assert said["threads"] == 1
    assert said["stopped_by"] in ("eos", "no-eos")

    exported = export_epoch(str(place.root), folder.name, 2, str(tmp_path / "voices"))
    assert exported["epoch"] == 2
    found = (tmp_path / "voices").rglob("model.safetensors")
    [weights] = [path for path in found if path.parent.name != "speech_tokenizer"]
    assert weights.stat().st_size == (folder.path / "epochs/epoch-002/model.safetensors").stat().st_size


def test_a_child_starts_from_its_parent_s_epoch(place: Workspace, tiny_base: Path) -> None:
    from tts_train.backends.qwen3.checkpoint import read_weights

    parent = run(place, config(place, tiny_base, run="parent", epochs=1))
    child = config(
        place,
        tiny_base,
        run="child",
        epochs=1,
        lr=1e-12,
        schedule={"warmup_steps": 0},
        parent={"run": "parent", "epoch": 1, "move": "train-more", "from_weights": True},
    )
    weights = [read_weights(folder.epoch(1).folder) for folder in (parent, run(place, child))]
    name = "talker.model.layers.0.self_attn.q_proj.weight"
    assert np.allclose(weights[0][name].numpy(), weights[1][name].numpy(), atol=1e-9)


def test_adapters_train_and_publish_whole_weights(place: Workspace, tiny_base: Path) -> None:
    from tts_train.backends.qwen3.checkpoint import read_weights

    settings = config(place, tiny_base, run="lora", epochs=1, lr=1e-3, qwen3={"lora": {"rank": 4}})
    folder = run(place, settings)
    whole = read_weights(folder.epoch(1).folder)
    plain = read_weights(run(place, config(place, tiny_base, run="plain", epochs=1)).epoch(1).folder)
    assert whole.keys() == plain.keys()
    assert folder.epoch(1).info["drift"] > 0


@kills.every_other_day(1)
def test_two_processes_train_what_one_trains(place: Workspace, tiny_base: Path) -> None:
    from tts_train.backends.qwen3.checkpoint import read_weights

    settings = {"epochs": 1, "batch_size": 1, "accumulation": 2, "schedule": {"warmup_steps": 0}}
    alone = run(place, config(place, tiny_base, run="alone", **settings)).epoch(1)
    together = run(place, config(place, tiny_base, run="together", processes=2, **settings)).epoch(1)

    for part in ("loss", "validation"):
        assert together.info[part] == pytest.approx(alone.info[part], abs=1e-5)
    one, two = read_weights(alone.folder), read_weights(together.folder)
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-4
    rows = [row["loss"] for row in read_metrics(place.runs / "together/metrics.jsonl", "step")]
    assert rows == pytest.approx(
        [r["loss"] for r in read_metrics(place.runs / "alone/metrics.jsonl", "step")], abs=1e-5
    )


def test_changed_codes_stop_a_resume(place: Workspace, tiny_base: Path) -> None:
    settings = config(place, tiny_base, run="changed", epochs=1)
    run(place, settings)
    manifest = place.root / "datasets/ann/train_manifest_qwen3.jsonl"
    before = manifest.read_text()
    try:
        rows = [json.loads(line) for line in before.splitlines()]
        rows[0]["audio_codes"][0][0] ^= 1
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises((ConfigError, InputUnusable), match=r"changed|no longer|other settings"):
            train(settings.model_copy(update={"epochs": 2}).frozen(), str(place.root), probe=False)
    finally:
        manifest.write_text(before)


def test_what_cannot_be_trained_is_said_before(place: Workspace, tiny_base: Path) -> None:
    for changes, words in (
        ({"qwen3": {"speaker": "bob"}}, "no speaker 'bob'"),
        ({"qwen3": {"language": "klingon"}}, "klingon"),
        ({"validation_clips": 5}, "validation|left"),
    ):
        with pytest.raises((ConfigError, InputUnusable), match=words):
            plan(config(place, tiny_base, **changes), place)


def test_speech_read_back_is_audio(place: Workspace, tiny_base: Path, tmp_path: Path) -> None:
    folder = run(place, config(place, tiny_base, run="audio", epochs=1))
    said = speak(str(place.root), folder.name, 0, "Hello.", str(tmp_path / "base.flac"), 1, {"max_new_tokens": 12})
    audio = read_audio(Path(said["file"]))
    assert audio.rate == 24000
    assert np.isfinite(audio.samples).all()
    assert said["audio_seconds"] == pytest.approx(audio.seconds, abs=0.01)
