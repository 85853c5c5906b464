"""train-qwen3: fine-tune Qwen3-TTS from codes."""

from __future__ import annotations

from typing import Any

import click

from tts_train import jobs
from tts_train.output import progress, run_command, workspace_option
from tts_train.training.gpus import share_gpu_option
from tts_train.work.qwen3 import config_of, training_options
from tts_train.work.train import plan
from tts_train.workspace import Workspace


@click.command("train-qwen3")
@training_options
@click.option("--dry-run", is_flag=True, help="Check everything and print what it will cost; train nothing.")
@share_gpu_option
@workspace_option
def main(dry_run: bool, workspace: str | None, **options: Any) -> dict[str, Any]:
    """Fine-tune Qwen3-TTS 0.6B or 1.7B on the codes that convert-qwen3 made; every epoch is a checkpoint.

    The same as train-local with a qwen3 config: run it again to go on after a stop.

    \b
    Example: run.sh train-qwen3 --base-model Qwen/Qwen3-TTS-12Hz-0.6B-Base
               --data-manifest datasets/ann/train_manifest_qwen3.jsonl --out-dir artifacts/tts/ann-qwen3 --dry-run
    Exit codes: 0 done or nothing left · 2 usage · 65 data unusable · 69 model, package or GPU missing
                70 diverged · 74 disk · 75 the run or its GPU is in use · 78 bad data or settings
                130/143 stopped, saved
    """
    place = Workspace.find(workspace)
    config, notes = config_of(place, options)
    planned = {**plan(config, place), "defaults": notes}
    if dry_run:
        return planned
    if planned["done"]:
        return {**planned, "nothing_left_to_do": True, "next": f"run.sh next {planned['run']}"}
    for remark in (*notes, *planned["warnings"]):
        progress(remark)
    return jobs.replace(
        planned["environment"],
        "train-qwen3",
        "tts_train.work.train:train",
        {"config": planned["config"], "workspace": str(place.root)},
    )


if __name__ == "__main__":
    run_command(main)
