"""train-local: check everything in the core environment, then train in the backend's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tts_train.backends import backend
from tts_train.clip import Clip
from tts_train.config import TrainConfig, load_train_config
from tts_train.dataset import audio_path, load_card, load_manifest
from tts_train.errors import InputUnusable, Stopped, TtsTrainError
from tts_train.files import locked, sha256_file
from tts_train.output import progress
from tts_train.probe.work import probe_run
from tts_train.training.run import RunFolder
from tts_train.training.status import read_status
from tts_train.workspace import Workspace


def plan(config_path: Path, workspace: Workspace) -> dict[str, Any]:
    """Check config, card and manifest, and say what training will cost. Needs no model library.

    Raises ConfigError with every problem, InputUnusable when the dataset is empty.
    """
    config = load_train_config(config_path, workspace)
    manifest = workspace.path(config.dataset)
    load_card(manifest.parent)
    clips = load_manifest(manifest)
    family = backend(config.backend)
    if config.parent:
        _parent_weights(config, workspace)
    run = RunFolder(workspace.runs / config.run)
    batches = -(-len(clips) // config.batch_size)
    steps = -(-batches // config.accumulation)
    done = len(run.epochs())
    seconds = sum(clip.audio_seconds for clip in clips)
    return {
        "config": config.frozen(),
        "environment": family.environment,
        "run": config.run,
        "clips": len(clips),
        "audio_seconds": round(seconds, 1),
        "steps_per_epoch": steps,
        "steps": steps * config.epochs,
        "epochs_published": done,
        "estimate": {
            "minutes": round(family.cpu_seconds_per_clip * len(clips) * max(config.epochs - done, 0) / 60, 1),
            "disk_gigabytes": round(family.epoch_megabytes * (config.epochs + 6) / 1000, 2),
            "basis": f"{family.cpu_seconds_per_clip} s per clip and epoch, measured on two CPU cores",
        },
        "done": done >= config.epochs and read_status(run.path)["state"] == "done",
    }


def train(config: dict[str, Any], workspace: str, probe: bool = True) -> dict[str, Any]:
    """Train one run to its last epoch and, unless `probe` is false, probe it (worker entry, backend's environment).

    Takes a run that is already there up where it was. Raises Busy when another process trains it.
    """
    from tts_train.training import loop

    settings, place = TrainConfig.model_validate(config), Workspace(Path(workspace))
    run = RunFolder(place.runs / settings.run)
    family = backend(settings.backend)
    manifest = place.path(settings.dataset)
    with locked(run.path / ".lock"):
        clips = load_manifest(manifest)
        task = family.load_task(settings, clips, place)
        if settings.parent and settings.parent.from_weights:
            task.load_weights(_parent_weights(settings, place))
        run.start(settings, {"dataset_sha256": dataset_sha256(manifest, clips), **task.report})
        progress(f"run {run.name}: {len(clips)} clips, {task.trainable_parameters / 1e6:.1f} M weights train")
        trained = loop.train(
            task, settings, run, lambda number: _probe_epoch(settings, place, number) if probe else None
        )
    result = {
        "run": run.name,
        "folder": str(run.path),
        "published": [epoch.number for epoch in run.epochs()],
        **trained,
    }
    if probe and settings.probe and settings.probe.when != "never":
        result["probe"] = _probe(settings, place, None)
    return result


def dataset_sha256(manifest: Path, clips: Sequence[Clip]) -> str:
    """Hash of the manifest and of every clip's audio: what the run was trained on, exactly."""
    digest = hashlib.sha256(manifest.read_bytes())
    for clip in clips:
        digest.update(sha256_file(audio_path(manifest, clip)).encode())
    return digest.hexdigest()


def _parent_weights(config: TrainConfig, workspace: Workspace) -> Path:
    if config.parent is None:
        raise InputUnusable("this run has no parent", hint="set parent: {run, epoch, move}")
    epoch = RunFolder(workspace.run(config.parent.run)).epoch(config.parent.epoch)
    if epoch.folder is None:
        raise InputUnusable(
            "epoch 0 is the base and has no weights of its own", hint="set parent.from_weights to false"
        )
    return epoch.folder


def _probe_epoch(config: TrainConfig, workspace: Workspace, number: int) -> None:
    if config.probe and config.probe.when == "each-epoch":
        _probe(config, workspace, [0, number])


def _probe(config: TrainConfig, workspace: Workspace, epochs: list[int] | None) -> dict[str, Any]:
    """Rendering and measuring run in processes of their own; what fails there never fails a training.

    A signal is not a failure: it was meant for the training as well, so Stopped passes.
    """
    try:
        return probe_run(workspace, config.run, epochs=epochs)
    except Stopped:
        raise
    except TtsTrainError as error:
        progress(f"the probe failed ({error.message}); the training is whole. Try: run.sh probe {config.run}")
        return {"failed": error.as_json(), "try": f"run.sh probe {config.run}"}
