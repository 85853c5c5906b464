"""export: an epoch as the voice files its family's own programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train import jobs
from tts_train.backends import backend
from tts_train.output import run_command, workspace_option
from tts_train.training.run import RunFolder
from tts_train.work.speak import chosen_epoch
from tts_train.work.targets import run_of
from tts_train.workspace import Workspace


@click.command("export")
@click.argument("target")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--epoch", type=click.IntRange(min=1), help="Published epoch [default: the last].")
@workspace_option
def main(target: str, out: Path, epoch: int | None, workspace: str | None) -> dict[str, Any]:
    """Write an epoch of TARGET (a run or its config) into the folder OUT; piper: voice.onnx and voice.onnx.json.

    The written file is run once through its own runtime and compared with the trained weights.

    \b
    Example: run.sh export demo-constant voices --epoch 4
    Exit codes: 0 done · 2 usage · 65 no such run · 69 package missing · 74 disk
    """
    place = Workspace.find(workspace)
    run = RunFolder(run_of(target, place))
    chosen = chosen_epoch(run, epoch)
    arguments = {
        "workspace": str(place.root),
        "run": run.name,
        "epoch": chosen.number,
        "out": str(out.resolve()),
    }
    return jobs.call(backend(run.config().backend).environment, "tts_train.work.speak:export", arguments)


if __name__ == "__main__":
    run_command(main)
