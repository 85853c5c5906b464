"""What a training takes along: the skill, the config and every file that the config names. Nothing else leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, Problem
from tts_train.files import TEMPORARY
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace, skill_root

SKILL = "skill"
WORKSPACE = "workspace"
_OF_THE_SKILL = ("assets", "locks", "scripts", "src", "pyproject.toml", "run.sh")
_LEFT_HERE = ("__pycache__", "parts", ".git")
"""Folders without use for a training; `parts` are an ingest's receipts."""


@dataclass(frozen=True)
class Bundle:
    """`files`: name on the rented machine, relative to the job's folder → file here."""

    files: Mapping[str, Path]
    config: str
    """The config's path there, relative to the workspace there."""
    places: Mapping[str, Path]
    """The same by files and whole folders, for tools that copy those."""

    @property
    def gigabytes(self) -> float:
        return sum(path.stat().st_size for path in self.files.values()) / 1e9


def bundle(config: TrainConfig, path: Path, workspace: Workspace) -> Bundle:
    """Collect the files. Raises ConfigError for what the config names outside of the workspace.

    A model of the hub is not among them: it is downloaded there. The run's own folder is not either; see `state_of`.
    """
    found = {f"{SKILL}/{name}": file for name, file in _below(skill_root(), _OF_THE_SKILL)}
    places = {f"{SKILL}/{name}": skill_root() / name for name in _OF_THE_SKILL}
    outside = []
    for what, place in _named(config, workspace):
        if not place.is_relative_to(workspace.root):
            outside.append(Problem(f"'{what}': {place} is outside of the workspace", str(path)))
            continue
        places[f"{WORKSPACE}/{place.relative_to(workspace.root)}"] = place
        for name, file in _below(place.parent, (place.name,)):
            found[f"{WORKSPACE}/{place.parent.relative_to(workspace.root) / name}"] = file
    if outside:
        hint = f"what a rented machine needs must be below {workspace.root}: copy it there"
        raise ConfigError(f"{path}: {len(outside)} problem(s)", hint=hint, problems=outside)
    there = f"configs/tts/{path.name}"
    own = {f"{WORKSPACE}/{there}": path}
    return Bundle({**found, **own}, there, {**{name: at for name, at in places.items() if at.exists()}, **own})


def state_of(run: RunFolder, workspace: Workspace) -> dict[str, Path]:
    """What a run that has begun needs to go on elsewhere, named as in `Bundle.files`."""
    if not (run.path / "run.json").is_file():
        return {}
    found = _below(run.path, ("run.json", "metrics.jsonl", "state", "epochs"))
    return {f"{WORKSPACE}/{workspace.relative(run.path)}/{name}": file for name, file in found}


def _named(config: TrainConfig, workspace: Workspace) -> Iterator[tuple[str, Path]]:
    """(setting, file or folder) of all that is read."""
    yield "dataset", workspace.path(config.dataset).parent
    base = workspace.path(config.base)
    if base.exists():
        yield "base", base
        beside = base.with_name(f"{base.name}.json")
        if base.is_file() and beside.is_file():  # a Piper voice's settings
            yield "base", beside
    if config.probe:
        yield "probe.file", workspace.path(config.probe.file)
        if config.probe.target:
            yield "probe.target", workspace.path(config.probe.target).parent
    if config.xtts.reference:
        yield "xtts.reference", workspace.path(config.xtts.reference)
    if config.parent and config.parent.from_weights:
        parent = workspace.run(config.parent.run)
        yield "parent.run", parent / "run.json"
        yield "parent.epoch", parent / "epochs" / f"epoch-{config.parent.epoch:03d}"


def _below(folder: Path, names: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """(path relative to `folder`, file) of those names and what is below them, without hidden and temporary files."""
    for start in names:
        if (folder / start).is_file():
            yield start, folder / start
            continue
        for place, folders, files in os.walk(folder / start, followlinks=True):
            folders[:] = sorted(name for name in folders if name not in _LEFT_HERE and not _is_hidden(name))
            for name in sorted(files):
                file = Path(place, name)
                if not _is_hidden(name) and file.is_file():
                    yield str(file.relative_to(folder)), file


def _is_hidden(name: str) -> bool:
    return name.startswith((".", TEMPORARY))
