"""status: what a run is doing."""

from __future__ import annotations

from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.review.overview import run_status
from tts_train.workspace import Workspace


@click.command("status")
@click.argument("run")
@workspace_option
def main(run: str, workspace: str | None) -> dict[str, Any]:
    """Say whether RUN is alive, how far it is and how long it still takes.

    state: new, starting, training, done, stopped (by a signal, saved), failed, interrupted (its process is gone).
    stale: it should be alive but gave no sign for a while.

    \b
    Example: run.sh status demo-constant --human
    Exit codes: 0 done, whatever the state · 2 usage · 65 no such run
    """
    return run_status(Workspace.find(workspace), run)


if __name__ == "__main__":
    run_command(main)
