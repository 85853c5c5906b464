"""report: a run or a dataset as markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.review.export import with_reviews
from tts_train.review.report import report
from tts_train.workspace import Workspace


@click.command("report")
@click.argument("target", metavar="RUN|DATASET_DIR")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the markdown there as well.")
@click.option(
    "--reviews",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write what listeners said of RUN there: verdicts.csv, trials.csv, reviews.json, methods.md.",
)
@workspace_option
def main(target: str, output: Path | None, reviews: Path | None, workspace: str | None) -> dict[str, Any]:
    """Report on a run (epochs, gates, verdicts, next move) or on a dataset's folder (clips, rejections, card).

    On a dataset it also leaves .batch_state.json for the batch-report skill.

    \b
    Example: run.sh report demo-constant --human
             run.sh report datasets/demo --output report.md
             run.sh report demo-constant --reviews reviews
    Exit codes: 0 done · 2 usage · 65 neither run nor dataset, or no epoch yet · 74 disk · 78 damaged manifest
    """
    place = Workspace.find(workspace)
    result = report(place, target, output)
    return with_reviews(place, result, reviews) if reviews else result


if __name__ == "__main__":
    run_command(main)
