"""train-runpod: train on a rented GPU of RunPod."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.workspace import Workspace


@click.command("train-runpod")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--max-price", metavar="USD", type=click.FloatRange(0, min_open=True), required=True, help="An hour.")
@click.option("--max-hours", type=click.FloatRange(0, min_open=True), required=True, help="Then it is saved and ended.")
@click.option("--gpu", help="This type and no other, such as 'RTX 4090' [default: the cheapest with enough memory].")
@click.option("--cloud", type=click.Choice(["SECURE", "COMMUNITY"]), default="SECURE", show_default=True)
@click.option("--volume", metavar="ID[:PATH]", help="Network volume that keeps the run when a pod is lost.")
@click.option("--image", help="Docker image with sshd and Python 3.11 or 3.12 [default: RunPod's for torch 2.8].")
@click.option("--env", "variables", metavar="NAME", multiple=True, help="Variable of here that the job gets: HF_TOKEN.")
@click.option("--pods", type=click.IntRange(min=1), default=5, show_default=True, help="As many may be lost.")
@click.option("--no-probe", is_flag=True, help="Train only; run.sh probe RUN does the rest here.")
@click.option("--key-file", type=click.Path(path_type=Path, dir_okay=False), help="Instead of RUNPOD_API_KEY.")
@click.option("--dry-run", is_flag=True, help="Print the request, the offers and the caps; rent nothing.")
@workspace_option
def main(config: Path, workspace: str | None, dry_run: bool, key_file: Path | None, **wish: Any) -> dict[str, Any]:
    """Fine-tune a voice on a rented GPU: rent, send, train, fetch every epoch, end the pod in every case.

    A lost pod is replaced and the training goes on. The key comes from RUNPOD_API_KEY or a file. Stopped by a signal
    it saves first; after a kill the same command takes the pod up again, and run.sh cloud reap ends it.

    \b
    Example: run.sh train-runpod configs/tts/voice.yaml --max-price 0.8 --max-hours 6 --dry-run
    Exit codes: 0 done, or out of hours · 65 data unusable · 69 no key, money, GPU or answer · 75 followed already
                78 bad config · 130/143 stopped, saved · else: the training's own
    """
    from tts_train.cloud.plan import IMAGE, Wish
    from tts_train.cloud.rental import train_on_runpod

    wish |= {"image": wish["image"] or IMAGE, "tries": wish.pop("pods"), "probe": not wish.pop("no_probe")}
    place = Workspace.find(workspace)
    return train_on_runpod(config, place, Wish(**wish), key_file=key_file, dry_run=dry_run)


if __name__ == "__main__":
    run_command(main)
