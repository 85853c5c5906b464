"""TARGET of a command: a run's name, a run's folder, or the config that trains it."""

from __future__ import annotations

from pathlib import Path

from tts_train.config import load_train_config
from tts_train.errors import UsageError
from tts_train.workspace import Workspace


def run_of(target: str, workspace: Workspace) -> Path:
    """The run's folder. Raises UsageError or InputUnusable when there is no such run."""
    path = Path(target)
    if path.suffix in (".yaml", ".yml"):
        return workspace.run(load_train_config(path, workspace).run)
    if (path / "run.json").is_file():
        if path.resolve().parent != workspace.runs:
            raise UsageError(f"{path} lies in another workspace", hint=f"give --workspace {path.resolve().parents[2]}")
        return path.resolve()
    return workspace.run(target)
