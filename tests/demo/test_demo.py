"""The main job, whole, through run.sh: what the README promises a newcomer, measured.

The constant run is trained to its last epoch; the others for two epochs, which is enough for them to go wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run_sh(*arguments: str) -> dict[str, Any]:
    finished = subprocess.run([ROOT / "run.sh", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    answer = json.loads(finished.stdout)
    assert finished.returncode == 0, answer
    return answer["result"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TTS_TRAIN_DEMO_OUT keeps the folder, to look at it or to measure a demo that is there already."""
    given = os.environ.get("TTS_TRAIN_DEMO_OUT")
    return Path(given) if given else tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def constant(out: Path) -> dict[str, Any]:
    return run_sh("demo", "--out", str(out))


@pytest.fixture(scope="module")
def others(out: Path, constant: dict[str, Any]) -> dict[str, Any]:
    return run_sh("demo", "--out", str(out), "--runs", "decay,hot,timid", "--epochs", "2")["runs"]


def test_the_book_becomes_a_dataset_of_its_true_text(constant: dict[str, Any]) -> None:
    dataset = constant["dataset"]

    assert dataset["wer"] <= 0.08
    assert dataset["clips"] >= 30


def test_every_second_of_speech_is_kept_or_rejected(out: Path, constant: dict[str, Any]) -> None:
    dataset = constant["dataset"]
    folder = out / "datasets/demo"
    rows = [json.loads(line) for line in (folder / "train_manifest.jsonl").read_text().splitlines()]
    rejected = [json.loads(line) for line in (folder / "rejections.jsonl").read_text().splitlines()]

    assert dataset["coverage"] >= 0.999
    assert all((folder / row["audio_file"]).is_file() for row in rows)
    assert all(row["reason"] and (folder / row["audio_file"]).is_file() for row in rejected)


def test_words_stay_whole_while_the_voice_comes_nearer(constant: dict[str, Any]) -> None:
    epochs = constant["runs"]["constant"]["epochs"]
    first, last = epochs[0], epochs[-1]

    assert [epoch["epoch"] for epoch in epochs] == list(range(7))
    assert all(epoch["wer"] <= epoch["target_wer"] + 0.03 for epoch in epochs)
    assert last["speaker_similarity"] >= first["speaker_similarity"] + 0.10
    assert last["mel_distance"] <= 0.80 * first["mel_distance"]


def test_vowels_are_measured_with_intervals_on_epochs_and_target(constant: dict[str, Any]) -> None:
    run = constant["runs"]["constant"]
    for name in ("foot_strut", "bath_trap", "bath_palm"):
        for measured in (*(epoch[name] for epoch in run["epochs"]), run["target"][name]):
            assert measured["low"] <= measured["distance"] <= measured["high"]


def test_a_schedule_that_decayed_to_nothing_is_recognised(constant: dict[str, Any], others: dict[str, Any]) -> None:
    decay = others["decay"]
    similarity = [epoch["speaker_similarity"] for epoch in decay["epochs"]]
    full = constant["runs"]["constant"]["epochs"][-1]["sum_lr"]

    assert decay["epochs"][-1]["sum_lr"] <= 0.05 * full
    assert abs(similarity[-1] - similarity[0]) < 0.05
    assert decay["next"]["move"] == "remove-decay"
    assert {"actual", "without_decay"} <= decay["next"]["sum_lr"].keys()


def test_mangled_words_ask_for_an_earlier_epoch_or_a_lower_rate(others: dict[str, Any]) -> None:
    assert others["hot"]["epochs"][-1]["wer"] > 0.25
    assert others["hot"]["next"]["move"] in ("rewind", "lower-lr-continue")


def test_a_rate_too_low_without_decay_asks_for_a_higher_one(others: dict[str, Any]) -> None:
    assert others["timid"]["next"]["move"] == "raise-lr"


def test_a_second_demo_finds_nothing_left_to_do(out: Path, constant: dict[str, Any]) -> None:
    weights = out / "artifacts/tts/demo-constant/epochs/epoch-006/weights.safetensors"
    before = weights.stat().st_mtime_ns
    again = run_sh("demo", "--out", str(out))

    assert weights.stat().st_mtime_ns == before
    assert again["runs"]["constant"]["epochs"] == constant["runs"]["constant"]["epochs"]


def test_a_trained_epoch_speaks_and_exports(out: Path, constant: dict[str, Any]) -> None:
    spoken = run_sh(
        "infer",
        "demo-constant",
        str(out / "hello.wav"),
        "--text",
        "Put the kettle on.",
        "--workspace",
        str(out),
    )
    exported = run_sh("export", "demo-constant", str(out / "voice"), "--workspace", str(out))

    assert spoken["epoch"] == 6
    assert 0.5 < spoken["audio_seconds"] < 4
    assert exported["max_abs_diff"] <= 1e-4
    assert Path(exported["onnx"]).is_file()
