"""probe: every epoch reads the same sentences; then measure, gate, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.probe import work
from tts_train.training.gpus import share_gpu_option
from tts_train.work.targets import numbers, run_of
from tts_train.workspace import Workspace


@click.command("probe")
@click.argument("target_run", metavar="RUN")
@click.option("--epochs", help="Such as 0,3-6 [default: the base (0) and all published].")
@click.option("--probe", help="Probe YAML [default: the run's].")
@click.option("--seeds", help="Such as 0,1,2 [default: the probe's; else 0,1 for a family that samples, 0 for piper].")
@click.option("--target", help="Manifest of the target speaker reading the probe [default: the run's].")
@click.option("--dry-run", is_flag=True, help="Say what would be rendered and what it costs.")
@share_gpu_option
@workspace_option
def main(
    target_run: str,
    epochs: str | None,
    probe: str | None,
    seeds: str | None,
    target: str | None,
    dry_run: bool,
    workspace: str | None,
) -> dict[str, Any]:
    """Render the probe with each epoch of RUN and measure: words, speaker, spectrum, pace, accent, gates.

    Only what is missing or out of date is done. A failed gate is shown; it removes no epoch. Loudness-matched copies
    to listen to and pictures lie beside the renders.

    \b
    Example: run.sh probe demo-constant --epochs 0,4-6 --human
    Exit codes: 0 done · 2 usage · 65 no such run · 69 model or package missing · 75 being probed, GPU in use
                78 bad probe
    """
    place = Workspace.find(workspace)
    probe, target = (str(Path(name).resolve()) if name and Path(name).is_file() else name for name in (probe, target))
    act = work.plan if dry_run else work.probe_run
    chosen = numbers(epochs, "--epochs"), target, numbers(seeds, "--seeds")
    return act(place, run_of(target_run, place).name, probe, *chosen)


if __name__ == "__main__":
    run_command(main)
