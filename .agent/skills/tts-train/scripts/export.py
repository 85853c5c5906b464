"""export: an epoch or a shipped voice as the voice files its family's own programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.work.export import export
from tts_train.workspace import Workspace


@click.command("export")
@click.argument("target")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--epoch", type=click.IntRange(min=1), help="Published epoch [default: the last].")
@workspace_option
def main(target: str, out: Path, epoch: int | None, workspace: str | None) -> dict[str, Any]:
    """Write TARGET (an epoch of a run or of its config, or a shipped voice) into the folder OUT.

    piper: RUN.onnx and RUN.onnx.json, run once through its own runtime and compared with the trained weights.
    qwen3: RUN/, a custom-voice checkpoint that stock qwen-tts loads. xtts: RUN/, a model that stock coqui-tts loads.

    \b
    Example: run.sh export demo-constant voices --epoch 4
             run.sh export demo-constant-epoch-004 voices
    Exit codes: 0 done · 2 usage · 65 no such run, damaged voice · 69 package missing · 74 disk
    """
    return export(Workspace.find(workspace), target, out, epoch=epoch)


if __name__ == "__main__":
    run_command(main)
