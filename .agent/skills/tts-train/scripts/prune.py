"""prune: delete the weights of epochs that nobody needs."""

from __future__ import annotations

from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.work import prune
from tts_train.workspace import Workspace


@click.command("prune")
@click.argument("run")
@click.option("--keep", required=True, help="Epochs to keep beside those that are held anyway: 2,4 or last:3 or both.")
@click.option("--delete", is_flag=True, help="Do it. Without this nothing is deleted.")
@workspace_option
def main(run: str, keep: str, delete: bool, workspace: str | None) -> dict[str, Any]:
    """Say which epochs of RUN could go and what that gives back; with --delete, delete their weights.

    Judged and shipped epochs, the last one, and epochs that other runs start from stay whatever --keep says. Renders,
    measures and epoch.json of a pruned epoch stay too: it can be looked at and compared, and speaks no more.

    \b
    Example: run.sh prune demo-constant --keep last:2 --human
    Exit codes: 0 done · 2 usage · 65 no such run, or nothing left to prune · 74 disk · 75 busy
    """
    return prune.prune(Workspace.find(workspace), run, keep=keep, delete=delete)


if __name__ == "__main__":
    run_command(main)
