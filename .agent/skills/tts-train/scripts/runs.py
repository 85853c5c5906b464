"""runs: list training runs."""

from __future__ import annotations

from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.review.overview import list_runs
from tts_train.workspace import Workspace


@click.command("runs")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many, newest first.")
@workspace_option
def main(limit: int, workspace: str | None) -> dict[str, Any]:
    """List the training runs of the workspace with state, epochs, measures, verdicts and parent.

    \b
    Example: run.sh runs --human
    Exit codes: 0 done (also when there is none) · 2 usage · 74 disk · 78 no such workspace
    """
    return list_runs(Workspace.find(workspace), limit)


if __name__ == "__main__":
    run_command(main)
