"""lineage: the tree of runs, moves and verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.review.lineage import lineage
from tts_train.workspace import Workspace


@click.command("lineage")
@click.argument("run", required=False)
@click.option(
    "--format", "form", type=click.Choice(("text", "json", "mermaid")), default="text", show_default=True,
    help="What result.text (and --human, --output) holds.",
)  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the drawing there as well.")
@workspace_option
def main(run: str | None, form: str, output: Path | None, workspace: str | None) -> dict[str, Any]:
    """Draw which run came from which, by what move and why, with verdicts and shipped voices.

    Without RUN: all runs of the workspace. With it: its ancestors and descendants. Configs that `next --write` made
    and nobody trained yet are shown as planned; runs that cannot be read are shown as such.

    \b
    Example: run.sh lineage --human
             run.sh lineage demo-constant --format mermaid --output lineage.mmd
    Exit codes: 0 done (also when there is no run) · 2 usage · 65 no such run · 74 disk · 75 the store is held
    """
    return lineage(Workspace.find(workspace), run, form=form, output=output)


if __name__ == "__main__":
    run_command(main)
