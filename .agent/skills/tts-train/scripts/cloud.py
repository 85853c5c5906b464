"""cloud: end rented pods that nobody follows; the same training as a file for other clouds' tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.workspace import Workspace

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group("cloud")
def main() -> None:
    """Rented machines: end what was left over, or render a training for SkyPilot, dstack or Slurm.

    \b
    Example: run.sh cloud reap --dry-run --human
             run.sh cloud render configs/tts/voice.yaml --target slurm --output voice.sbatch
    Exit codes: 0 done · 2 usage · 69 no key, or pods that could not be ended · 78 bad config
    """


@main.command("reap")
@click.option("--all", "everywhere", is_flag=True, help="Also pods of ours that no record in this workspace knows.")
@click.option("--key-file", type=FILE, help="Instead of RUNPOD_API_KEY.")
@click.option("--dry-run", is_flag=True, help="Say what it would end.")
@workspace_option
def reap(everywhere: bool, key_file: Path | None, dry_run: bool, workspace: str | None) -> dict[str, Any]:
    """End the pods of trainings whose train-runpod is gone; one that is followed still is left alone."""
    from tts_train.cloud import rental

    return rental.reap(Workspace.find(workspace), key_file=key_file, everywhere=everywhere, dry_run=dry_run)


@main.command("render")
@click.argument("config", type=FILE)
@click.option("--target", type=click.Choice(["skypilot", "dstack", "slurm"]), required=True)
@click.option("--hours", type=click.FloatRange(0, min_open=True), default=12.0, show_default=True, help="At most.")
@click.option("--spot", is_flag=True, help="On machines that may be taken away; needs --storage.")
@click.option("--storage", metavar="NAME", help="Bucket (SkyPilot) or volume (dstack) that keeps the runs.")
@click.option("--env", "variables", metavar="NAME", multiple=True, help="Variable that the job needs: HF_TOKEN.")
@click.option("--output", type=FILE, help="Write it there, too.")
@workspace_option
def render(config: Path, workspace: str | None, output: Path | None, **options: Any) -> dict[str, Any]:
    """A training as a SkyPilot or dstack task, or a batch script of Slurm. Nothing is sent anywhere."""
    from tts_train.cloud.render import rendered

    return rendered(config, Workspace.find(workspace), output=output, **options)


if __name__ == "__main__":
    run_command(main)
