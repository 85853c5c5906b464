"""The one training loop: every family brings a Task, everything else happens here.

Owned here: optimizer, learning rate, accumulation, gradient clipping, the check for non-finite numbers, weight
drift, signals, published epochs, state and exact resume, status, metrics.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, Diverged, Stopped
from tts_train.files import require_space, sweep
from tts_train.output import progress
from tts_train.training.metrics import Metrics
from tts_train.training.run import RunFolder
from tts_train.training.schedule import lr_at
from tts_train.training.state import load_state, save_state, seed_step
from tts_train.training.status import Status
from tts_train.training.task import Task

if TYPE_CHECKING:
    import torch

RUNAWAY = 100.0
"""A loss this many times the run's first one counts as diverged."""


@dataclass
class Position:
    """Where a run is. All of it goes into the state."""

    step: int = 0
    epoch: int = 1
    steps_in_epoch: int = 0
    sum_lr: float = 0.0
    first_loss: float | None = None
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    seconds: float = 0.0


def train(
    task: Task,
    config: TrainConfig,
    run: RunFolder,
    on_epoch: Callable[[int], None] = lambda _number: None,
) -> dict[str, Any]:
    """Train to `config.epochs`, resuming whatever is there. Returns {steps, resumed_from_step, epochs trained now}.

    Raises Diverged (non-finite or runaway loss; published epochs stay), Stopped (signal; state saved), DiskError.
    The caller holds the run's lock. `on_epoch(number)` is called after an epoch is published and its state saved.
    """
    import torch

    torch.set_num_threads(config.threads)
    sweep(run.path)
    trainer = _Trainer(task, config, run)
    resumed = trainer.restore()
    if trainer.at.epoch > config.epochs:
        return {"steps": trainer.at.step, "resumed_from_step": resumed, "trained": []}
    trained: list[int] = []
    with (
        Status(run.path / "status.json") as status,
        Metrics(run.metrics, run.path / "tb", resume_step=resumed) as metrics,
        _signals() as received,
    ):
        while trainer.at.epoch <= config.epochs:
            number = trainer.at.epoch
            trainer.epoch(status, metrics, received)
            trained.append(number)
            on_epoch(number)
        status.update(state="done", eta_seconds=0.0)
    return {"steps": trainer.at.step, "resumed_from_step": resumed, "trained": trained}


class _Trainer:
    def __init__(self, task: Task, config: TrainConfig, run: RunFolder) -> None:
        import torch

        self.task, self.config, self.run = task, config, run
        self.at = Position()
        groups = task.param_groups()
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        if not self.parameters:
            raise ConfigError("nothing to train: no parameter requires a gradient", hint="name the parts to train")
        self.optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.8, 0.99), weight_decay=config.weight_decay)
        self.start_weights = [parameter.detach().clone() for parameter in self.parameters]
        size = sum(value.numel() * value.element_size() for value in task.module.state_dict().values())
        require_space(run.path, size * (config.epochs + 6))

    def restore(self) -> int:
        """Load the saved state, if any. Returns the step to go on from."""
        state = load_state(self.run.state, self.parameters[0].device)
        if state is None:
            return 0
        self.task.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.task.load_state(state["task"])
        self.at = Position(**state["position"])
        return self.at.step

    def save(self) -> None:
        save_state(
            self.run.state,
            {
                "module": self.task.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "task": self.task.state(),
                "position": {**vars(self.at), "sums": dict(self.at.sums)},
            },
        )

    def epoch(self, status: Status, metrics: Metrics, received: list[int]) -> None:
        """Train the rest of the current epoch, publish it, save the state."""
        batches = self.task.batches(self.at.epoch, self.config.seed)
        groups = _grouped(batches, self.config.accumulation)
        total = len(groups) * self.config.epochs
        if self.at.steps_in_epoch == 0:
            progress(f"epoch {self.at.epoch}/{self.config.epochs}: {len(groups)} optimizer steps")
        self.task.module.train()
        started, first = time.monotonic(), self.at.step
        for group in groups[self.at.steps_in_epoch :]:
            row = self.optimizer_step(group, total)
            metrics.write(row)
            eta = (time.monotonic() - started) / (self.at.step - first) * (total - self.at.step)
            status.update(
                write=self.at.step == first + 1,
                state="training",
                step=self.at.step,
                epoch=self.at.epoch,
                loss=row["loss"],
                eta_seconds=round(eta, 1),
            )
            if received:
                self._count_seconds(started)
                self.save()
                raise Stopped(
                    received[0],
                    f"stopped at step {self.at.step}, state saved",
                    hint="run the same command again",
                )
            if self.config.save_every_steps and self.at.step % self.config.save_every_steps == 0:
                self.save()
        self._count_seconds(started)
        self.finish_epoch(metrics)

    def optimizer_step(self, group: Sequence[Any], total_steps: int) -> dict[str, Any]:
        """One optimizer step over an accumulation group; every batch weighs the same."""
        import torch

        config, at = self.config, self.at
        lr = lr_at(at.step, peak=config.lr, schedule=config.schedule, total_steps=total_steps)
        for options in self.optimizer.param_groups:
            options["lr"] = lr
        seed_step(config.seed, at.step)
        self.optimizer.zero_grad(set_to_none=True)
        means: dict[str, float] = {}
        for batch in group:
            terms: dict[str, torch.Tensor] = self.task.module(batch)
            loss = torch.stack(list(terms.values())).sum()
            self._check(loss.item(), terms)
            (loss / len(group)).backward()
            for name, value in {**terms, "loss": loss}.items():
                means[name] = means.get(name, 0.0) + value.item() / len(group)
                at.sums[name] = at.sums.get(name, 0.0) + value.item()
            at.counted += 1
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, config.clip_grad))
        if not math.isfinite(norm):
            raise Diverged(
                f"the gradient is not finite at step {at.step + 1}",
                hint="halve lr; published epochs are whole",
            )
        self.optimizer.step()
        at.step, at.steps_in_epoch, at.sum_lr = at.step + 1, at.steps_in_epoch + 1, at.sum_lr + lr
        return {"kind": "step", "step": at.step, "epoch": at.epoch, **means, "lr": lr, "grad_norm": norm}

    def finish_epoch(self, metrics: Metrics) -> None:
        """Publish the epoch, then move on; the state is saved last, so a crash before it repeats the same epoch."""
        at = self.at
        means = {name: value / at.counted for name, value in at.sums.items()}
        info = {
            "epoch": at.epoch,
            "step": at.step,
            "loss": means,
            "sum_lr": at.sum_lr,
            "drift": self.drift(),
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": round(at.seconds, 1),
        }
        self.run.publish(at.epoch, self.task.export, info)
        metrics.write({"kind": "epoch", **info, **{f"mean_{name}": value for name, value in means.items()}})
        progress(
            f"epoch {at.epoch}/{self.config.epochs} published: loss {means['loss']:.3f}, "
            f"Σlr {at.sum_lr:.2e}, drift {info['drift']:.4f}, {at.seconds:.0f} s"
        )
        self.at = Position(step=at.step, epoch=at.epoch + 1, sum_lr=at.sum_lr, first_loss=at.first_loss)
        self.save()

    def drift(self) -> float:
        """How far the trained weights moved: ‖w − w₀‖ / ‖w₀‖ over all trained parameters."""
        import torch

        pairs = zip(self.parameters, self.start_weights, strict=True)
        moved = torch.stack([(now.detach() - before).norm() for now, before in pairs])
        whole = torch.stack([before.norm() for before in self.start_weights])
        return float(moved.norm() / whole.norm())

    def _check(self, loss: float, terms: dict[str, torch.Tensor]) -> None:
        place = f"epoch {self.at.epoch}, step {self.at.step + 1}"
        named = ", ".join(f"{name} {value.item():.4g}" for name, value in terms.items())
        if not math.isfinite(loss):
            raise Diverged(f"the loss is not finite at {place} ({named})", hint="halve lr; published epochs are whole")
        if self.at.first_loss is None:
            self.at.first_loss = loss
        if abs(loss) > RUNAWAY * max(abs(self.at.first_loss), 1e-3):
            raise Diverged(
                f"the loss ran away at {place}: {loss:.4g} ({named})",
                hint="lower lr; published epochs are whole",
            )

    def _count_seconds(self, started: float) -> None:
        self.at.seconds += time.monotonic() - started


def _grouped(batches: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [batches[start : start + size] for start in range(0, len(batches), size)]


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGTERM, SIGINT and SIGHUP; the loop acts on them after the step under way."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        progress(f"signal {signal.Signals(number).name}: saving after this step")
        received.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
