"""The queue of a campaign: every step that its configs ask for, in order, each one a command of this product."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tts_train.config import TrainConfig, load_train_config
from tts_train.errors import ConfigError, Problem, TtsTrainError
from tts_train.probe.probe import load_probe
from tts_train.work.campaign.recipe import ALIGNED, CODES, MAKES, Source, argv_of, load_recipe, recipe_path
from tts_train.work.patience import require_measures
from tts_train.workspace import Workspace, check_name

_NAME_LENGTH = 50


@dataclass(frozen=True)
class Order:
    """A config of the campaign."""

    path: str
    """As files name it: relative to the workspace where possible."""
    config: TrainConfig
    manifest: Path
    steps: tuple[str, ...]
    """Steps of its dataset; none when that is there and nothing says how it was made."""

    @property
    def dataset(self) -> str:
        return self.manifest.parent.name


@dataclass(frozen=True)
class Step:
    """One command to run. `after` are the ids of steps that have to be done before it."""

    order: Order
    step: str
    subject: str
    """The dataset that it makes, or the run that it trains or probes."""
    argv: tuple[str, ...]
    after: tuple[str, ...] = ()

    @property
    def identifier(self) -> str:
        return _identifier(self.step, self.subject)

    @property
    def product(self) -> Path | None:
        """The manifest that it makes, if it makes one."""
        name = MAKES.get(self.step)
        return self.order.manifest.parent / name if name else None


class Queue(NamedTuple):
    orders: list[Order]
    steps: list[Step]


def read_queue(
    workspace: Workspace, paths: Sequence[Path], patience: int | None, is_open: Callable[[str], bool]
) -> Queue:
    """Read configs and recipes, and put their steps in order; a dataset that several configs name is made once.

    `is_open(id)`: whether a step was begun before and not ended. Raises ConfigError with every problem of every file.
    """
    problems: list[Problem] = []
    orders: list[Order] = []
    recipes: dict[str, Source] = {}
    runs: dict[str, str] = {}
    for given in paths:
        path = workspace.relative(given)
        try:
            config = load_train_config(given, workspace, dataset_to_come=True)
            if config.run in runs:
                raise ConfigError(f"run '{config.run}' is trained by {runs[config.run]} already")
            runs[config.run] = path
            _check(config, workspace, patience)
            orders.append(_order(path, config, workspace, is_open, recipes))
        except TtsTrainError as error:
            problems += error.problems or [Problem(told(error), path)]
    if problems:
        unique = list(dict.fromkeys(problems))
        raise ConfigError(
            f"the campaign has {len(unique)} problem(s); nothing was started", hint="fix them all", problems=unique
        )
    return Queue(orders, _steps(workspace, orders, recipes, patience))


def default_name(workspace: Workspace, paths: Sequence[Path]) -> str:
    """A name that the same configs give again: that of the first one, and a few digits for all of them."""
    all_of_them = "\n".join(workspace.relative(path) for path in paths)
    first = re.sub(r"[^a-z0-9]+", "-", paths[0].stem.lower()).strip("-")[:_NAME_LENGTH]
    return check_name(f"{first}-{hashlib.sha256(all_of_them.encode()).hexdigest()[:6]}", "campaign")


def told(error: TtsTrainError) -> str:
    """An error in one line: what is wrong, and what to try."""
    return f"{error.message} ({error.hint})" if error.hint else error.message


def _check(config: TrainConfig, workspace: Workspace, patience: int | None) -> None:
    if patience is not None:
        require_measures(config)
    if config.probe is not None:
        load_probe(workspace.path(config.probe.file))


def _order(
    path: str, config: TrainConfig, workspace: Workspace, is_open: Callable[[str], bool], recipes: dict[str, Source]
) -> Order:
    manifest = workspace.path(config.dataset)
    name = manifest.parent.name
    file = recipe_path(workspace, name)
    if manifest.parent != workspace.datasets.resolve() / name or manifest.name not in MAKES.values():
        file = Path()  # not a dataset that a recipe can make
    if not file.is_file():
        if manifest.is_file():
            return Order(path, config, manifest, ())
        raise ConfigError(
            f"'dataset': {manifest} is not there, and no recipe says how to make it",
            hint=f"write {recipe_path(workspace, name)} and let the dataset be datasets/{name}/{ALIGNED} or the like",
        )
    recipe = load_recipe(file, workspace, files=False)
    steps = _dataset_steps(manifest, recipe)
    if not manifest.is_file() or any(is_open(_identifier(step, name)) for step in steps):
        load_recipe(file, workspace)
    recipes[name] = recipe
    return Order(path, config, manifest, steps)


def _dataset_steps(manifest: Path, recipe: Source) -> tuple[str, ...]:
    """What has to be done, in order, to make a manifest."""
    wants_words = manifest.name in (ALIGNED, CODES) and recipe.align is not False
    if manifest.name == ALIGNED and not wants_words:
        raise ConfigError(f"'dataset': {manifest.name} holds words, and its recipe says 'align: false'")
    align = ("align",) if wants_words else ()
    return ("ingest", *align, *(("convert",) if manifest.name == CODES else ()))


def _steps(
    workspace: Workspace, orders: Sequence[Order], recipes: dict[str, Source], patience: int | None
) -> list[Step]:
    steps: dict[str, Step] = {}
    for order in orders:
        before: tuple[str, ...] = ()
        for name in order.steps:
            argv = argv_of(name, recipes[order.dataset], order.manifest.parent, workspace)
            step = Step(order, name, order.dataset, tuple(argv), before)
            steps.setdefault(step.identifier, step)
            before = (*before, step.identifier)
        run, probe = order.config.run, order.config.probe
        argv = ["train-local", order.path]
        if patience is not None:
            argv += ["--patience", str(patience)]
        if probe and probe.when == "end":
            argv.append("--no-probe")  # a step of its own, which may fail on its own
        train = Step(order, "train", run, tuple(argv), before)
        steps[train.identifier] = train
        if probe and probe.when != "never":
            last = Step(order, "probe", run, ("probe", run), (train.identifier,))
            steps[last.identifier] = last
    return list(steps.values())


def _identifier(step: str, subject: str) -> str:
    return f"{step}-{subject}"
