"""campaign: several configs in order, through the night."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.workspace import Workspace

CONFIG = click.Path(path_type=Path, dir_okay=False)


@click.command("campaign")
@click.argument("configs", metavar="CONFIG…", nargs=-1, required=True, type=CONFIG)
@click.option("--name", help="Of the campaign, whose state it takes up again [default: from the configs].")
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Then what runs saves and ends: exit code 0.")
@click.option("--keep-free", metavar="GB", type=click.FloatRange(0), default=1.0, show_default=True, help="Of disk.")
@click.option(
    "--patience",
    metavar="EPOCHS",
    type=click.IntRange(min=1),
    help="End a training after so many epochs without a better one; needs probe.when: each-epoch.",
)
@click.option("--dry-run", is_flag=True, help="Check all of it and say what is to do and what it will cost.")
@workspace_option
def main(
    configs: tuple[Path, ...],
    name: str | None,
    hours: float | None,
    keep_free: float,
    patience: int | None,
    dry_run: bool,
    workspace: str | None,
) -> dict[str, Any]:
    """Make the dataset of each CONFIG, train it and probe it, one after the other, as far as that is still to do.

    A dataset that is not there is made by the recipe configs/datasets/NAME.yaml. Everything is checked before the first
    step starts. A step that fails holds up only what needs it. The same command goes on after a stop or a kill. What
    needs ears is not started: the end names it.

    \b
    Example: run.sh campaign configs/tts/a.yaml configs/tts/b.yaml --hours 9 --dry-run --human
             run.sh jobs submit --name night -- campaign configs/tts/a.yaml configs/tts/b.yaml --hours 9
    Exit codes: 0 done, or out of hours · 74 disk short · 75 running already · 78 config or recipe · 130/143 stopped
                else: the code of the first step that failed (65, 69, 70, …), after all others were done
    """
    from tts_train.work.campaign.campaign import campaign
    from tts_train.work.campaign.limits import Limits

    limits = Limits(hours, keep_free, patience)
    return campaign(Workspace.find(workspace), configs, name=name, limits=limits, dry_run=dry_run)


if __name__ == "__main__":
    run_command(main)
