"""A run cannot change under way, and a status is not believed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, DiskError, Diverged, Stopped
from tts_train.files import read_json, write_json
from tts_train.training import status
from tts_train.training.run import RunFolder
from tts_train.training.status import Status, read_status


def config(**changes: object) -> TrainConfig:
    return TrainConfig.model_validate(
        {"voice": "a", "backend": "piper", "dataset": "m", "epochs": 2, "lr": 1e-5, **changes}
    )


def test_resuming_with_other_settings_is_refused_by_name(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "r")
    run.start(config(), {"dataset_sha256": "1"})

    with pytest.raises(ConfigError) as caught:
        run.start(config(batch_size=2, seed=3), {"dataset_sha256": "2"})

    assert [problem.message.split("'")[1] for problem in caught.value.problems] == [
        "batch_size",
        "seed",
        "dataset_sha256",
    ]


def test_more_epochs_go_on_in_the_same_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "r")
    run.start(config(), {})
    run.start(config(epochs=5), {})

    assert run.config().epochs == 5


def test_another_rate_goes_on_in_the_same_run_and_is_noted(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "r")
    run.start(config(), {})
    run.start(config(), {})
    assert "lr_changes" not in run.info()
    run.start(config(lr=5e-6), {})
    run.start(config(lr=5e-6), {})
    run.start(config(lr=2e-6), {})

    assert run.config().lr == 2e-6
    changes = run.info()["lr_changes"]
    assert [(change["from"], change["to"], change["after_epoch"]) for change in changes] == [
        (1e-5, 5e-6, 0),
        (5e-6, 2e-6, 0),
    ]


def test_an_epoch_without_its_json_does_not_exist(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "r")
    run.publish(1, lambda folder: (folder / "weights.safetensors").write_bytes(b"w") and None, {"epoch": 1})

    assert [epoch.number for epoch in run.epochs()] == [1]
    with pytest.raises(ConfigError, match="no epoch 2"):
        run.epoch(2)


def test_a_dead_process_cannot_look_alive(tmp_path: Path) -> None:
    with Status(tmp_path / "status.json") as status:
        status.update(state="training")
        assert read_status(tmp_path)["state"] == "training"
    written = read_json(tmp_path / "status.json")

    # The pid lives on, in another process: only the start time tells.
    write_json(tmp_path / "status.json", {**written, "pid_started": written["pid_started"] - 60})

    assert read_status(tmp_path)["state"] == "interrupted"


def test_a_failure_leaves_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="disk on fire"), Status(tmp_path / "status.json"):
        raise ValueError("disk on fire")

    found = read_status(tmp_path)
    assert (found["state"], found["reason"]) == ("failed", "disk on fire")


def test_a_disk_that_is_full_for_a_while_ends_no_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, full = tmp_path / "status.json", [True]

    def write(place: Path, value: object) -> None:
        if full:
            raise DiskError("no space left")
        write_json(place, value)

    monkeypatch.setattr(status, "HEARTBEAT_SECONDS", 0.02)
    with Status(path):
        monkeypatch.setattr(status, "write_json", write)
        time.sleep(0.3)
        before = read_json(path)["heartbeat_monotonic"]
        full.clear()
        deadline = time.monotonic() + 10
        while read_json(path)["heartbeat_monotonic"] == before:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_full_disk_hides_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DiskError("no space left")

    def stop() -> None:
        with Status(tmp_path / "status.json"):
            monkeypatch.setattr(status, "write_json", refuse)
            raise Stopped(15, "stopped by SIGTERM")

    with pytest.raises(Stopped):
        stop()


@pytest.mark.parametrize(
    ("error", "kind", "state"),
    [
        (Diverged("NaN"), "diverged", "failed"),
        (Stopped(15, "bye"), "stopped", "stopped"),
        (OSError(), "internal", "failed"),
    ],
)
def test_the_kind_of_an_end_is_noted(tmp_path: Path, error: Exception, kind: str, state: str) -> None:
    with pytest.raises(type(error)), Status(tmp_path / "status.json"):
        raise error
    found = read_status(tmp_path)
    assert (found["error"], found["state"], bool(found["reason"])) == (kind, state, True)
