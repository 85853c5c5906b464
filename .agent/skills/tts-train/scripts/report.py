"""report: a run or a dataset, as JSON, markdown or a page."""

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
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the report there: .md, .json or, of a dataset, .html. Repeatable.",
)
@click.option("--embed", is_flag=True, help="Put the clips into the .html page, up to 24 MB: one file to hand on.")
@click.option(
    "--reviews",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write what listeners said of RUN there: verdicts.csv, trials.csv, reviews.json, methods.md.",
)
@workspace_option
def main(
    target: str, outputs: tuple[Path, ...], embed: bool, reviews: Path | None, workspace: str | None
) -> dict[str, Any]:
    """Report on a run (epochs, gates, verdicts, next move) or on a dataset's folder (clips, rejections, measures).

    Of a dataset it also renews report.html (a page to look at and listen to) and .batch_state.json (for the
    batch-report skill) in the folder.

    \b
    Example: run.sh report demo-constant --human
             run.sh report datasets/demo --output report.md --output report.html --embed
             run.sh report demo-constant --reviews reviews
    Exit codes: 0 done · 2 usage · 65 neither run nor dataset, or no epoch yet · 74 disk · 78 damaged manifest
    """
    place = Workspace.find(workspace)
    result = report(place, target, outputs, embed=embed)
    return with_reviews(place, result, reviews) if reviews else result


if __name__ == "__main__":
    run_command(main)
