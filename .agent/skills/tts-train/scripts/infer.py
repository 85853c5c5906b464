"""infer: speak a text with an epoch of a run, or with a shipped voice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.training.gpus import share_gpu_option
from tts_train.work import speak
from tts_train.workspace import Workspace


@click.command("infer")
@click.argument("target")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--text", help="What to say.")
@click.option("--text-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="UTF-8 text to say.")
@click.option(
    "--epoch",
    type=click.IntRange(min=0),
    help="Published epoch; 0 is the untouched base [default: the last].",
)
@click.option("--seed", type=click.IntRange(min=0), help="Sampling seed [default: 0; a voice's: the first judged].")
@click.option("--setting", default="{}", help="Backend knobs as JSON, as a probe's key.json records them.")
@click.option("--watermark", is_flag=True, help="Mark what is said as spoken by a machine; `voices check` finds it.")
@click.option("--cpu", is_flag=True, help="Speak on the CPU what was trained on a GPU; it rounds otherwise.")
@share_gpu_option
@workspace_option
def main(
    target: str, out: Path, text: str | None, text_file: Path | None, workspace: str | None, **how: Any
) -> dict[str, Any]:
    """Speak with TARGET (a run, the config that trained it, or a shipped voice) into OUT (.wav or .flac).

    Every file of a shipped voice is checked before it speaks, with the knobs and the seed that were judged.

    \b
    Example: run.sh infer demo-constant hello.wav --text "Put the kettle on." --epoch 4
             run.sh infer demo-constant-epoch-004 hello.wav --text "Put the kettle on."
    Exit codes: 0 done · 2 usage · 65 no such run, damaged voice · 69 package missing · 74 disk
                75 the GPU is in use · 78 bad config
    """
    if (text is None) == (text_file is None):
        raise click.UsageError("give either --text or --text-file")
    words = text if text_file is None else text_file.read_text(encoding="utf-8")
    return speak.infer(Workspace.find(workspace), target, out, text=words or "", **how)


if __name__ == "__main__":
    run_command(main)
