"""Where things are: the skill, the repository around it, and the user's workspace."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tts_train.errors import ConfigError, InputUnusable, Unavailable

NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")
BESIDE_RUNS = ("campaigns", "sessions", "voices")
"""Folders beside the runs: no run may be called so."""


@dataclass(frozen=True)
class Workspace:
    """A folder with configs/, datasets/ and artifacts/."""

    root: Path

    @classmethod
    def find(cls, explicit: str | Path | None = None) -> Workspace:
        """`--workspace`, else TTS_TRAIN_WORKSPACE, else the nearest parent with configs/tts, else this folder."""
        given = explicit or os.environ.get("TTS_TRAIN_WORKSPACE")
        if given:
            root = Path(given).resolve()
            if not root.is_dir():
                raise ConfigError(f"the workspace {root} is not a folder", hint="create it or name another --workspace")
            return cls(root)
        here = Path.cwd()
        return cls(next((folder for folder in (here, *here.parents) if (folder / "configs/tts").is_dir()), here))

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def configs(self) -> Path:
        return self.root / "configs" / "tts"

    @property
    def runs(self) -> Path:
        return self.root / "artifacts" / "tts"

    @property
    def voices(self) -> Path:
        """Where `ship` puts voices."""
        return self.runs / "voices"

    @property
    def imported_voices(self) -> Path:
        """Where `voices import` puts voices of others: apart, as they say nothing of the runs that are here."""
        return self.voices / "imported"

    @property
    def campaigns(self) -> Path:
        """Where a campaign keeps its queue and its logs."""
        return self.runs / "campaigns"

    def path(self, given: str | Path) -> Path:
        """A path from a config: relative to the workspace unless absolute."""
        return (self.root / given).resolve()

    def relative(self, path: Path) -> str:
        """How a path is written into files: relative to the workspace where possible."""
        resolved = path.resolve()
        return str(resolved.relative_to(self.root)) if resolved.is_relative_to(self.root) else str(resolved)

    def run(self, name: str) -> Path:
        """The folder of an existing run. Raises InputUnusable with the runs there are."""
        folder = self.runs / check_name(name, "run")
        if (folder / "run.json").is_file():
            return folder
        known = sorted(path.parent.name for path in self.runs.glob("*/run.json"))
        raise InputUnusable(
            f"there is no run '{name}' in {self.runs}",
            hint=f"one of: {', '.join(known)}" if known else "train one first: run.sh train-local CONFIG",
        )


def check_name(name: str, what: str) -> str:
    """A voice or run name that is safe as a folder name. Raises ConfigError."""
    if what == "run" and name in BESIDE_RUNS:
        raise ConfigError(f"no run may be called '{name}'", hint="that folder holds other things; choose another name")
    if NAME.fullmatch(name):
        return name
    raise ConfigError(
        f"'{name}' is not a {what} name",
        hint="lower-case letters, digits, '-' and '_', starting with a letter or digit, 64 at most",
    )


def skill_root() -> Path:
    """The skill's folder, wherever it was copied."""
    return Path(__file__).resolve().parents[2]


def repository_root() -> Path | None:
    """The repository around the skill, or None when the skill's folder was copied alone."""
    root = skill_root().parents[2]
    return root if (root / ".agent/skills/tts-train").is_dir() and (root / "datasets/demo").is_dir() else None


def skill_script(command: str) -> Path:
    """The click program of a command."""
    return skill_root() / "scripts" / f"{command.replace('-', '_')}.py"


def asset(name: str) -> Path:
    """A file the skill ships in assets/. Raises Unavailable when the copy of the skill is incomplete."""
    path = skill_root() / "assets" / name
    if path.is_file():
        return path
    raise Unavailable(f"the skill lacks assets/{name}", hint="copy the whole skill folder again")
