"""The one training loop: every family brings a Task, everything else happens here.

Owned here: device and precision, optimizer, learning rate, accumulation, data parallelism, gradient clipping, the check
for non-finite numbers, weight drift, validation, signals, published epochs, state and exact resume, status, metrics.

The recipe does not depend on the number of processes: `accumulation` batches make one optimizer step, of which rank r
computes every `count`-th. See docs/decisions/006-data-parallel.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, Diverged, Stopped
from tts_train.files import require_space, sha256_json, sweep
from tts_train.training.compute import resolve
from tts_train.training.ranks import Ranks, joined
from tts_train.training.records import Records, signals, told
from tts_train.training.run import RunFolder
from tts_train.training.schedule import lr_at
from tts_train.training.state import VALIDATION, load_state, save_state, seed_batch
from tts_train.training.status import read_status
from tts_train.training.task import Task
from tts_train.training.weights import TrainedWeights

if TYPE_CHECKING:
    import torch

RUNAWAY = 100.0
"""A loss this many times the run's first one counts as diverged."""

Terms = dict[str, float]
"""Loss terms of one batch, and their sum as `loss`."""


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
    on_epoch: Callable[[int], str | None] = lambda _number: None,
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    """Train to `config.epochs`, resuming whatever is there. Returns {steps, resumed_from_step, epochs trained now}.

    With several processes every one of them calls this; `ranks` is what `joined(config)` gave, None joins here.
    Raises Diverged (non-finite or runaway loss; published epochs stay), Stopped (signal; state saved), DiskError,
    Unavailable (no such GPU). The caller, or its launcher, holds the run's lock. `on_epoch(number)` is called on rank
    0 after an epoch is published and its state saved, again when a crash may have kept it from its end; a sentence that
    it returns is the reason to train no further epoch.
    """
    if ranks is None:
        with joined(config) as met:
            return train(task, config, run, on_epoch, met)
    trainer = _Trainer(task, config, run, ranks)
    if ranks.first:
        sweep(run.path)
    resumed = trainer.restore()
    # Not by the epochs alone: a crash after the last one is published leaves what follows from it undone.
    if ranks.gather(trainer.at.epoch > config.epochs and read_status(run.path)["state"] == "done")[0]:
        return {"steps": trainer.at.step, "resumed_from_step": resumed, "trained": []}
    trained: list[int] = []
    with (
        told(run, resume_step=resumed) if ranks.first else nullcontext(Records()) as records,
        signals() as received,
    ):
        at_boundary = trainer.at.epoch > 1 and trainer.at.steps_in_epoch == 0
        reason = _told_by_first(ranks, on_epoch, trainer.at.epoch - 1) if at_boundary else None
        if reason is None and trainer.at.epoch <= config.epochs:
            trainer.require_space()
        while reason is None and trainer.at.epoch <= config.epochs:
            number = trainer.at.epoch
            trainer.epoch(records, received)
            trained.append(number)
            reason = _told_by_first(ranks, on_epoch, number)
        records.done(step=trainer.at.step, epoch=trainer.at.epoch - 1, reason=reason)
    return {"steps": trainer.at.step, "resumed_from_step": resumed, "trained": trained}


def _told_by_first(ranks: Ranks, on_epoch: Callable[[int], str | None], number: int) -> str | None:
    """What rank 0's `on_epoch` says, on every rank; nobody goes on before it has ended."""
    reason: str | None = ranks.gather(on_epoch(number) if ranks.first else None)[0]
    return reason


class _Trainer:
    def __init__(self, task: Task, config: TrainConfig, run: RunFolder, ranks: Ranks) -> None:
        import torch

        self.task, self.config, self.run, self.ranks = task, config, run, ranks
        self.compute = resolve(config)
        self.device = self.compute.place(ranks.rank)
        torch.set_num_threads(self.compute.threads)
        task.module.to(self.device)
        self.at = Position()
        groups = task.param_groups()
        self.weights = TrainedWeights(task.module, groups)
        self.optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.8, 0.99), weight_decay=config.weight_decay)
        if ranks.first:
            self.weights.remember_start()

    def restore(self) -> int:
        """Load the saved state, if any, in every process. Returns the step to go on from."""
        state = load_state(self.run.state)
        if state is not None:
            self.weights.load(state["weights"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.task.load_state(state["task"])
            self.at = Position(**state["position"])
        self.ranks.assert_equal("data at the start", sha256_json([self.task.state(), vars(self.at)]))
        self._assert_equal_weights("weights at the start")
        return self.at.step

    def require_space(self) -> None:
        """Raise DiskError unless the epochs to come and the state have room (weights and two moments; the old state
        stays until the new one is whole).
        """
        epoch = sum(value.nbytes for value in self.task.module.state_dict().values())
        states = 1 if self.run.state.is_file() else 2
        needed = epoch * (self.config.epochs - self.at.epoch + 1) + 3 * self.weights.nbytes * states
        if self.ranks.first:
            require_space(self.run.path, needed)

    def save(self) -> None:
        """Rank 0 writes the state; nobody goes on before it is whole."""
        if self.ranks.first:
            position = {**vars(self.at), "sums": dict(self.at.sums)}
            save_state(
                self.run.state,
                {
                    "weights": self.weights.tensors,
                    "optimizer": self.optimizer.state_dict(),
                    "task": self.task.state(),
                    "position": position,
                },
            )
        self.ranks.barrier()

    def epoch(self, records: Records, received: list[int]) -> None:
        """Train the rest of the current epoch, publish it, save the state."""
        config = self.config
        batches = self.task.batches(self.at.epoch, config.seed)
        groups = [range(start, min(start + config.accumulation, len(batches))) for start in _starts(batches, config)]
        total = len(groups) * config.epochs
        self.ranks.assert_equal(f"the number of batches in epoch {self.at.epoch}", str(len(batches)))
        if self.at.steps_in_epoch == 0:
            records.say(f"epoch {self.at.epoch}/{config.epochs}: {len(groups)} optimizer steps")
        self.task.module.train()
        started, first = time.monotonic(), self.at.step
        for group in groups[self.at.steps_in_epoch :]:
            row = self.optimizer_step(batches, group, total)
            pace = (time.monotonic() - started) / (self.at.step - first)
            records.step(row, eta_seconds=pace * (total - self.at.step), write=self.at.step == first + 1)
            stop = self.ranks.any(received)
            if stop is not None:
                self._count_seconds(started)
                self.save()
                raise Stopped(stop, f"stopped at step {self.at.step}, state saved", hint="run the same command again")
            if config.save_every_steps and self.at.step % config.save_every_steps == 0:
                self.save()
        validation = self.validation()
        self._count_seconds(started)
        self.finish_epoch(records, validation, self._rate(self.at.step - 1, total))

    def optimizer_step(self, batches: Sequence[Any], group: range, total_steps: int) -> dict[str, Any]:
        """One optimizer step over an accumulation group; every batch weighs the same."""
        import torch

        at, lr = self.at, self._rate(self.at.step, total_steps)
        for options in self.optimizer.param_groups:
            options["lr"] = lr * options.get("lr_scale", 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        means: Terms = {}
        for terms in self._everybodys(self._gradients(batches, group)):
            self._check(terms)
            for name, value in terms.items():
                means[name] = means.get(name, 0.0) + value / len(group)
                at.sums[name] = at.sums.get(name, 0.0) + value
            at.counted += 1
        self.ranks.sum_gradients(self.weights.parameters)
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights.parameters, self.config.clip_grad))
        if not math.isfinite(norm):
            raise Diverged(
                f"the gradient is not finite at step {at.step + 1}",
                hint="halve lr; published epochs are whole",
            )
        self.optimizer.step()
        at.step, at.steps_in_epoch, at.sum_lr = at.step + 1, at.steps_in_epoch + 1, at.sum_lr + lr
        return {"kind": "step", "step": at.step, "epoch": at.epoch, **means, "lr": lr, "grad_norm": norm}

    def _gradients(self, batches: Sequence[Any], group: range) -> dict[int, Terms]:
        """Accumulate the gradients of this rank's share; its losses by place in the group.

        Ends at a loss that is not finite, before its gradients mix with others; `_check` then stops every rank.
        """
        found: dict[int, Terms] = {}
        for index in range(self.ranks.rank, len(group), self.ranks.count):
            seed_batch(self.config.seed, self.at.step, index)
            loss, found[index] = self._forward(batches[group[index]])
            if not math.isfinite(found[index]["loss"]):
                break
            (loss / len(group)).backward()
        return found

    def _forward(self, batch: Any) -> tuple[torch.Tensor, Terms]:
        import torch

        with self.compute.autocast():
            terms = self.task.module(batch)
        loss = torch.stack([value.float() for value in terms.values()]).sum()
        return loss, {name: value.item() for name, value in {**terms, "loss": loss}.items()}

    def _everybodys(self, mine: Mapping[int, Terms]) -> list[Terms]:
        """Losses of all ranks in the order of the batches: what follows from them is the same everywhere."""
        there = {index: terms for share in self.ranks.gather(dict(mine)) for index, terms in share.items()}
        return [there[index] for index in sorted(there)]

    def validation(self) -> Terms:
        """Mean terms over the held-out batches, each with the same random numbers after every epoch; {} without any."""
        import torch

        batches = self.task.validation_batches()
        if not len(batches):
            return {}
        found: dict[int, Terms] = {}
        self.task.module.eval()
        with torch.no_grad():
            for index in range(self.ranks.rank, len(batches), self.ranks.count):
                seed_batch(self.config.seed, VALIDATION, index)
                _, found[index] = self._forward(batches[index])
        rows = self._everybodys(found)
        means = {name: math.fsum(row[name] for row in rows) / len(rows) for name in rows[0]}
        if not all(map(math.isfinite, means.values())):
            raise Diverged(
                f"the validation loss of epoch {self.at.epoch} is not finite",
                hint="halve lr; published epochs are whole",
            )
        return means

    def finish_epoch(self, records: Records, validation: Terms, lr: float) -> None:
        """Publish the epoch, then move on; the state is saved last, so a crash before it repeats the same epoch."""
        at = self.at
        means = {name: value / at.counted for name, value in at.sums.items()}
        self._assert_equal_weights(f"weights after epoch {at.epoch}")
        if self.ranks.first:
            info = {
                "epoch": at.epoch,
                "step": at.step,
                "loss": means,
                **({"validation": validation} if validation else {}),
                "sum_lr": at.sum_lr,
                "drift": self.weights.drift(),
                "lr": lr,
                "seconds": round(at.seconds, 1),
            }
            self.run.publish(at.epoch, self.task.export, info)
            flat = {f"mean_{name}": value for name, value in means.items()}
            flat |= {f"validation_{name}": value for name, value in validation.items()}
            records.epoch({"kind": "epoch", **info, **flat})
            unseen = f"validation {validation['loss']:.3f}, " if validation else ""
            records.say(
                f"epoch {at.epoch}/{self.config.epochs} published: loss {means['loss']:.3f}, {unseen}"
                f"Σlr {at.sum_lr:.2e}, drift {info['drift']:.4f}, {at.seconds:.0f} s"
            )
        self.at = Position(step=at.step, epoch=at.epoch + 1, sum_lr=at.sum_lr, first_loss=at.first_loss)
        self.save()

    def _assert_equal_weights(self, what: str) -> None:
        if self.ranks.count > 1:
            self.ranks.assert_equal(what, self.weights.sha256())

    def _rate(self, step: int, total_steps: int) -> float:
        return lr_at(step, peak=self.config.lr, schedule=self.config.schedule, total_steps=total_steps)

    def _check(self, terms: Terms) -> None:
        loss, place = terms["loss"], f"epoch {self.at.epoch}, step {self.at.step + 1}"
        named = ", ".join(f"{name} {value:.4g}" for name, value in terms.items() if name != "loss")
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


def _starts(batches: Sequence[Any], config: TrainConfig) -> range:
    if not len(batches):
        raise ConfigError("there is no batch to train on", hint="is every clip held out for validation?")
    return range(0, len(batches), config.accumulation)
