"""The child run of a move: its settings, what differs from the parent's, and its config file."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tts_train.config import TrainConfig
from tts_train.errors import ConfigError
from tts_train.files import TEMPORARY, remove_leftovers, sync_folder, write_synced
from tts_train.review.commandline import command_line, shown
from tts_train.review.decision.evidence import Evidence
from tts_train.review.decision.facts import Thresholds
from tts_train.review.decision.moves import Decision
from tts_train.workspace import Workspace

_LONGEST_NAME = 64
_KEEPS_WEIGHTS = ("add-epochs", "train-more", "rewind")


@dataclass(frozen=True)
class Child:
    """A run that was not trained yet."""

    config: TrainConfig
    diff: dict[str, tuple[Any, Any]]
    """Dotted setting → (old, new)."""
    path: Path

    @property
    def summary(self) -> str:
        """What it trains, in words."""
        parent, config = self.config.parent, self.config
        kept = parent is not None and parent.from_weights
        start = f"the weights of {parent.run}, epoch {parent.epoch}" if parent and kept else "the base"
        return f"{config.run}: {config.epochs} epochs from {start}, lr {config.lr:.1e} {config.schedule.shape}"


def plan_child(workspace: Workspace, evidence: Evidence, decision: Decision, limits: Thresholds) -> Child | None:
    """The run that follows from a decision; None when the move trains nothing (audit-data, ship, listen first).

    Nor does one follow from a run that was trained elsewhere: its data and settings are not known.
    """
    if not evidence.trained_here:
        return None
    if decision.listen or decision.move in ("audit-data", "ship"):
        return None
    changes = {**_changes(evidence, decision, limits), **_parent(evidence, decision)}
    name = free_name(workspace, evidence.run, decision.move)
    old = evidence.config.model_dump(mode="json")
    settings = _applied(old, {**changes, "run": name})
    config = TrainConfig.model_validate(settings)
    new = config.model_dump(mode="json")
    return Child(config, _difference(old, new), workspace.configs / f"{name}.yaml")


def write_child(workspace: Workspace, child: Child, because: str) -> None:
    """Create the child's config; whole or not at all. Raises ConfigError when a file of that name appeared."""
    command = command_line(workspace, "train-local", shown(child.path))
    parent = child.config.parent
    origin = f"# {parent.move} after {parent.run}, epoch {parent.epoch}: {because}\n" if parent else ""
    body = yaml.safe_dump(child.config.frozen(), sort_keys=False, allow_unicode=True, width=110)
    data = f"# {command}\n{origin}{body}".encode()
    child.path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(child.path)
    temporary = child.path.parent / f"{TEMPORARY}{child.path.name}.{os.getpid()}"
    try:
        write_synced(temporary, data)
        # A hard link, unlike a rename, never replaces what is there.
        os.link(temporary, child.path)
    except FileExistsError as error:
        raise ConfigError(f"{child.path} exists", hint="run the same command again for a new name") from error
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(child.path.parent)


def free_name(workspace: Workspace, run: str, move: str) -> str:
    """`<run>-<move>`, numbered from the second on; neither a config nor a run of that name exists."""
    stem = re.sub(rf"-{re.escape(move)}(-\d+)?$", "", run)
    number = 1
    while True:
        ending = f"-{move}" if number == 1 else f"-{move}-{number}"
        name = stem[: _LONGEST_NAME - len(ending)].rstrip("-_") + ending
        if not (workspace.configs / f"{name}.yaml").exists() and not (workspace.runs / name).exists():
            return name
        number += 1


def _changes(evidence: Evidence, decision: Decision, limits: Thresholds) -> dict[str, Any]:
    config, moves = evidence.config, {decision.move, *decision.also}
    changes: dict[str, Any] = {}
    if "raise-lr" in moves:
        changes |= _raised(evidence, limits)
    if "remove-decay" in moves or decision.move in ("train-more", "add-epochs"):
        changes |= {"schedule.shape": "constant", "schedule.horizon_steps": None}
    if decision.move == "add-epochs":
        wanted = math.ceil(limits.aim_steps / max(1.0, evidence.steps_per_epoch or 0.0))
        changes["epochs"] = max(wanted, config.epochs + 1)
    if decision.move in ("lower-lr-continue", "rewind"):
        changes |= _lowered(evidence, limits)
    return changes


def _raised(evidence: Evidence, limits: Thresholds) -> dict[str, Any]:
    """Up to the recipe's rate, or by a factor when it is there already; an endless warm-up is the same fault."""
    config, recipe = evidence.config, evidence.recipe
    changes: dict[str, Any] = {}
    if recipe and config.schedule.warmup_steps > max(recipe.warmup_steps, (evidence.last.step or 0) / 2):
        changes["schedule.warmup_steps"] = recipe.warmup_steps
        if config.lr >= recipe.lr:
            return changes
    if recipe and config.lr < limits.short * recipe.lr:
        return {**changes, "lr": recipe.lr}
    return {**changes, "lr": _rounded(min(config.lr * limits.raise_factor, 0.5))}


def _lowered(evidence: Evidence, limits: Thresholds) -> dict[str, Any]:
    """Down to the recipe's rate, or by a factor; a warm-up made for the old rate would hold the new one back."""
    config, recipe = evidence.config, evidence.recipe
    if recipe is None or config.lr < limits.far_above * recipe.lr:
        return {"lr": _rounded(config.lr / limits.lower_factor)}
    return {"lr": recipe.lr, "schedule.warmup_steps": min(config.schedule.warmup_steps, recipe.warmup_steps)}


def _parent(evidence: Evidence, decision: Decision) -> dict[str, Any]:
    """Lineage, and the weights the child begins with.

    Moves that begin again do so where this run began: at the base, or at the weights of its own parent.
    """
    here = {"run": evidence.run, "epoch": decision.epoch, "move": decision.move}
    if decision.move in _KEEPS_WEIGHTS or (decision.move == "lower-lr-continue" and decision.epoch > 0):
        return {"parent": {**here, "from_weights": True}}
    began = evidence.config.parent
    if began is None or not began.from_weights:
        return {"parent": {**here, "from_weights": False}}
    return {"parent": {"run": began.run, "epoch": began.epoch, "move": decision.move, "from_weights": True}}


def _applied(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = {name: dict(value) if isinstance(value, dict) else value for name, value in settings.items()}
    for name, value in changes.items():
        outer, _, inner = name.partition(".")
        if inner:
            result[outer][inner] = value
        else:
            result[outer] = value
    return result


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    before, after = _flat(old), _flat(new)
    names = [name for name in after if before.get(name) != after[name]]
    from_weights = after.get("parent.from_weights")
    lineage = ("run", "parent.run", "parent.move", *(() if from_weights else ("parent.epoch", "parent.from_weights")))
    return {name: (before.get(name), after[name]) for name in names if name not in lineage}


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": item for inner, item in value.items()}
        else:
            flat[name] = value
    return flat


def _rounded(value: float) -> float:
    """Two digits are enough for a learning rate."""
    return float(f"{value:.2g}")
