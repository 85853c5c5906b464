"""train-qwen3: the same training as train-local with a qwen3 config, said in options as upstream's script has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tts_train.backends.qwen3.advice import defaults
from tts_train.backends.qwen3.shape import size_in
from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, UsageError
from tts_train.workspace import NAME, Workspace
from tts_train.yaml_config import Document, validate

_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option("--base-model", required=True, help="Folder, or a name on the hub: Qwen/Qwen3-TTS-12Hz-0.6B-Base."),
    click.option("--data-manifest", required=True, help="Manifest with codes, made by convert-qwen3."),
    click.option("--out-dir", required=True, help="artifacts/tts/RUN of the workspace, or just RUN."),
    click.option("--epochs", type=int, help="Each publishes a checkpoint [default: the recipe's]."),
    click.option("--batch-size", type=int, help="Clips per batch [default: by size]."),
    click.option("--lr", type=float, help="Peak learning rate [default: by size, and for LoRA]."),
    click.option("--accumulation", type=int, help="Batches per optimizer step [default: 1]."),
    click.option("--language", help="Tag to train and speak with, or auto [default: the manifest's]."),
    click.option("--speaker", help="Speaker to train [default: the manifest's only one]."),
    click.option("--subtalker-frames", type=float, help="Share of frames for the code predictor [default: 1.0]."),
    click.option("--lora-rank", type=int, help="Train adapters of this rank, alpha twice the rank."),
    click.option("--freeze-text-embedding", is_flag=True, help="A third of 0.6B's weights then needs no gradient."),
    click.option("--validation-clips", type=int, help="Clips held out to measure the loss on [default: 0]."),
    click.option("--processes", type=int, help="Data-parallel processes, a GPU each [default: 1]."),
    click.option("--seed", type=int, help="[default: 0]"),
    click.option("--warmup-steps", type=int, help="Optimizer steps of linear rise [default: the recipe's]."),
    click.option("--schedule", type=click.Choice(["constant", "linear", "cosine"]), help="[default: constant]"),
    click.option("--attention", type=click.Choice(["sdpa", "eager", "flash_attention_2"]), help="[default: sdpa]"),
    click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), help="Of the arithmetic."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="[default: auto]"),
    click.option("--save-dtype", type=click.Choice(["float32", "bfloat16"]), help="Of epochs [default: float32]."),
    click.option("--probe", help="Probe YAML that every epoch renders."),
)


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All options of a training."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def config_of(workspace: Workspace, options: dict[str, Any]) -> tuple[TrainConfig, list[str]]:
    """The config that a YAML would say, and a sentence for each value that was not given.

    Raises UsageError naming every option that is wrong.
    """
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    run = run_of(given["out_dir"], workspace)
    base = _base(given["base_model"], workspace)
    rank = given.get("lora_rank")
    start = defaults(_size(base, workspace), lora=rank is not None)
    notes = [
        f"--{name.replace('_', '-')} not given: {value:g}" + (f" ({start.why})" if name == "lr" else "")
        for name, value in {"lr": start.lr, "batch_size": start.batch_size, "epochs": start.epochs}.items()
        if name not in given
    ]
    document: dict[str, Any] = {
        "voice": run.removesuffix("-qwen3"),
        "run": run,
        "backend": "qwen3",
        "base": base,
        "dataset": _file(given["data_manifest"], "--data-manifest", workspace),
        "lr": given.get("lr", start.lr),
        "epochs": given.get("epochs", start.epochs),
        "batch_size": given.get("batch_size", start.batch_size),
        "schedule": {
            "shape": given.get("schedule", "constant"),
            "warmup_steps": given.get("warmup_steps", start.warmup_steps),
        },
        "qwen3": _only(given, "language", "speaker", "subtalker_frames", "attention", "save_dtype"),
        **_only(given, "accumulation", "validation_clips", "processes", "seed", "precision", "device"),
    }
    if rank is not None:
        document["qwen3"]["lora"] = {"rank": rank, "alpha": max(2.0 * rank, 1.0)}
    if "freeze_text_embedding" in given:
        document["qwen3"]["freeze"] = ["text_embedding"]
    if "probe" in given:
        document["probe"] = {"file": _file(given["probe"], "--probe", workspace)}
    try:
        return validate(TrainConfig, Document(document, {}), Path("options")), notes
    except ConfigError as error:
        hint = "run.sh train-qwen3 --help; names in quotes are those of a config"
        raise UsageError("some options have impossible values", hint=hint, problems=error.problems) from error


def run_of(out_dir: str, workspace: Workspace) -> str:
    """The run that `--out-dir` names. Raises UsageError for a folder that is not one of the workspace's runs."""
    path = Path(out_dir)
    runs = workspace.runs.resolve()
    places = [(root / path).resolve() for root in (Path.cwd(), workspace.root)]
    if not NAME.fullmatch(path.name):
        raise UsageError(
            f"--out-dir: '{path.name}' is not a run name",
            hint="lower-case letters, digits, '-' and '_', starting with a letter or digit, 64 at most",
        )
    if str(path) == path.name or any(place.parent == runs for place in places):
        return path.name
    raise UsageError(
        f"--out-dir {out_dir} is not a folder of {runs}, where status, report and next look for runs",
        hint=f"--out-dir artifacts/tts/{path.name}; another workspace: --workspace DIR",
    )


def _file(given: str, option: str, workspace: Workspace) -> str:
    """A file given on the command line, relative to the caller's folder or to the workspace, as a config names it."""
    for place in (Path.cwd() / given, workspace.root / given):
        if place.is_file():
            return workspace.relative(place)
    raise UsageError(f"{option} {given} is not a file", hint=f"looked in {Path.cwd()} and {workspace.root}")


def _base(given: str, workspace: Workspace) -> str:
    """A folder as a config names it; anything else is a name on the hub."""
    folder = Path(given).expanduser()
    return workspace.relative(Path.cwd() / folder) if folder.is_dir() else given


def _size(base: str, workspace: Workspace) -> str:
    from tts_train.backends.qwen3 import base as bases  # numpy comes with it, and --help must not wait

    folder = bases.locate(str(workspace.path(base))) or bases.locate(base)
    return bases.describe(folder, base).size if folder else size_in(base)


def _only(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}
