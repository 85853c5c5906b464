"""infer: speak a text with an epoch of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
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
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Sampling seed.")
@click.option("--setting", default="{}", help="Backend knobs as JSON, as a probe's render.json records them.")
@workspace_option
def main(
    target: str,
    out: Path,
    text: str | None,
    text_file: Path | None,
    epoch: int | None,
    seed: int,
    setting: str,
    workspace: str | None,
) -> dict[str, Any]:
    """Speak with TARGET (a run, or the config that trained it) into OUT (.wav or .flac).

    \b
    Example: run.sh infer demo-constant hello.wav --text "Put the kettle on." --epoch 4
    Exit codes: 0 done · 2 usage · 65 no such run · 69 package missing · 74 disk · 78 bad config
    """
    if (text is None) == (text_file is None):
        raise click.UsageError("give either --text or --text-file")
    words = text if text_file is None else text_file.read_text(encoding="utf-8")
    return speak.infer(
        Workspace.find(workspace), target, out, text=words or "", epoch=epoch, seed=seed, setting=setting
    )


if __name__ == "__main__":
    run_command(main)
