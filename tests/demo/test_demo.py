"""The main job, whole, through run.sh: what the README promises a newcomer, measured.

The constant run is trained for four of its six epochs (--exhaustive: all), the others as far as they need to go wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import kills

ROOT = Path(__file__).parents[2]
LAST = 6 if kills.EXHAUSTIVE else 4


def run_sh(*arguments: str, code: int = 0) -> dict[str, Any]:
    """The command's result; its error where another exit `code` is expected."""
    finished = subprocess.run([ROOT / "run.sh", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    answer = json.loads(finished.stdout)
    assert finished.returncode == code, answer
    return answer["error" if code else "result"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TTS_TRAIN_DEMO_OUT keeps the folder, to look at it or to measure a demo that is there already."""
    given = os.environ.get("TTS_TRAIN_DEMO_OUT")
    return Path(given) if given else tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def constant(out: Path) -> dict[str, Any]:
    return run_sh("demo", "--out", str(out), "--epochs", str(LAST))


@pytest.fixture(scope="module")
def others(out: Path, constant: dict[str, Any]) -> dict[str, Any]:
    once = run_sh("demo", "--out", str(out), "--runs", "timid", "--epochs", "1")["runs"]
    twice = run_sh("demo", "--out", str(out), "--runs", "decay,hot", "--epochs", "2")["runs"]
    return once | twice


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

    assert [epoch["epoch"] for epoch in epochs] == list(range(LAST + 1))
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

    assert decay["epochs"][-1]["sum_lr"] <= 0.06 * full
    assert abs(similarity[-1] - similarity[0]) < 0.05
    assert decay["next"]["move"] == "remove-decay"
    assert {"actual", "without_decay"} <= decay["next"]["sum_lr"].keys()


def test_words_that_break_ask_for_the_epoch_before(others: dict[str, Any]) -> None:
    first, last = others["hot"]["epochs"][1:]
    assert first["gates"] == []
    assert "wer" in last["gates"]
    assert last["words"]["mangled"]
    assert (others["hot"]["next"]["move"], others["hot"]["next"]["epoch"]) == ("rewind", 1)


def test_a_rate_too_low_without_decay_asks_for_a_higher_one(others: dict[str, Any]) -> None:
    assert others["timid"]["next"]["move"] == "raise-lr"


def heard(out: Path, run: str, epoch: int, *categories: str, more: tuple[str, ...] = ()) -> None:
    """A listener's verdict, by command."""
    said = [word for category in categories for word in ("--heard", category)]
    run_sh(
        *("verdict", run, "--epoch", str(epoch), *said, *more),
        *("--listener", "ann", "--region", "Lancashire", "--workspace", str(out)),
    )


def quoted(proposal: dict[str, Any], kind: str) -> str:
    return " ".join(item["text"] for item in proposal["evidence"] if item["kind"] == kind)


def next_move(out: Path, run: str, *options: str) -> dict[str, Any]:
    return run_sh("next", run, *options, "--workspace", str(out))


def first_epoch(out: Path, proposal: dict[str, Any]) -> dict[str, Any]:
    """Train the written child for one epoch."""
    child = out / proposal["child"]["config"]
    settings = yaml.safe_load(child.read_text())
    settings |= {"epochs": 1, "probe": {**settings["probe"], "when": "never"}}
    child.write_text(yaml.safe_dump(settings))
    run_sh("train-local", str(child), "--workspace", str(out))
    published = out / "artifacts/tts" / proposal["child"]["run"] / "epochs/epoch-001/epoch.json"
    info: dict[str, Any] = json.loads(published.read_text())
    return info


def test_no_difference_after_a_decay_removes_it_and_the_child_trains(out: Path, others: dict[str, Any]) -> None:
    epochs = others["decay"]["epochs"]
    heard(out, "demo-decay", epochs[-1]["epoch"], "no-difference", more=("--note", "as before"))
    proposal = next_move(out, "demo-decay", "--write")

    assert (proposal["move"], proposal["basis"]) == ("remove-decay", "verdicts")
    assert "decayed to nothing" in proposal["diagnosis"]
    assert "ann heard epoch" in quoted(proposal, "verdict")
    assert f"{proposal['sum_lr']['actual']:.2e}" in proposal["because"]
    assert "Mean loss per epoch" in quoted(proposal, "training")
    assert proposal["config_diff"]["schedule.shape"] == ["linear", "constant"]
    assert (proposal["confidence"]["level"], proposal["conflicts"]) == ("medium", [])

    assert first_epoch(out, proposal)["sum_lr"] > epochs[-1]["sum_lr"]
    tree = run_sh("lineage", "demo-decay", "--workspace", str(out))
    assert f"remove-decay after epoch {epochs[-1]['epoch']}, from the base" in tree["text"]


def test_a_good_voice_ships_and_one_that_lacks_a_feature_trains_on(out: Path, constant: dict[str, Any]) -> None:
    lacks = ("--marker", "STRUT=target", "--marker", "FACE=baseline")
    heard(out, "demo-constant", LAST, "good", "feature-missing", more=lacks)
    more = next_move(out, "demo-constant")
    heard(out, "demo-constant", LAST, "good")
    ship = next_move(out, "demo-constant")

    assert (more["move"], more["epoch"]) == ("train-more", LAST)
    assert "lr" not in more["config_diff"]
    assert "FACE: baseline" in quoted(more, "verdict")
    assert (ship["move"], ship["epoch"], ship["confirmed"]) == ("ship", LAST, True)
    assert "Speaker similarity" in quoted(ship, "measure")
    assert f" ship demo-constant {LAST}" in ship["command"]


def test_mangled_words_go_back_to_the_epoch_that_is_fit_and_the_child_trains(out: Path, others: dict[str, Any]) -> None:
    last = others["hot"]["epochs"][-1]
    heard(out, "demo-hot", last["epoch"], "mangled")
    proposal = next_move(out, "demo-hot", "--write")

    assert (proposal["move"], proposal["epoch"], proposal["basis"]) == ("rewind", 1, "verdicts")
    assert "Gates failed" in quoted(proposal, "gate")
    assert f"WER at epoch {last['epoch']} is {last['wer']:.1%}" in quoted(proposal, "measure")
    assert proposal["config_diff"]["lr"] == [1e-3, 4e-5]
    assert proposal["config_diff"]["schedule.warmup_steps"] == [66, 10]
    assert first_epoch(out, proposal)["step"] == 11


def test_a_second_demo_finds_nothing_left_to_do(out: Path, constant: dict[str, Any]) -> None:
    weights = out / f"artifacts/tts/demo-constant/epochs/epoch-{LAST:03d}/weights.safetensors"
    before = weights.stat().st_mtime_ns
    again = run_sh("demo", "--out", str(out), "--epochs", str(LAST))

    assert weights.stat().st_mtime_ns == before
    assert again["runs"]["constant"]["epochs"] == constant["runs"]["constant"]["epochs"]


def submitted(out: Path, config: Path) -> str:
    """A training in the background; the id of its job."""
    job = run_sh("jobs", "submit", "--workspace", str(out), "--", "train-local", str(config))
    return str(job["id"])


def test_a_training_that_is_done_is_a_job_with_nothing_left_to_do(out: Path, constant: dict[str, Any]) -> None:
    job = submitted(out, out / "configs/tts/demo_constant.yaml")
    waited = run_sh("jobs", "wait", job, "--timeout", "120", "--workspace", str(out))

    assert waited["job"]["state"] == "ended"
    assert waited["answer"]["result"]["nothing_left_to_do"]


def test_a_live_training_is_a_job_that_refuses_a_second_one_and_saves_when_stopped(
    out: Path, constant: dict[str, Any]
) -> None:
    settings = yaml.safe_load((out / "configs/tts/demo_constant.yaml").read_text())
    settings |= {"run": "demo-stopped", "probe": {**settings["probe"], "when": "never"}}
    config = out / "configs/tts/demo_stopped.yaml"
    config.write_text(yaml.safe_dump(settings))
    place = ("--workspace", str(out))

    job = submitted(out, config)
    deadline = time.monotonic() + 120
    status = out / "artifacts/tts/demo-stopped/status.json"
    while not (status.is_file() and json.loads(status.read_text())["step"]):
        assert time.monotonic() < deadline, run_sh("jobs", "logs", job, *place)["text"]
        time.sleep(0.2)
    alive = run_sh("status", *place)
    second = run_sh("train-local", str(config), *place, code=75)
    stopped = run_sh("jobs", "stop", job, "--timeout", "120", *place)
    ended = run_sh("jobs", "wait", job, *place, code=143)

    assert {row["run"] for row in alive["runs"] if row["state"] == "training"} == {"demo-stopped"}
    assert "demo-stopped is in use by train-local of run demo-stopped (pid" in second["message"]
    assert "last heartbeat" in second["message"]
    assert f"jobs stop {job}" in second["hint"]
    assert (stopped["state"], ended["job"]["answer"]["error"]["kind"]) == ("stopped", "stopped")
    assert (out / "artifacts/tts/demo-stopped/state/state.pt").is_file()
    night = run_sh("report", "--since", "1h", *place)
    assert "stopped" in {row["state"] for row in night["runs"] if row["run"] == "demo-stopped"}
    assert {row["id"]: row["state"] for row in night["jobs"]}[job] == "stopped"
    assert "demo-constant" in {row["run"] for row in night["runs"]}


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

    assert spoken["epoch"] == LAST
    assert 0.5 < spoken["audio_seconds"] < 4
    assert exported["max_abs_diff"] <= 1e-4
    assert Path(exported["onnx"]).is_file()
