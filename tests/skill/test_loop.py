"""The one training loop: what it promises to every family."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from toy import ToyTask, toy_config
from tts_train.errors import ConfigError, DiskError, Diverged, InputUnusable, Stopped, Unavailable
from tts_train.files import sha256_file
from tts_train.training import loop
from tts_train.training.metrics import read_metrics
from tts_train.training.run import RunFolder
from tts_train.training.state import load_state, seed_batch
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

    with pytest.raises(InputUnusable, match=r"state\.pt cannot be read"):
        loop.train(ToyTask(), toy_config(), run)


def test_the_state_keeps_what_trains_and_buffers_only(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "toy")
    loop.train(half_frozen(), toy_config(epochs=1), run)

    state = load_state(run.state)
    assert state is not None
    assert sorted(state["weights"]) == ["layers.3.bias", "layers.3.weight", "scale"]
    assert len(state["optimizer"]["state"]) == 2
    with pytest.raises(InputUnusable, match=r"layers\.0\.bias is missing.*scale is unknown"):
        loop.train(ToyTask(), toy_config(), run)


def half_frozen() -> ToyTask:
    task = ToyTask()
    task.module.register_buffer("scale", torch.ones(()))
    task.module.layers[0].requires_grad_(requires_grad=False)
    task.param_groups = lambda: [  # type: ignore[method-assign]
        {"name": "last", "params": list(task.module.layers[3].parameters())}
    ]
    return task


def test_a_half_frozen_run_resumes_exactly(tmp_path: Path) -> None:
    whole, run = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "toy")
    loop.train(half_frozen(), toy_config(epochs=2), whole)
    loop.train(half_frozen(), toy_config(epochs=1), run)
    loop.train(half_frozen(), toy_config(epochs=2), run)

    assert weights(run, 2) == weights(whole, 2)


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "toy")
    run.state.parent.mkdir(parents=True)
    torch.save({"module": {}, "optimizer": {}, "task": {}, "position": {}}, run.state)

    with pytest.raises(InputUnusable, match="another version"):
        loop.train(ToyTask(), toy_config(), run)


@pytest.mark.parametrize("taken", [0, 700, 4000])
def test_a_full_disk_keeps_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    """torch.save calls a failed write a RuntimeError; a disk that takes a part and then nothing must not look whole."""
    run, room = RunFolder(tmp_path / "toy"), taken
    loop.train(ToyTask(), toy_config(epochs=1), run)
    before = run.state.read_bytes()
    assert len(before) > 4000
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        nonlocal room
        if "state.pt" not in os.readlink(f"/proc/self/fd/{descriptor}"):
            return write(descriptor, data)
        written = write(descriptor, memoryview(data)[:room]) if room else 0
        room -= written
        return written

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskError, match=r"could not write .*state\.pt") as caught:
        loop.train(ToyTask(), toy_config(), run)

    assert caught.value.exit_code == 74
    assert run.state.read_bytes() == before
    assert list(run.state.parent.iterdir()) == [run.state]


def test_space_is_asked_for_what_is_still_to_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(loop, "require_space", lambda _folder, needed: asked.append(needed))
    run = RunFolder(tmp_path / "toy")
    loop.train(half_frozen(), toy_config(epochs=2), run)
    loop.train(half_frozen(), toy_config(epochs=3), run)

    epoch, trained = 4 * (8 * 16 + 16 + 16 * 8 + 8 + 1), 4 * (16 * 8 + 8 + 1)
    assert asked == [2 * epoch + 2 * 3 * trained, epoch + 3 * trained]


def test_seeding_the_first_batch_is_seeding_by_seed_and_step() -> None:
    """Runs of one batch per step keep the weights they had when the step alone was seeded."""
    for seed, step in ((0, 0), (5, 7), (123456789, 40000)):
        seed_batch(seed, step)
        drawn = torch.rand(3)
        torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))
        assert torch.equal(drawn, torch.rand(3))
        seed_batch(seed, step, 1)
        assert not torch.equal(drawn, torch.rand(3))


def test_validation_repeats_and_leaves_training_alone(whole: RunFolder, tmp_path: Path) -> None:
    runs = [RunFolder(tmp_path / name) for name in ("first", "second")]
    for run in runs:
        loop.train(ToyTask(held_out=5), toy_config(epochs=3, lr=1e-2), run)
    found = [[run.epoch(number).info["validation"] for number in (1, 2, 3)] for run in runs]

    assert found[0] == found[1]
    assert found[0][2]["loss"] < found[0][0]["loss"]
    assert [weights(runs[0], epoch) for epoch in (1, 2, 3)] == [weights(whole, epoch) for epoch in (1, 2, 3)]
    assert "validation" not in whole.epoch(1).info
    row = read_metrics(runs[0].metrics, "epoch")[2]
    assert row["validation_square"] == found[0][2]["square"]


def test_validation_is_the_mean_over_all_batches_without_dropout(tmp_path: Path) -> None:
    run, task = RunFolder(tmp_path / "toy"), ToyTask(held_out=5)
    loop.train(task, toy_config(epochs=1), run)
    task.module.eval()
    with torch.no_grad():
        losses = [sum(task.module(batch).values()).item() for batch in task.validation_batches()]

    assert len(losses) == 3
    assert run.epoch(1).info["validation"]["loss"] == pytest.approx(sum(losses) / 3)


def test_a_validation_loss_that_is_not_finite_publishes_nothing(tmp_path: Path) -> None:
    run, task = RunFolder(tmp_path / "toy"), ToyTask(held_out=4)
    task.held_out[3] = float("inf")
    with pytest.raises(Diverged, match="validation loss of epoch 1"):
        loop.train(task, toy_config(), run)

    assert run.epochs() == []


def test_bfloat16_is_the_arithmetic_s_and_never_the_weights(whole: RunFolder, tmp_path: Path) -> None:
    run, task = RunFolder(tmp_path / "toy"), ToyTask()
    seen: list[torch.dtype] = []
    task.module.layers[0].register_forward_hook(lambda _module, _given, out: seen.append(out.dtype))
    loop.train(task, toy_config(epochs=3, precision="bfloat16"), run)

    assert set(seen) == {torch.bfloat16}
    published = load_file(run.epoch(3).folder / "weights.safetensors")
    exact = load_file(whole.epoch(3).folder / "weights.safetensors")
    state = load_state(run.state)
    assert state is not None
    moments = [value for kept in state["optimizer"]["state"].values() for value in kept.values()]
    assert {value.dtype for value in [*published.values(), *state["weights"].values(), *moments]} == {torch.float32}
    assert any(not torch.equal(value, value.bfloat16().float()) for value in published.values())
    off = max((published[name] - value).abs().max().item() for name, value in exact.items())
    assert 0 < off < 0.05


def test_trained_weights_in_short_numbers_are_refused(tmp_path: Path) -> None:
    task = ToyTask()
    task.module.layers[3].bfloat16()
    with pytest.raises(ConfigError, match=r"layers\.3\.weight is torch\.bfloat16"):
        loop.train(task, toy_config(), RunFolder(tmp_path / "toy"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_before_any_work(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "toy")
    with pytest.raises(Unavailable, match="torch sees no GPU"):
        loop.train(ToyTask(), toy_config(device="cuda"), run)

    assert not run.path.exists()


def test_groups_have_their_own_rate_decay_and_betas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizers: list[torch.optim.AdamW] = []

    class Kept(torch.optim.AdamW):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            optimizers.append(self)

    monkeypatch.setattr(torch.optim, "AdamW", Kept)
    task = ToyTask()
    first, last = task.module.layers[0], task.module.layers[3]
    task.param_groups = lambda: [  # type: ignore[method-assign]
        {"name": "first", "params": list(first.parameters()), "lr_scale": 0.1, "weight_decay": 0.0},
        {"name": "last", "params": list(last.parameters()), "betas": (0.9, 0.999)},
    ]
    run = RunFolder(tmp_path / "toy")
    loop.train(task, toy_config(epochs=1), run)

    got = [[group[key] for key in ("lr", "weight_decay", "betas")] for group in optimizers[0].param_groups]
    assert got == [[pytest.approx(1e-3), 0.0, (0.8, 0.99)], [1e-2, 0.01, (0.9, 0.999)]]
    assert run.epoch(1).info["lr"] == 1e-2
