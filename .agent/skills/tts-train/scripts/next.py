"""next: the training move that follows from a run."""

from __future__ import annotations

from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.review.decision.next import propose
from tts_train.workspace import Workspace


@click.command("next")
@click.argument("run")
@click.option("--write", is_flag=True, help="Create the child run's config in configs/tts (never overwrites).")
@workspace_option
def main(run: str, write: bool, workspace: str | None) -> dict[str, Any]:
    """Say what to train after RUN: the move, why, the settings that change, and the command to type.

    Verdicts decide; without any, measures do, and the answer says so. Moves: raise-lr, remove-decay, add-epochs,
    train-more, rewind, lower-lr-continue, audit-data, ship. The rules are in assets/moves.yaml.

    \b
    Example: run.sh next demo-constant --human
             run.sh next demo-constant --write
    Exit codes: 0 done · 2 usage, or --write for a move that trains nothing · 65 no such run, nothing published,
                or neither measured nor judged · 74 disk · 75 the store is held · 78 damaged config or rules
    """
    return propose(Workspace.find(workspace), run, write=write)


if __name__ == "__main__":
    run_command(main)
