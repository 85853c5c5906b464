"""Data parallelism with real processes: the same training as one process, and nothing hangs or outlives a failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from toy import CLIPS, ToyTask, toy_config
from tts_train.errors import Diverged, Stopped, TtsTrainError
from tts_train.training import launch, loop
from tts_train.training.launch import run_ranks
from tts_train.training.metrics import read_metrics
from tts_train.training.ranks import Ranks, Seat, _buckets, joined
from tts_train.training.run import RunFolder
from tts_train.training.status import read_status

# Six batches an epoch: a step of four and a short one of two; three in a group leave rank 1 one batch of them.
RECIPE = {"epochs": 2, "accumulation": 4, "validation_clips": 3}
NO_FAULT: dict[str, Any] = {}


@pytest.fixture(scope="module", autouse=True)
def _ranks_find_the_toy() -> Iterator[None]:
    folders = (Path(__file__).parents[1], Path(launch.__file__).parents[2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))
        yield


def train(folder: Path, fault: dict[str, Any] = NO_FAULT, **changes: Any) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    arguments = {"folder": str(folder), "changes": {**RECIPE, "processes": 2, **changes}, "fault": fault}
    return run_ranks("toy_ranks:train", arguments, 2, grace_seconds=4)


def weights(folder: Path, epoch: int) -> dict[str, torch.Tensor]:
    return load_file(folder / f"toy/epochs/epoch-{epoch:03d}/weights.safetensors")


def rank(folder: Path, number: int) -> dict[str, Any]:
    return json.loads((folder / f"rank-{number}.json").read_text())


def assert_gone(folder: Path) -> None:
    for number in (0, 1):
        pid = rank(folder, number)["pid"]
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same recipe in one process."""
    folder = tmp_path_factory.mktemp("one")
    loop.train(ToyTask(held_out=3), toy_config(**RECIPE), RunFolder(folder / "toy"))
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    result = train(folder)
    assert result == {"steps": 4, "resumed_from_step": 0, "trained": [1, 2]}
    return folder


def test_two_processes_train_what_one_trains(one: Path, two: Path) -> None:
    for epoch in (1, 2):
        for name, expected in weights(one, epoch).items():
            torch.testing.assert_close(weights(two, epoch)[name], expected, rtol=0, atol=1e-5)
        (alone, together) = (RunFolder(folder / "toy").epoch(epoch).info for folder in (one, two))
        for means in ("loss", "validation"):
            assert together[means] == pytest.approx(alone[means], abs=1e-5)
    rows = [read_metrics(folder / "toy/metrics.jsonl", "step") for folder in (one, two)]
    assert len(rows[0]) == 4
    for alone, together in zip(*rows, strict=True):
        assert together == pytest.approx(alone, abs=1e-5)
    untouched = ToyTask().module.state_dict()
    assert max((value - untouched[name]).abs().max() for name, value in weights(two, 2).items()) > 1e-3


def test_every_clip_is_seen_once_an_epoch(two: Path) -> None:
    shares = [rank(two, number)["seen"] for number in (0, 1)]

    assert all(shares)
    assert sorted(number for share in shares for number in share if number < CLIPS) == sorted(2 * list(range(CLIPS)))


def test_model_libraries_are_not_told_of_ranks(two: Path) -> None:
    """accelerate and transformers, also those of a probe that rank 0 starts, would form groups of their own."""
    assert [name for name in rank(two, 0)["env"] if name in ("RANK", "LOCAL_RANK")] == []


def test_a_killed_rank_is_named_and_the_other_ends(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(TtsTrainError, match=r"rank 1 of 2 was killed by SIGKILL") as caught:
        train(tmp_path, {"kind": "kill", "rank": 1, "at": 3})

    assert caught.value.exit_code == 1
    assert time.monotonic() - started < 60
    assert_gone(tmp_path)


def test_a_rank_that_fails_before_the_others_meet_it_is_named(tmp_path: Path) -> None:
    """Rank 0 waits for it inside torch, where no Python signal handler runs: only SIGKILL helps."""
    with pytest.raises(TtsTrainError, match=r"rank 1 of 2: ValueError: not rank 1"):
        run_ranks("toy_ranks:fail_early", {"folder": str(tmp_path)}, 2, grace_seconds=1)

    assert_gone(tmp_path)


def test_the_number_of_ranks_is_the_config_s(monkeypatch: pytest.MonkeyPatch) -> None:
    config = toy_config(processes=3, accumulation=3)
    with pytest.raises(TtsTrainError, match="processes is 3, but this one was started alone"), joined(config):
        pass
    monkeypatch.setattr("tts_train.training.ranks._seat", [Seat(0, 2, "nowhere")])
    with pytest.raises(TtsTrainError, match="processes is 3, but 2 were started"), joined(config):
        pass


def test_a_signal_stops_all_after_the_same_step_and_the_run_resumes(tmp_path: Path, two: Path) -> None:
    def interrupt() -> None:
        while not (tmp_path / "waiting").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Stopped, match="stopped at step 1, state saved") as caught:
        train(tmp_path, {"kind": "wait", "rank": 1, "at": 2, "seconds": 1.0})
    thread.join()
    assert caught.value.exit_code == 143
    assert "rank" not in caught.value.message
    assert read_status(tmp_path / "toy")["state"] == "stopped"

    # Now a signal that one rank gets alone. At its third call from step 1 on it works on step 3.
    with pytest.raises(Stopped, match="stopped at step 3, state saved"):
        train(tmp_path, {"kind": "signal", "rank": 1, "at": 3})

    assert train(tmp_path)["resumed_from_step"] == 3
    assert [row["step"] for row in read_metrics(tmp_path / "toy/metrics.jsonl", "step")] == [1, 2, 3, 4]
    for name, expected in weights(two, 2).items():
        assert torch.equal(weights(tmp_path, 2)[name], expected)


def test_a_loss_that_is_not_finite_in_one_rank_stops_all_with_one_error(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"^the loss is not finite at epoch 2, step 3 ") as caught:
        train(tmp_path, {"kind": "nan", "rank": 1, "at": 5})

    assert caught.value.exit_code == 70
    assert [epoch.number for epoch in RunFolder(tmp_path / "toy").epochs()] == [1]
    assert_gone(tmp_path)


def test_ranks_whose_weights_came_apart_publish_nothing(tmp_path: Path) -> None:
    with pytest.raises(TtsTrainError, match=r"^weights after epoch 1: rank 1 of 2 is not equal to rank 0"):
        train(tmp_path, {"kind": "drift", "rank": 1, "at": 1})

    assert RunFolder(tmp_path / "toy").epochs() == []


def test_no_rank_outlives_the_launcher(tmp_path: Path) -> None:
    fault = {"kind": "wait", "rank": 1, "at": 2, "seconds": 300}
    arguments = {"folder": str(tmp_path), "changes": {**RECIPE, "processes": 2}, "fault": fault}
    script = f"from tts_train.training.launch import run_ranks; run_ranks('toy_ranks:train', {arguments!r}, 2)"
    launcher = subprocess.Popen([sys.executable, "-P", "-c", script])
    until = time.monotonic() + 60
    while not (tmp_path / "waiting").exists() and time.monotonic() < until:
        time.sleep(0.05)
    launcher.kill()
    launcher.wait()

    processes = [rank(tmp_path, number)["pid"] for number in (0, 1)]
    until = time.monotonic() + 10
    while any(map(psutil.pid_exists, processes)) and time.monotonic() < until:
        time.sleep(0.05)
    assert_gone(tmp_path)


def test_alone_nothing_is_distributed() -> None:
    ranks = Ranks()

    assert ranks.first
    assert ranks.gather({"a": 1}) == [{"a": 1}]
    assert ranks.any([]) is None
    ranks.assert_equal("anything", "x")
    ranks.sum_gradients([])
    assert not torch.distributed.is_initialized()


def test_buckets_keep_order_and_never_mix_number_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tts_train.training.ranks.BUCKET_BYTES", 40)
    short, long = torch.zeros(4), torch.zeros(100)
    tensors = [short, short.clone(), short.clone(), long, short.double(), short.clone()]

    found = list(_buckets(tensors))

    assert [len(bucket) for bucket in found] == [2, 1, 1, 1, 1]
    assert [id(tensor) for bucket in found for tensor in bucket] == list(map(id, tensors))


def test_a_rank_that_has_answered_has_not_failed_whatever_happens_on_its_way_out() -> None:
    code = "import os, sys; print(sys.argv[1]); sys.stdout.flush(); os.abort()"
    failed = []
    for answer in ('{"ok": true, "result": {}}', '{"ok": false, "error": {"kind": "disk"}}', "half an ans"):
        with tempfile.TemporaryFile() as stdout:
            process = subprocess.Popen([sys.executable, "-c", code, answer], stdout=stdout)
            process.wait()
            rank = launch._Rank(0, process, stdout)
            rank.poll()
            failed.append((rank.failed, rank.is_cause))
    assert failed == [(False, False), (True, True), (True, True)]
