"""Commands as a person would type them from where they stand."""

from __future__ import annotations

import shlex
from pathlib import Path

from tts_train.errors import TtsTrainError
from tts_train.workspace import Workspace, repository_root, skill_root

YOUR_NAME = "YOUR-NAME"
"""What a person has to fill in; `verdict` refuses it, so that no command typed as shown is taken for a listener's."""


def command_line(workspace: Workspace, command: str, *arguments: str | Path) -> str:
    """`run.sh COMMAND …`, quoted for a POSIX shell, with --workspace where it would not be found by itself."""
    words = [_run_sh(), command, *map(str, arguments)]
    if not _is_found(workspace):
        words += ["--workspace", shown(workspace.root)]
    return shlex.join(words)


def shown(path: Path) -> str:
    """A path as short as it works from the current folder."""
    here, resolved = Path.cwd().resolve(), path.resolve()
    return str(resolved.relative_to(here)) if resolved.is_relative_to(here) else str(resolved)


def _run_sh() -> str:
    root = repository_root() or skill_root()
    path = shown(root / "run.sh")
    return path if "/" in path else f"./{path}"


def _is_found(workspace: Workspace) -> bool:
    try:
        return Workspace.find().root.resolve() == workspace.root.resolve()
    except TtsTrainError:
        return False
