"""Evidence of a run: what its files say about every epoch, without a judgement.

Training facts come from epoch.json, what was measured on the renders from measures.json, Σlr with other settings
from the schedule itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tts_train.backends import Recipe, backend
from tts_train.config import Schedule, TrainConfig
from tts_train.errors import ConfigError, InputUnusable
from tts_train.files import read_json
from tts_train.probe.render import MEASURES, is_stale, render_folder, weights_sha256
from tts_train.review.decision.measured import Measures, measures_from, number
from tts_train.training.run import Epoch, RunFolder
from tts_train.training.schedule import sum_lr
from tts_train.training.status import read_status
from tts_train.workspace import Workspace

_GENERATIONS = 50


@dataclass(frozen=True)
class EpochEvidence:
    """One epoch; 0 is the untouched base. None is "not known": of a run that was trained elsewhere."""

    epoch: int
    step: int | None = 0
    sum_lr: float | None = 0.0
    drift: float | None = 0.0
    loss: float | None = None
    measures: Measures | None = None
    stale: bool = False
    """What was measured is of renders that other weights spoke: it is left out."""


@dataclass(frozen=True)
class SumLr:
    """Σ lr over the steps taken so far, its bound without decay, and what the backend's recipe reaches in them."""

    actual: float
    without_decay: float
    recipe: float | None = None

    @property
    def aim(self) -> float:
        """What the run should have reached: the recipe's, or without a known recipe its own without decay."""
        return self.without_decay if self.recipe is None else self.recipe

    @property
    def missing(self) -> float:
        """How much the aim has on top of this run; 0 when the run has more."""
        return max(0.0, self.aim - self.actual)

    @property
    def restored(self) -> float:
        """The part of what is missing that removing the decay restores, 0 to 1."""
        return min(1.0, (self.without_decay - self.actual) / self.missing) if self.missing else 0.0


@dataclass(frozen=True)
class Evidence:
    """A run as its files show it."""

    run: str
    config: TrainConfig
    epochs: tuple[EpochEvidence, ...]
    """Epoch 0 first, then the published ones in order."""
    recipe: Recipe | None = None
    state: str = "done"
    render_key: str | None = None
    inherited_steps: int = 0
    inherited_sum_lr: float = 0.0
    """Of the ancestors whose weights this run began with."""
    trained_here: bool = True
    """False: an adopted run, of which schedule, steps and data are not known."""
    lr_known: bool = True
    lr_changed: bool = False
    """The config's lr is not the one of all steps, so what they would have been without decay is not known."""

    @property
    def last(self) -> EpochEvidence:
        return self.epochs[-1]

    @property
    def base(self) -> Measures | None:
        return self.epochs[0].measures

    @property
    def steps_per_epoch(self) -> float | None:
        if self.last.step is None:
            return None
        return self.last.step / self.last.epoch if self.last.epoch else 0.0

    @property
    def stale(self) -> tuple[int, ...]:
        """Epochs whose measures were left out: other weights spoke them."""
        return tuple(item.epoch for item in self.epochs if item.stale)

    @property
    def measured(self) -> bool:
        """Whether any trained epoch has measures."""
        return any(item.measures for item in self.epochs[1:])

    def at(self, epoch: int) -> EpochEvidence:
        """An epoch by number. Raises ConfigError when it is not published."""
        for item in self.epochs:
            if item.epoch == epoch:
                return item
        raise ConfigError(f"run '{self.run}' has no epoch {epoch}", hint="look at: run.sh report RUN")

    def sum_lr(self, epoch: int) -> SumLr | None:
        """Σ lr up to an epoch, ancestors' weights included; None when it is not on record."""
        here = self.at(epoch)
        if not self.trained_here or here.step is None or here.sum_lr is None:
            return None
        steps, warmup = here.step, self.config.schedule.warmup_steps
        constant = Schedule(shape="constant", warmup_steps=warmup)
        peak = 0.0 if self.lr_changed else self.config.lr
        without = sum_lr(steps, peak=peak, schedule=constant, total_steps=steps)
        recipe = None
        if self.recipe:
            gentle = Schedule(shape="constant", warmup_steps=self.recipe.warmup_steps)
            all_steps = steps + self.inherited_steps
            recipe = sum_lr(all_steps, peak=self.recipe.lr, schedule=gentle, total_steps=all_steps)
        inherited = self.inherited_sum_lr
        return SumLr(here.sum_lr + inherited, max(without, here.sum_lr) + inherited, recipe)


def read_evidence(workspace: Workspace, run: str) -> Evidence:
    """Evidence of a run. Raises InputUnusable when there is no such run or it has published nothing."""
    folder = RunFolder(workspace.run(run))
    config, published = folder.config(), folder.epochs()
    info = folder.info()
    state = str(read_status(folder.path)["state"])
    if not published:
        hint = f"run.sh status {run} says how far it is"
        raise InputUnusable(f"run '{run}' has published no epoch yet (it is {state})", hint=hint)
    key = newest_render_key(folder.path)
    epochs = [_epoch(folder, key, item) for item in (folder.epoch(0), *published)]
    steps, inherited = _inherited(workspace, config)
    recipe = _recipe(config.backend)
    return Evidence(
        run,
        config,
        tuple(epochs),
        recipe,
        state,
        key,
        steps,
        inherited,
        trained_here=not info.get("adopted", False),
        lr_known=bool(info.get("lr_known", True)),
        lr_changed="lr_changes" in info,
    )


def last_measures(run: RunFolder) -> Measures | None:
    """Those of the last trained epoch that was measured; read from the end, as a list of many runs wants no more."""
    key = newest_render_key(run.path)
    found = (_epoch(run, key, item).measures for item in reversed(run.epochs()))
    return next((measures for measures in found if measures), None)


def newest_render_key(run: Path) -> str | None:
    """The render key whose renders were touched last; keys are never mixed."""
    keys = [path for path in (run / "renders").glob("*") if path.is_dir() and not path.name.startswith(".")]
    newest = max(keys, key=_touched, default=None)
    return newest.name if newest else None


def _epoch(run: RunFolder, key: str | None, epoch: Epoch) -> EpochEvidence:
    renders = render_folder(run, key, epoch.number) if key else None
    path = renders / MEASURES if renders else None
    there = path is not None and path.is_file()
    stale = there and renders is not None and is_stale(renders, weights_sha256(run, epoch))
    return EpochEvidence(
        epoch=epoch.number,
        step=None if epoch.info["step"] is None else int(epoch.info["step"]),
        sum_lr=number(epoch.info["sum_lr"]),
        drift=number(epoch.info["drift"]),
        loss=number(epoch.info.get("loss", {}).get("loss")),
        measures=measures_from(read_json(path)) if there and path and not stale else None,
        stale=stale,
    )


def _inherited(workspace: Workspace, config: TrainConfig) -> tuple[int, float]:
    """Steps and Σ lr behind the weights a run began with. Ancestors that were removed or adopted count nothing."""
    steps, total, parent = 0, 0.0, config.parent
    for _ in range(_GENERATIONS):
        if parent is None or not parent.from_weights:
            break
        try:
            folder = RunFolder(workspace.run(parent.run))
            info = folder.epoch(parent.epoch).info
            parent = folder.config().parent
        except (InputUnusable, ConfigError):
            break
        if info["step"] is None or info["sum_lr"] is None:
            break
        steps, total = steps + int(info["step"]), total + float(info["sum_lr"])
    return steps, total


def _recipe(name: str) -> Recipe | None:
    try:
        return backend(name).recipe
    except ConfigError:
        return None


def _touched(folder: Path) -> float:
    times = (path.stat().st_mtime for path in (folder, *folder.glob("epoch-*"), *folder.glob("epoch-*/*.json")))
    return max(times, default=0.0)
