"""infer: speak a text with an epoch of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tts_train import jobs
from tts_train.backends import backend
from tts_train.errors import UsageError
from tts_train.output import run_command, workspace_option
from tts_train.training.run import RunFolder
from tts_train.work.speak import chosen_epoch
from tts_train.work.targets import run_of
from tts_train.workspace import Workspace


@click.command("infer")
@click.argument("target")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--text", help="What to say.")
@click.option(
    "--text-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="UTF-8 text to say."
)
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
        raise UsageError("give either --text or --text-file", hint="run.sh infer --help")
    words = text if text is not None else Path(str(text_file)).read_text(encoding="utf-8")
    if not words.strip():
        raise UsageError("there is nothing to say", hint="give a text with words in it")
    if out.suffix.lower() not in (".wav", ".flac"):
        raise UsageError(f"{out}: audio is written as .wav or .flac", hint="change the file's ending")
    try:
        knobs = json.loads(setting)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"--setting is not JSON: {error}", hint="""for example --setting '{"length_scale": 1.1}'"""
        ) from error
    place = Workspace.find(workspace)
    run = RunFolder(run_of(target, place))
    chosen = chosen_epoch(run, epoch)
    arguments = {
        "workspace": str(place.root),
        "run": run.name,
        "epoch": chosen.number,
        "text": words,
        "seed": seed,
    }
    environment = backend(run.config().backend).environment
    return jobs.call(
        environment, "tts_train.work.speak:speak", {**arguments, "out": str(out.resolve()), "setting": knobs}
    )


if __name__ == "__main__":
    run_command(main)
