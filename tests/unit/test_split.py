"""Clips held out of training, and where a training computes."""

from __future__ import annotations

import pytest

from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, Unavailable, UsageError
from tts_train.training.compute import Compute, Gpus, resolve
from tts_train.training.ranks import refuse_foreign_launcher
from tts_train.training.split import held_out

IDS = [f"clip-{number:03d}" for number in range(40)]


def config(**changes: object) -> TrainConfig:
    fixed = {"voice": "a", "backend": "piper", "dataset": "m", "epochs": 2, "lr": 1e-5, "threads": 4}
    return TrainConfig.model_validate({**fixed, **changes})


def test_the_choice_depends_on_ids_and_seed_alone() -> None:
    chosen = held_out(IDS, 5, seed=0)

    assert len(chosen) == 5
    assert chosen <= set(IDS)
    assert held_out(IDS[::-1], 5, seed=0) == chosen
    assert held_out(IDS, 5, seed=1) != chosen
    assert held_out(IDS, 4, seed=0) < chosen
    assert held_out(IDS, 0, seed=0) == set()


def test_clips_that_join_later_reshuffle_nothing() -> None:
    chosen, later = held_out(IDS, 5, seed=0), held_out([*IDS, "new"], 5, seed=0)

    assert len(chosen - later) <= 1


@pytest.mark.parametrize("count", [40, 41])
def test_something_must_be_left_to_train_on(count: int) -> None:
    with pytest.raises(ConfigError, match=f"validation_clips {count} leaves nothing of 40 clips") as caught:
        held_out(IDS, count, seed=0)

    assert "at most 39" in caught.value.hint
    assert len(held_out(IDS, 39, seed=0)) == 39


NONE, OLD, NEW = Gpus(0, bfloat16=False), Gpus(1, bfloat16=False), Gpus(2, bfloat16=True)


@pytest.mark.parametrize(
    ("device", "precision", "gpus", "expected"),
    [
        ("auto", "auto", NONE, ("cpu", "float32")),
        ("auto", "bfloat16", NONE, ("cpu", "bfloat16")),
        ("cpu", "auto", NEW, ("cpu", "float32")),
        ("auto", "auto", NEW, ("cuda", "bfloat16")),
        ("auto", "auto", OLD, ("cuda", "float32")),
        ("cuda", "float32", NEW, ("cuda", "float32")),
    ],
)
def test_auto_takes_what_is_there(device: str, precision: str, gpus: Gpus, expected: tuple[str, str]) -> None:
    found = resolve(config(device=device, precision=precision), gpus)

    assert (found.device, found.precision) == expected


@pytest.mark.parametrize(
    ("changes", "gpus", "message"),
    [
        ({"device": "cuda"}, NONE, "torch sees no GPU"),
        ({"processes": 2, "accumulation": 2}, OLD, "2 processes need a GPU each, torch sees 1"),
        ({"precision": "bfloat16"}, OLD, "does not compute in bfloat16"),
    ],
)
def test_what_is_not_there_is_unavailable(changes: dict[str, object], gpus: Gpus, message: str) -> None:
    with pytest.raises(Unavailable, match=message) as caught:
        resolve(config(**changes), gpus)

    assert caught.value.exit_code == 69


def test_threads_are_shared_out() -> None:
    assert resolve(config(), NONE) == Compute("cpu", "float32", 4)
    assert resolve(config(processes=3, accumulation=3), NONE).threads == 1


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"},
        # accelerate 1.12 launch --cpu --num_processes 2, recorded: one process, no word of it.
        {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1", "ACCELERATE_MIXED_PRECISION": "no"},
    ],
)
def test_foreign_launchers_are_refused(variables: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="torchrun, accelerate") as caught:
        refuse_foreign_launcher(variables)

    assert "--processes N" in caught.value.hint
    assert caught.value.exit_code == 2
    refuse_foreign_launcher({"ACCELERATE_LOG_LEVEL": "info", "PATH": "/bin"})
