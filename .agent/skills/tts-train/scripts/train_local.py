"""train-local: fine-tune a voice from a config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train import jobs
from tts_train.output import progress, run_command, workspace_option
from tts_train.work.train import plan
from tts_train.workspace import Workspace


@click.command("train-local")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Check everything and print what it will cost; train nothing.")
@workspace_option
def main(config: Path, dry_run: bool, workspace: str | None) -> dict[str, Any]:
    """Fine-tune a voice on this machine; every epoch is published and, at the end, probed.

    Run it again to go on after a stop: finished epochs stay, the state resumes exactly.

    \b
    Example: run.sh train-local configs/tts/demo_piper.yaml --dry-run
    Exit codes: 0 done or nothing left · 65 data unusable · 69 package missing · 70 diverged
                74 disk · 75 another process trains this run · 78 bad config · 130/143 stopped, saved
    """
    place = Workspace.find(workspace)
    planned = plan(config, place)
    if dry_run:
        return planned
    if planned["done"]:
        return {**planned, "nothing_left_to_do": True, "next": f"run.sh next {planned['run']}"}
    for warning in planned["warnings"]:
        progress(f"warning: {warning}")
    return jobs.replace(
        planned["environment"],
        "train-local",
        "tts_train.work.train:train",
        {"config": planned["config"], "workspace": str(place.root)},
    )


if __name__ == "__main__":
    run_command(main)
