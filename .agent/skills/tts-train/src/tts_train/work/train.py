"""train-local: check everything in the core environment, then train in the backend's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tts_train.backends import backend
from tts_train.config import TrainConfig, load_train_config
from tts_train.dataset import NO_CONSENT, load_card
from tts_train.errors import InputUnusable, Stopped, TtsTrainError
from tts_train.files import locked
from tts_train.output import progress
from tts_train.probe.work import probe_run
from tts_train.training import launch
from tts_train.training.compute import resolve
from tts_train.training.gpus import gpu_held
from tts_train.training.ranks import joined, refuse_foreign_launcher
from tts_train.training.run import RunFolder
from tts_train.training.status import read_status
from tts_train.work.patience import is_measured, out_of_patience, require_measures
from tts_train.workspace import Workspace


def plan(chosen: TrainConfig | Path, workspace: Workspace, patience: int | None = None) -> dict[str, Any]:
    """Check config, card and manifest, and say what training will cost. Needs no model library.

    `patience`: epochs without a better one after which it ends. Raises ConfigError with every problem, InputUnusable
    when the dataset is empty.
    """
    refuse_foreign_launcher()
    config = load_train_config(chosen, workspace) if isinstance(chosen, Path) else chosen
    if patience is not None:
        require_measures(config)
    card = load_card(workspace.path(config.dataset).parent)
    family = backend(config.backend)
    examined = family.examine(config, workspace)
    if config.parent:
        _parent_weights(config, workspace)
    warnings = list(examined.warnings)
    if card.consent_basis == NO_CONSENT:
        warnings.append("the card's consent_basis is none: this voice can be trained and heard, but `ship` refuses it")
    run = RunFolder(workspace.runs / config.run)
    batches = -(-(examined.clips - config.validation_clips) // config.batch_size)
    steps = -(-batches // config.accumulation)
    done = len(run.epochs())
    left = max(config.epochs - done, 0) / config.epochs
    ended_early = bool(patience and done and out_of_patience(workspace, config.run, patience))
    estimate = {**examined.estimate, "minutes": round(examined.estimate["minutes"] * left, 1)}
    return {
        "config": config.frozen(),
        "environment": family.environment,
        "run": config.run,
        "clips": examined.clips,
        "audio_seconds": round(examined.audio_seconds, 1),
        "steps_per_epoch": steps,
        "steps": steps * config.epochs,
        "epochs_published": done,
        "estimate": estimate,
        "warnings": warnings,
        **examined.facts,
        "done": read_status(run.path)["state"] == "done" and (ended_early or done >= config.epochs),
        "text": "\n".join(
            [
                f"{config.run}: {examined.clips} clips, {examined.audio_seconds / 60:.1f} min of speech",
                f"{steps} optimizer steps an epoch, {config.epochs} epochs, {done} published",
                *(f"{name}: {value}" for name, value in estimate.items() if not isinstance(value, dict | list)),
                *(f"warning: {warning}" for warning in warnings),
            ]
        ),
    }


def train(config: dict[str, Any], workspace: str, probe: bool = True, patience: int | None = None) -> dict[str, Any]:
    """Train one run to its last epoch and, unless `probe` is false, probe it (worker entry, backend's environment).

    With `patience` it ends after that many epochs without a better one. Takes a run that is already there up where it
    was. Raises Busy when another process trains it.
    """
    settings, place = TrainConfig.model_validate(config), Workspace(Path(workspace))
    run = RunFolder(place.runs / settings.run)
    with locked(run.path / ".lock", run=run.path):
        arguments: dict[str, Any] = {
            "config": config,
            "workspace": workspace,
            "probe": probe,
            "patience": patience,
        }
        if settings.processes == 1:
            trained = train_rank(**arguments)
        else:
            trained = launch.run_ranks("tts_train.work.train:train_rank", arguments, settings.processes)
    result = {
        "run": run.name,
        "folder": str(run.path),
        "published": [epoch.number for epoch in run.epochs()],
        **trained,
    }
    if probe and settings.probe and settings.probe.when != "never":
        result["probe"] = _probe(settings, place, None)
    return result


def train_rank(config: dict[str, Any], workspace: str, probe: bool, patience: int | None = None) -> dict[str, Any]:
    """Train in this process: the only one, or one of several (worker entry). The caller holds the run's lock."""
    from tts_train.training import loop

    settings, place = TrainConfig.model_validate(config), Workspace(Path(workspace))
    run = RunFolder(place.runs / settings.run)
    with joined(settings) as ranks, gpu_held(resolve(settings).device, ranks.rank, run=run.path):
        compute = resolve(settings)
        with ranks.first_alone():
            task = backend(settings.backend).load_task(settings, place)
        if settings.parent and settings.parent.from_weights:
            task.load_weights(_parent_weights(settings, place))
        if ranks.first:
            run.start(settings, task.report, {"compute": compute.as_json()})
            millions = task.trainable_parameters / 1e6
            progress(f"run {run.name}: {millions:.1f} M weights train on {compute.device} in {compute.precision}")
        return loop.train(
            task,
            settings,
            run,
            lambda number: _after_epoch(settings, place, number, patience) if probe else None,
            ranks,
        )


def _parent_weights(config: TrainConfig, workspace: Workspace) -> Path:
    if config.parent is None:
        raise InputUnusable("this run has no parent", hint="set parent: {run, epoch, move}")
    epoch = RunFolder(workspace.run(config.parent.run)).epoch(config.parent.epoch)
    if epoch.folder is None:
        raise InputUnusable(
            "epoch 0 is the base and has no weights of its own", hint="set parent.from_weights to false"
        )
    epoch.require_weights()
    return epoch.folder


def _after_epoch(config: TrainConfig, workspace: Workspace, number: int, patience: int | None) -> str | None:
    """Probe an epoch where every one is; returns why the training should end with it, if it should."""
    if config.probe is None or config.probe.when != "each-epoch":
        return None
    if not is_measured(workspace, config.run, number):
        _probe(config, workspace, [0, number])
    return None if patience is None else out_of_patience(workspace, config.run, patience)


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
