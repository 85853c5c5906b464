"""runs: list training runs, and adopt those of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.backends import BACKENDS
from tts_train.output import run_command, workspace_option
from tts_train.review.overview import list_runs
from tts_train.work.adopt import adopt as adopt_run
from tts_train.workspace import Workspace


@click.group("runs", invoke_without_command=True)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many, newest first.")
@workspace_option
@click.pass_context
def main(context: click.Context, limit: int, workspace: str | None) -> dict[str, Any] | None:
    """List the training runs of the workspace with state, epochs, measures, verdicts and parent.

    \b
    Example: run.sh runs --human
    Exit codes: 0 done (also when there is none) · 2 usage · 65 not a checkpoint · 74 disk · 78 no such workspace
    """
    context.obj = workspace
    return None if context.invoked_subcommand else list_runs(Workspace.find(workspace), limit)


@main.command("adopt")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--backend", "backend_name", type=click.Choice(sorted(BACKENDS)), default="qwen3", show_default=True)
@click.option("--run", help="Name of the run [default: SPEAKER-adopted].")
@click.option("--base", help="What it was trained from: a folder or a hub name [default: the family's].")
@click.option(
    "--reference", type=click.Path(path_type=Path), help="Recording of the voice. qwen3: for epoch 0; xtts: for all."
)
@click.option("--language", help="Language to speak in [qwen3 default: auto, as its script trains].")
@click.option("--lr", type=float, help="The learning rate it was trained with, if you know it.")
@click.option("--probe", help="Probe YAML every epoch renders.")
@click.option("--target", help="Manifest of the target speaker reading the probe's items.")
@click.option("--link", is_flag=True, help="Hard-link the weights instead of copying: DIR must then never change.")
@workspace_option
@click.pass_obj
def adopt(above: str | None, workspace: str | None, folder: Path, **choices: Any) -> dict[str, Any]:
    """Make a run of checkpoints that another program trained. Epochs count from 1; again adds new ones.

    qwen3: checkpoint-epoch-N folders of the official script. xtts: *.pth of coqui's trainer and the web UIs.

    \b
    Example: run.sh runs adopt output --run ann-official --reference ref.wav
             run.sh runs adopt run/training --backend xtts --run ann-coqui --reference ref.wav --language en
    """
    return adopt_run(Workspace.find(workspace or above), folder, **choices)


if __name__ == "__main__":
    run_command(main)
