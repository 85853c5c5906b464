"""The whole way of an XTTS-v2 voice on a tiny base: clips, training, probe renders, speaking, export, SIGKILL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
from tts_train.errors import ConfigError, Diverged, InputUnusable
from tts_train.files import read_json, sha256_file
from tts_train.probe.render import render_run
from tts_train.training import launch, loop
from tts_train.training.metrics import read_metrics
from tts_train.training.run import RunFolder
from tts_train.training.status import read_status
from tts_train.work.export import export_epoch
from tts_train.work.speak import speak
from tts_train.work.train import plan, train
from tts_train.workspace import Workspace

TEXTS = ("hello there", "the dog jumps", "she said no", "one two three", "the path was muddy", "no")
CARD = "source: test\nlicence: CC0-1.0\nspeaker: ann\nconsent_basis: synthetic voice\nlanguage: en\n"
PROBE = """
name: small
language: en
seeds: [0]
items:
  - {id: one, text: Hello there.}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with six clips, one of them too short to train on."""
    root = tmp_path_factory.mktemp("workspace")
    dataset = root / "datasets/ann"
    (root / "configs/tts").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number, text in enumerate(TEXTS):
        seconds = 0.3 if text == "no" else 4.2 - 0.6 * number
        tone = np.sin(np.arange(int(24000 * seconds)) * (0.03 + 0.01 * number))
        samples = (0.2 * tone + 0.02 * rng.standard_normal(len(tone))).astype(np.float32)
        write_audio(dataset / f"clips/{number}.flac", Audio(samples, 24000))
        row = {"id": f"c{number}", "audio_file": f"clips/{number}.flac", "text": text, "speaker": "Ann"}
        rows.append({**row, "language": "en", "audio_seconds": seconds})
    (dataset / "train_manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (dataset / "dataset.yaml").write_text(CARD)
    (root / "probe.yaml").write_text(PROBE)
    return Workspace(root)


def config(base: Path, **changes: Any) -> TrainConfig:
    settings = {
        "voice": "ann",
        "backend": "xtts",
        "dataset": "datasets/ann/train_manifest.jsonl",
        "base": str(base),
        "epochs": 3,
        "batch_size": 2,
        "lr": 5e-4,
        "threads": 1,
        "validation_clips": 1,
        "schedule": {"warmup_steps": 1},
    }
    return TrainConfig.model_validate({**settings, **changes})


def run(place: Workspace, settings: TrainConfig) -> RunFolder:
    train(settings.frozen(), str(place.root), probe=False)
    return RunFolder(place.runs / settings.run)


def test_a_voice_from_clips_to_speech(place: Workspace, tiny_xtts: Path, tmp_path: Path) -> None:
    settings = config(tiny_xtts)
    planned = plan(settings, place)
    assert planned["clips"] == 5
    assert any("optimizer steps" in warning for warning in planned["warnings"])

    folder = run(place, settings)
    info = folder.info()
    assert info["voice"]["language"] == "en"
    assert info["voice"]["reference"] == "datasets/ann/clips/0.flac"
    assert info["rejected"] == {"too-short": 1}
    assert info["clips"] == 4
    losses = [epoch.info["loss"]["loss"] for epoch in folder.epochs()]
    validation = [epoch.info["validation"]["mel"] for epoch in folder.epochs()]
    assert len(losses) == 3
    assert losses == sorted(losses, reverse=True)
    assert np.isfinite(validation).all()

    rendered = render_run(str(place.root), folder.name, str(place.root / "probe.yaml"), [0, 1, 2, 3])
    assert [epoch["rendered"] for epoch in rendered["epochs"]] == [1, 1, 1, 1]
    renders = folder.path / "renders" / rendered["key"]
    waves = [sha256_file(renders / f"epoch-00{number}/one.wav") for number in range(4)]
    assert len(set(waves)) == 4
    key = read_json(renders / "key.json")
    assert key["setting"]["voice"]["language"] == "en"

    said = speak(
        str(place.root), folder.name, 2, "Hello there.", str(tmp_path / "said.wav"), 0, dict(key["setting"]["knobs"])
    )
    assert sha256_file(Path(said["file"])) == waves[2]
    exported = export_epoch(str(place.root), folder.name, 2, str(tmp_path / "voices"))
    assert exported["epoch"] == 2
    assert list((tmp_path / "voices").rglob("model.pth"))


def test_more_epochs_and_another_rate_do_exactly_that(place: Workspace, tiny_xtts: Path) -> None:
    """The config wins, never what a checkpoint says."""
    folder = run(place, config(tiny_xtts, run="goes-on", epochs=1))
    before = sha256_file(folder.path / "epochs/epoch-001/weights.safetensors")

    run(place, config(tiny_xtts, run="goes-on", epochs=3, lr=1e-4))

    assert [epoch.number for epoch in folder.epochs()] == [1, 2, 3]
    assert sha256_file(folder.path / "epochs/epoch-001/weights.safetensors") == before
    rows = read_metrics(folder.metrics, "step")
    assert [row["step"] for row in rows] == list(range(1, 7)), "no step is trained twice"
    assert {row["lr"] for row in rows if row["epoch"] > 1} == {1e-4}
    assert {row["lr"] for row in rows if row["epoch"] == 1} == {5e-4}
    assert [change["to"] for change in folder.info()["lr_changes"]] == [1e-4]
    with pytest.raises(ConfigError, match="other settings"):
        run(place, config(tiny_xtts, run="goes-on", epochs=3, seed=1))


def test_a_child_starts_from_its_parent_s_epoch(place: Workspace, tiny_xtts: Path) -> None:
    from tts_train.backends.xtts.checkpoint import read

    parent = run(place, config(tiny_xtts, run="parent", epochs=1))
    begin = {"run": "parent", "epoch": 1, "move": "lower-lr-continue", "from_weights": True}
    child = run(place, config(tiny_xtts, run="child", epochs=1, lr=1e-12, parent=begin))

    base = parent.info()["base"]["sha256"]
    one, two = (read(folder.epoch(1).folder, base) for folder in (parent, child))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-9
    assert child.epoch(1).info["drift"] < 1e-6


@kills.every_other_day(1)
def test_two_processes_train_what_one_trains(place: Workspace, tmp_path: Path) -> None:
    """The published sizes, made in a process of its own: others build coqui's classes as they are, not small."""
    base = tmp_path / "base"
    make = "import sys, pathlib, tiny_xtts; tiny_xtts.build(pathlib.Path(sys.argv[1]), dvae='true', decoder='true')"
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", make, base], env=path, check=True)
    settings = {"epochs": 1, "batch_size": 1, "accumulation": 2}
    command = {"workspace": str(place.root), "probe": False}
    both = config(base, run="together", processes=2, **settings)
    launch.run_ranks("tts_train.work.train:train_rank", {"config": both.frozen(), **command}, 2)
    alone = config(base, run="alone", **settings)
    launch.run_ranks("tts_train.work.train:train_rank", {"config": alone.frozen(), **command}, 1)

    one, two = (RunFolder(place.runs / name).epoch(1).info for name in ("alone", "together"))
    for part in ("loss", "validation"):
        assert two[part] == pytest.approx(one[part], abs=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_epoch(place: Workspace, tiny_xtts: Path) -> None:
    settings = config(tiny_xtts, run="diverges", epochs=2)
    folder = run(place, settings.model_copy(update={"epochs": 1}))
    before = sha256_file(folder.path / "epochs/epoch-001/weights.safetensors")
    task = backend("xtts").load_task(settings, place)
    forward = task.module.forward

    def poisoned(names: Any) -> Any:
        return {name: value * float("nan") for name, value in forward(names).items()}

    task.module.forward = poisoned
    with pytest.raises(Diverged) as caught:
        loop.train(task, settings, folder)

    assert caught.value.exit_code == 70
    assert [epoch.number for epoch in folder.epochs()] == [1]
    assert sha256_file(folder.path / "epochs/epoch-001/weights.safetensors") == before
    status = read_status(folder.path)
    assert status["state"] == "failed"
    assert "not finite" in status["reason"]


def test_an_epoch_is_every_clip_once(place: Workspace, tiny_xtts: Path) -> None:
    task = backend("xtts").load_task(config(tiny_xtts, validation_clips=1), place)
    held = {example.id for example in task.validation}
    for epoch in (1, 2):
        names = [name for batch in task.batches(epoch, 0) for name in batch]
        assert sorted(names) == sorted({f"c{number}" for number in range(5)} - held)
    assert task.batches(1, 0) == task.batches(1, 0)
    assert [name for batch in task.validation_batches() for name in batch] == sorted(held)


def test_what_cannot_be_trained_is_said_before(place: Workspace, tiny_xtts: Path) -> None:
    with pytest.raises(ConfigError, match="klingon"):
        plan(config(tiny_xtts, xtts={"language": "klingon"}), place)
    with pytest.raises((ConfigError, InputUnusable)):
        train(config(tiny_xtts, run="none", xtts={"max_wav_seconds": 0.6}).frozen(), str(place.root), probe=False)
    with pytest.raises(ValueError, match="overflows"):
        config(tiny_xtts, precision="float16")


@pytest.mark.faults
def test_a_disk_that_fails_while_saving_or_publishing_changes_nothing(
    place: Workspace, tiny_xtts: Path, tmp_path: Path
) -> None:
    import torch

    torch.set_num_threads(1)
    settings = config(tiny_xtts, epochs=2, batch_size=4, validation_clips=0, save_every_steps=1)
    task = backend("xtts").load_task(settings, place)

    def training(folder: Path) -> None:
        loop.train(task, settings, RunFolder(folder))

    def outcome(folder: Path) -> dict[str, object]:
        weights = {str(path.relative_to(folder)): sha256_file(path) for path in folder.glob("epochs/epoch-*/*.safe*")}
        return weights | {str(path.relative_to(folder)): "left" for path in folder.rglob(".tmp-*")}

    seen = disk_faults.sweep(
        "training (tiny XTTS)",
        training,
        outcome,
        tmp_path,
        faults=["kill", "full"] if kills.EXHAUSTIVE else ["kill"],
        coarser=8,
        from_to=(0.0, 0.55),
        rows_apart=False,
        warm=True,
    )
    one, two = outcome(tmp_path / "whole/it").values()
    assert one != two
    assert any(call.name == "renameat" and call.path.endswith("/weights.safetensors") for call in seen.calls)
    assert unsynced(seen.calls) == []
