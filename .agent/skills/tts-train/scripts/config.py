"""config: write and check training configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.backends import BACKENDS
from tts_train.config import load_train_config
from tts_train.output import run_command, workspace_option
from tts_train.work.configs import new_config
from tts_train.workspace import Workspace


@click.group("config")
def main() -> None:
    """Write and check training configs.

    \b
    Exit codes: 0 done · 2 usage · 78 the config, or a file it names, is wrong (all problems at once)
    """


@main.command("new")
@click.argument("voice")
@click.option("--backend", "backend_name", type=click.Choice(sorted(BACKENDS)), default="piper", show_default=True)
@click.option("--dataset", required=True, help="train_manifest.jsonl, relative to the workspace.")
@click.option("--run", help="Name of the run [default: VOICE-BACKEND].")
@click.option("--probe", help="Probe YAML every epoch renders.")
@click.option("--target", help="Manifest of the target speaker reading the probe's items.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: configs/tts/VOICE_BACKEND.yaml]"
)
@workspace_option
def new(workspace: str | None, voice: str, **choices: Any) -> dict[str, Any]:
    """Write a complete config for VOICE with the backend's recipe.

    \b
    Example: run.sh config new ann --backend piper --dataset datasets/ann/train_manifest.jsonl
    """
    place = Workspace.find(workspace)
    path = new_config(place, voice, **choices)
    return {"config": str(path), "next": f"run.sh train-local {place.relative(path)} --dry-run"}


@main.command("check")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@workspace_option
def check(config: Path, workspace: str | None) -> dict[str, Any]:
    """Check CONFIG and the files it names; every problem is listed with its line."""
    return {"config": load_train_config(config, Workspace.find(workspace)).frozen()}


if __name__ == "__main__":
    run_command(main)
