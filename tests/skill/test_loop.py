"""The one training loop: what it promises to every family."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from toy import ToyTask, toy_config
from tts_train.errors import Diverged, Stopped
from tts_train.files import sha256_file
from tts_train.training import loop
from tts_train.training.metrics import read_metrics
from tts_train.training.run import RunFolder
from tts_train.training.status import read_status


def weights(run: RunFolder, epoch: int) -> str:
    return sha256_file(run.path / f"epochs/epoch-{epoch:03d}/weights.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run nobody interrupted."""
    run = RunFolder(tmp_path_factory.mktemp("whole") / "toy")
    loop.train(ToyTask(), toy_config(epochs=3), run)
    return run


def test_the_same_seed_twice_gives_identical_weights(whole: RunFolder, tmp_path: Path) -> None:
    again, other = RunFolder(tmp_path / "again"), RunFolder(tmp_path / "other")
    loop.train(ToyTask(), toy_config(epochs=3), again)
    loop.train(ToyTask(), toy_config(epochs=3, seed=1), other)

    assert weights(again, 3) == weights(whole, 3)
    assert weights(other, 3) != weights(whole, 3)


@pytest.mark.parametrize("stop_at", [1, 4, 6, 7, 13])
def test_a_stopped_run_resumes_to_identical_weights(whole: RunFolder, tmp_path: Path, stop_at: int) -> None:
    """Dropout makes the weights depend on random numbers: resuming must continue exactly those."""
    run, task = RunFolder(tmp_path / "toy"), ToyTask()
    forward, calls = task.module.forward, 0

    def forward_and_signal(batch: torch.Tensor) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(batch)

    task.module.forward = forward_and_signal  # type: ignore[method-assign]
    with pytest.raises(Stopped) as caught:
        loop.train(task, toy_config(epochs=3), run)
    assert caught.value.exit_code == 143
    assert read_status(run.path)["state"] == "stopped"

    resumed = loop.train(ToyTask(), toy_config(epochs=3), run)

    assert resumed["resumed_from_step"] == stop_at
    assert [weights(run, epoch) for epoch in (1, 2, 3)] == [weights(whole, epoch) for epoch in (1, 2, 3)]
    steps = [row["step"] for row in read_metrics(run.metrics, "step")]
    assert steps == list(range(1, 19))
    assert read_status(run.path)["state"] == "done"


def test_more_epochs_continue_a_finished_run(whole: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "toy")
    loop.train(ToyTask(), toy_config(epochs=2), run)
    task = ToyTask()
    result = loop.train(task, toy_config(epochs=3), run)

    assert result["trained"] == [3]
    assert task.restored == task.state()
    assert weights(run, 3) == weights(whole, 3)


def test_nothing_left_to_do_trains_nothing(whole: RunFolder) -> None:
    assert loop.train(ToyTask(), toy_config(epochs=3), whole)["trained"] == []


def test_a_loss_that_is_not_finite_stops_and_keeps_finished_epochs(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "toy")
    with pytest.raises(Diverged) as caught:
        loop.train(ToyTask(poison_step=2), toy_config(), run)

    assert caught.value.exit_code == 70
    assert "epoch 2, step 9" in caught.value.message
    assert [epoch.number for epoch in run.epochs()] == [1]
    assert all(torch.isfinite(value).all() for value in load_file(run.epoch(1).folder / "weights.safetensors").values())
    assert read_status(run.path)["state"] == "failed"


def test_accumulation_weighs_every_batch_the_same(tmp_path: Path) -> None:
    """4 + 2 batches: the last, smaller group must not count half."""
    run, task = RunFolder(tmp_path / "toy"), ToyTask()
    scales: list[torch.Tensor] = []
    task.module.layers[0].bias.register_hook(lambda gradient: scales.append(gradient.clone()))
    task.module.eval()
    task.module.train = lambda mode=True: task.module  # type: ignore[method-assign]
    loop.train(task, toy_config(epochs=1, accumulation=4, lr=1e-12), run)

    reference = ToyTask()
    reference.module.eval()
    batches = reference.batches(1, 0)
    expected = []
    for group in (batches[:4], batches[4:]):
        for batch in group:
            reference.module.zero_grad()
            (torch.stack(list(reference.module(batch).values())).sum() / len(group)).backward()
            expected.append(reference.module.layers[0].bias.grad.clone())
    assert len(read_metrics(run.metrics, "step")) == 2
    for got, want in zip(scales, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-7)


def test_epochs_tell_the_sum_of_rates_and_the_drift(whole: RunFolder) -> None:
    first, last = whole.epoch(1).info, whole.epoch(3).info

    assert first["sum_lr"] == pytest.approx(1e-2 * 5.5)
    assert last["sum_lr"] == pytest.approx(1e-2 * 17.5)
    assert 0 < first["drift"] < last["drift"]
    assert last["loss"]["loss"] < first["loss"]["loss"]


def test_training_state_is_refused_when_it_is_damaged(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "toy")
    loop.train(ToyTask(), toy_config(epochs=1), run)
    run.state.write_bytes(run.state.read_bytes()[:-100])

    with pytest.raises(Exception, match=r"state\.pt cannot be read"):
        loop.train(ToyTask(), toy_config(), run)
