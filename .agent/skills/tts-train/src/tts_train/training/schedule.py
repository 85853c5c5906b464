"""Learning rate as a pure function of the optimizer step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from tts_train.config import Schedule


def lr_at(step: int, *, peak: float, schedule: Schedule, total_steps: int) -> float:
    """Learning rate of optimizer step `step` (the first is 0).

    Warm-up is linear and reaches `peak` at step `warmup_steps - 1`; linear and cosine then fall to 0 at the horizon
    and stay there: a horizon given in epochs by mistake shows as a run that stops learning, which `next` recognises.
    """
    warmup = schedule.warmup_steps
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if schedule.shape == "constant":
        return peak * rise
    horizon = schedule.horizon_steps or total_steps
    if step >= horizon:
        return 0.0
    if horizon <= warmup:
        return peak * rise
    progress = max(0.0, (step - warmup) / (horizon - warmup))
    fall = 1.0 - progress if schedule.shape == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
    return peak * rise * fall


def sum_lr(steps: int, *, peak: float, schedule: Schedule, total_steps: int) -> float:
    """Σ lr over the first `steps` optimizer steps: the bound on how far the weights can drift."""
    return math.fsum(lr_at(step, peak=peak, schedule=schedule, total_steps=total_steps) for step in range(steps))
