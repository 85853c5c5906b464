"""doctor: what this machine can and cannot do."""

from __future__ import annotations

from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.work.doctor import examine
from tts_train.workspace import Workspace


@click.command("doctor")
@workspace_option
def main(workspace: str | None) -> dict[str, Any]:
    """Say what this machine has, which environments are ready, and what to do about what is missing.

    \b
    Example: run.sh doctor --human
    Exit codes: 0 always, unless the command line is wrong (2); read `findings`
    """
    return examine(Workspace.find(workspace))


if __name__ == "__main__":
    run_command(main)
