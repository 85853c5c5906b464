"""When a training ends: at its last epoch, at the epoch that is said to be enough, and never twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from toy import ToyTask, toy_config
from tts_train.files import write_json
from tts_train.training import loop
from tts_train.training.run import RunFolder
from tts_train.training.status import read_status


def enough_at(number: int, asked: list[int]):
    def after(epoch: int) -> str | None:
        asked.append(epoch)
        return "no better" if epoch >= number else None

    return after


def test_a_reason_ends_it_after_the_epoch_and_the_run_is_done(tmp_path: Path) -> None:
    run, asked = RunFolder(tmp_path / "toy"), list[int]()
    result = loop.train(ToyTask(), toy_config(epochs=4), run, enough_at(2, asked))

    assert (result["trained"], asked) == ([1, 2], [1, 2])
    status = read_status(run.path)
    assert (status["state"], status["reason"], status["epoch"], status["step"]) == ("done", "no better", 2, 12)


def test_a_kill_before_the_decision_leaves_it_to_the_next_start(tmp_path: Path) -> None:
    """The epoch is published and its state saved: without asking again a third would be trained."""
    run, asked = RunFolder(tmp_path / "toy"), list[int]()

    def killed(_number: int) -> str | None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(ToyTask(), toy_config(epochs=4), run, killed)
    result = loop.train(ToyTask(), toy_config(epochs=4), run, enough_at(1, asked))

    assert (result["trained"], asked) == ([], [1])
    assert [epoch.number for epoch in run.epochs()] == [1]
    assert read_status(run.path)["state"] == "done"


def test_a_kill_after_the_last_epoch_is_no_endless_interruption(tmp_path: Path) -> None:
    run, asked = RunFolder(tmp_path / "toy"), list[int]()
    loop.train(ToyTask(), toy_config(epochs=2), run)
    left = {**read_status(run.path), "state": "training"}
    write_json(run.path / "status.json", {**left, "pid_started": 1.0})
    assert read_status(run.path)["state"] == "interrupted"

    result = loop.train(ToyTask(), toy_config(epochs=2), run, enough_at(9, asked))

    assert (result["trained"], asked) == ([], [2])
    assert read_status(run.path)["state"] == "done"
    assert loop.train(ToyTask(), toy_config(epochs=2), run, enough_at(9, asked))["trained"] == []
    assert asked == [2], "what is done is not asked about again"


def test_a_run_stopped_within_an_epoch_does_not_ask_about_the_one_before(tmp_path: Path) -> None:
    run, asked, task = RunFolder(tmp_path / "toy"), list[int](), ToyTask()
    forward, calls = task.module.forward, 0

    def stopping(batch: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 8:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(batch)

    task.module.forward = stopping
    with pytest.raises(Exception, match="stopped at step 8"):
        loop.train(task, toy_config(epochs=2), run)
    loop.train(ToyTask(), toy_config(epochs=2), run, enough_at(9, asked))

    assert asked == [2]
