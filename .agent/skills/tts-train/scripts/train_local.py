"""train-local: fine-tune a voice from a config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train import jobs
from tts_train.errors import UsageError
from tts_train.output import progress, run_command, workspace_option
from tts_train.training.gpus import share_gpu_option
from tts_train.work.train import plan
from tts_train.workspace import Workspace


@click.command("train-local")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--patience",
    metavar="EPOCHS",
    type=click.IntRange(min=1),
    help="End after so many epochs without a better one by gates and similarity; needs probe.when: each-epoch.",
)
@click.option("--no-probe", is_flag=True, help="Train only; run.sh probe RUN does the rest.")
@click.option("--dry-run", is_flag=True, help="Check everything and print what it will cost; train nothing.")
@share_gpu_option
@workspace_option
def main(config: Path, patience: int | None, no_probe: bool, dry_run: bool, workspace: str | None) -> dict[str, Any]:
    """Fine-tune a voice on this machine; every epoch is published and, at the end, probed.

    Run it again to go on after a stop: finished epochs stay, the state resumes exactly.

    \b
    Example: run.sh train-local configs/tts/demo_piper.yaml --dry-run
    Exit codes: 0 done or nothing left · 65 data unusable · 69 package missing · 70 diverged
                74 disk · 75 the run or its GPU is in use · 78 bad config · 130/143 stopped, saved
    """
    place = Workspace.find(workspace)
    if patience and no_probe:
        raise UsageError("--patience judges epochs by their probe", hint="leave one of --patience and --no-probe out")
    planned = plan(config, place, patience)
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
        {"config": planned["config"], "workspace": str(place.root), "probe": not no_probe, "patience": patience},
    )


if __name__ == "__main__":
    run_command(main)
