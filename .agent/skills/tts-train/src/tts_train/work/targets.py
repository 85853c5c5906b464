"""What commands are given: TARGET (a run's name, a run's folder, or the config that trains it), lists of numbers."""

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


def numbers(text: str | None, option: str) -> list[int] | None:
    """0,3-6 → [0, 3, 4, 5, 6]. Raises UsageError that names `option`."""
    if text is None:
        return None
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            message = f"{option} {text}: '{part}' is neither a number nor a range"
            raise UsageError(message, hint=f"for example {option} 0,3-6")
        chosen.update(range(int(first), int(last or first) + 1))
    return sorted(chosen)
