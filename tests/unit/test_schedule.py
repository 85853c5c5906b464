"""Learning rate as a function of the step."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tts_train.config import Schedule
from tts_train.training.schedule import lr_at, sum_lr


def rates(schedule: Schedule, total: int = 100) -> list[float]:
    return [lr_at(step, peak=1.0, schedule=schedule, total_steps=total) for step in range(total)]


def test_warmup_rises_linearly_to_the_peak() -> None:
    assert rates(Schedule(shape="constant", warmup_steps=4))[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_decay_reaches_nothing_at_the_horizon_and_stays(shape: str) -> None:
    falling = rates(Schedule(shape=shape, warmup_steps=10, horizon_steps=60))  # type: ignore[arg-type]

    assert falling[59] < 0.03
    assert falling[60:] == [0.0] * 40
    assert all(a >= b for a, b in pairwise(falling[10:]))


def test_a_null_horizon_is_the_last_step() -> None:
    falling = rates(Schedule(shape="linear", warmup_steps=0))

    assert falling[50] == pytest.approx(0.5)
    assert falling[99] == pytest.approx(0.01)


def test_a_horizon_in_the_wrong_unit_leaves_almost_nothing() -> None:
    """Six epochs read as six steps: the sum of rates tells it, the loss does not."""
    wrong = sum_lr(150, peak=5e-5, schedule=Schedule(shape="linear", warmup_steps=5, horizon_steps=6), total_steps=150)
    right = sum_lr(150, peak=5e-5, schedule=Schedule(), total_steps=150)

    assert wrong / right < 0.05
