"""report: a run or a dataset, as JSON, markdown or a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.review.export import with_reviews
from tts_train.review.report import report
from tts_train.work.morning.report import morning_report
from tts_train.workspace import Workspace


@click.command("report")
@click.argument("target", metavar="[RUN|DATASET_DIR]", required=False)
@click.option("--since", help="Without a target: the night, such as 12h, 90m, 2d, or from 2026-03-01T22:00 on.")
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
    target: str | None, since: str | None, outputs: tuple[Path, ...], embed: bool, reviews: Path | None, **where: Any
) -> dict[str, Any]:
    """Report on a run (epochs, gates, verdicts, next move), a dataset's folder (clips, rejections, measures), or a
    night: runs, campaigns and jobs since a time, what went wrong, what waits for ears, the disk.
    Of a dataset it renews report.html (a page to look at and listen to) and .batch_state.json in the folder.

    \b
    Example: run.sh report demo-constant --human
             run.sh report datasets/demo --output report.md --output report.html --embed
             run.sh report demo-constant --reviews reviews
             run.sh report --since 12h --human
    Exit codes: 0 done · 2 usage · 65 neither run nor dataset, or no epoch yet · 74 disk · 78 damaged manifest
    """
    place = Workspace.find(where["workspace"])
    if since is not None:
        if target or embed or reviews:
            raise click.UsageError("--since reports on the whole workspace: leave RUN, --embed and --reviews out")
        return morning_report(place, since, outputs)
    if target is None:
        raise click.UsageError("name a run or a dataset's folder, or give --since")
    result = report(place, target, outputs, embed=embed)
    return with_reviews(place, result, reviews) if reviews else result


if __name__ == "__main__":
    run_command(main)
