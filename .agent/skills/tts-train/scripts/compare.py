"""compare: which epoch of a run listeners prefer."""

from __future__ import annotations

from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.workspace import Workspace


@click.command("compare")
@click.argument("run")
@workspace_option
def main(run: str, workspace: str | None) -> dict[str, Any]:
    """Say which epoch of RUN listeners prefer, or that it is undecided and how many more blind trials it takes.

    Answers of closed blind sessions decide: Bradley-Terry strengths with intervals, and a winner only where a tie with
    every other epoch is excluded at a family-wise 5 % on 8 decisive answers or more. Verdict sheets, failed gates,
    measures and Σlr stand beside each epoch. Who disagrees is shown, not averaged; what does not count is listed.

    \b
    Example: run.sh compare demo-constant --human
    Exit codes: 0 done, also when undecided · 2 usage · 65 no such run, or nothing published · 74 disk
                75 the store is held · 78 damaged run
    """
    from tts_train.review.compare import compare

    return compare(Workspace.find(workspace), run)


if __name__ == "__main__":
    run_command(main)
