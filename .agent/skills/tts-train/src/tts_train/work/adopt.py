"""runs adopt: checkpoints that another program trained, as a run that can be probed, judged and spoken with.

What such a checkpoint does not say (learning rate, schedule, steps) stays unknown: run.json says `adopted`, and
nothing that reads a run makes it up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.backends import Backend, backend, base_of
from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, InputUnusable, Problem, UsageError
from tts_train.files import atomic_write_bytes, locked, require_space, sha256_file, sweep, write_json
from tts_train.output import progress
from tts_train.review.commandline import command_line
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace, check_name

if TYPE_CHECKING:
    from tts_train.backends.qwen3.base import Base
    from tts_train.backends.qwen3.official import Checkpoint

DATASET = "adopted"
"""Stands in the config where a manifest's path would: what it was trained on is not known."""
VECTOR = "speaker_vector.safetensors"
PROGRAM = "the official fine-tuning script"


def adopt(
    workspace: Workspace,
    folder: Path,
    backend_name: str,
    *,
    run: str | None = None,
    base: str | None = None,
    reference: Path | None = None,
    language: str | None = None,
    lr: float | None = None,
    probe: str | None = None,
    target: str | None = None,
    link: bool = False,
) -> dict[str, Any]:
    """Make a run of the checkpoints in `folder`; what is adopted already is kept, new checkpoints are added.

    Returns {run, folder, base, epochs [{epoch, source, drift, kept}], unknown, warnings, next, text}. Raises
    UsageError for a family that has none, InputUnusable for checkpoints that are torn, pickled or not what they
    should be, ConfigError when a run of that name holds something else.
    """
    family = backend(backend_name)
    root, found = folder.resolve(), _find(family, folder)
    from tts_train.backends.qwen3 import official

    checkpoints = {number: official.read_checkpoint(path, root) for number, path in found}
    first = checkpoints[min(checkpoints)]
    _require_one_voice(checkpoints)
    name = check_name(run or f"{_slug(first.speaker)}-adopted", "run")
    place = RunFolder(workspace.runs / name)
    config = _config(
        workspace, family, first, epochs=max(checkpoints), run=name, base=base, lr=lr, probe=probe, target=target
    )
    known_base = official.local_base(base_of(config, workspace))
    facts = {
        "adopted": True,
        "lr_known": lr is not None,
        "base": _base_facts(config, first, known_base),
        "voice": _voice(workspace, place, first, reference, language),
    }
    _require_same_run(place, checkpoints)
    with locked(place.path / ".lock"):
        sweep(place.path)
        if reference is None:
            atomic_write_bytes(place.path / VECTOR, first.vector_file())
        _start(place, config, facts)
        rows = [_adopt_epoch(place, number, item, known_base, link=link) for number, item in checkpoints.items()]
        _write_status(place, folder, max(checkpoints))
    return _result(workspace, place, config, rows, facts)


def _find(family: Backend, folder: Path) -> list[tuple[int, Path]]:
    find = getattr(import_module(family.home), "find_checkpoints", None)
    if find is None:
        raise UsageError(
            f"no other program's checkpoints of {family.name} can be adopted",
            hint="run.sh runs adopt DIR --backend qwen3",
        )
    found: list[tuple[int, Path]] = find(folder)
    if not found:
        raise InputUnusable(
            f"{folder} holds no checkpoint-epoch-N folder", hint="name the script's --output_model_path"
        )
    return found


def _require_one_voice(checkpoints: Mapping[int, Checkpoint]) -> None:
    voices = {(item.speaker, item.described.size) for item in checkpoints.values()}
    if len(voices) > 1:
        listed = ", ".join(f"{speaker} ({size})" for speaker, size in sorted(voices))
        raise ConfigError(
            f"these checkpoints are not of one training: {listed}", hint="adopt each training's folder by itself"
        )


def _config(
    workspace: Workspace,
    family: Backend,
    first: Checkpoint,
    *,
    epochs: int,
    run: str,
    base: str | None,
    lr: float | None,
    probe: str | None,
    target: str | None,
) -> TrainConfig:
    """A config that describes the run as far as it is known; what is not stands at its default and is not shown."""
    if target and not probe:
        raise UsageError("--target goes with --probe", hint="name the probe that the target speaker reads")
    for name in (probe, target):
        if name and not workspace.path(name).is_file():
            raise ConfigError(f"{workspace.path(name)} is not a file", hint="paths are relative to the workspace")
    if lr is not None and not 0 < lr < 1:
        raise UsageError(f"--lr {lr:g} is no learning rate", hint="for example --lr 2e-6")
    local = base is not None and Path(base).is_dir()
    return TrainConfig.model_validate(
        {
            "voice": _slug(first.speaker),
            "run": run,
            "backend": family.name,
            "dataset": DATASET,
            "base": workspace.relative(Path(base)) if base and local else base or first.base,
            "epochs": epochs,
            "lr": lr or family.recipe.lr,
            "probe": {"file": probe, "target": target} if probe else None,
        }
    )


def _base_facts(config: TrainConfig, first: Checkpoint, known: Base | None) -> dict[str, Any]:
    from tts_train.backends.qwen3 import official

    digest = official.base_sha256(known) if known else None
    return {"name": config.base, "size": first.described.size, "sha256": digest}


def _voice(
    workspace: Workspace, run: RunFolder, first: Checkpoint, reference: Path | None, language: str | None
) -> dict[str, Any]:
    import hashlib

    if reference is None:
        where, digest = run.path / VECTOR, hashlib.sha256(first.vector_file()).hexdigest()
    elif reference.is_file():
        where, digest = reference, sha256_file(reference)
    else:
        raise InputUnusable(f"the reference {reference} is not a file", hint="name the ref_audio of the training")
    return {
        "speaker": first.speaker,
        # The official script reads the manifest's language and trains without it.
        "language": first.language(language or "auto"),
        "reference": workspace.relative(where),
        "reference_sha256": digest,
    }


def _require_same_run(run: RunFolder, checkpoints: Mapping[int, Checkpoint]) -> None:
    """Before anything is written: a run of this name may only hold the same epochs."""
    if not (run.path / "run.json").is_file():
        return
    if not run.info().get("adopted"):
        raise ConfigError(f"run '{run.name}' was trained here", hint="give the adopted run its own name: --run NAME")
    theirs = {epoch.number: epoch.weights_sha256 for epoch in run.epochs()}
    problems = [
        Problem(f"epoch {number} was adopted from other weights than {item.weights} holds now", str(run.path))
        for number, item in checkpoints.items()
        if number in theirs and sha256_file(item.weights) != theirs[number]
    ]
    if problems:
        raise ConfigError(
            f"run '{run.name}' holds something else", hint="adopt it under its own name: --run NAME", problems=problems
        )


def _start(run: RunFolder, config: TrainConfig, facts: Mapping[str, Any]) -> None:
    from tts_train.backends.qwen3 import machine

    if (run.path / "run.json").is_file():
        known = run.info()
        if known.get("base", {}).get("sha256") is None:  # it was downloaded since
            write_json(run.path / "run.json", {**known, "base": facts["base"]})
        elif facts["base"]["sha256"] is None:  # it was removed since
            facts = {**facts, "base": known["base"]}
        adopted = [epoch.number for epoch in run.epochs()]
        config = config.model_copy(update={"epochs": max(config.epochs, *adopted, 1)})
    device = "cuda" if machine.look().gpus else "cpu"
    run.start(config, facts, {"compute": {"device": device}})


def _adopt_epoch(
    run: RunFolder, number: int, checkpoint: Checkpoint, base: Base | None, *, link: bool
) -> dict[str, Any]:
    from tts_train.backends.qwen3 import official

    there = next((epoch for epoch in run.epochs() if epoch.number == number), None)
    if there is not None and there.folder is not None:
        info = dict(there.info)
        if info["drift"] is None and base is not None:
            info["drift"] = official.drift(checkpoint, base)
            write_json(there.folder / "epoch.json", info)
        return {"epoch": number, "source": info["source"], "drift": info["drift"], "kept": True}
    progress(f"epoch {number}: {checkpoint.folder.name}")
    if not link:
        require_space(run.path, checkpoint.weights.stat().st_size)
    source = {"program": PROGRAM, "folder": checkpoint.folder.name, "path": str(checkpoint.folder.resolve())}
    distance = None if base is None else official.drift(checkpoint, base)
    info = {"epoch": number, "step": None, "loss": {}, "sum_lr": None, "drift": distance, "source": source}
    run.publish(number, lambda target: checkpoint.take(target, link=link), info)
    return {"epoch": number, "source": source, "drift": distance, "kept": False}


def _write_status(run: RunFolder, folder: Path, epoch: int) -> None:
    fields = dict.fromkeys(("pid", "host", "step", "loss", "eta_seconds", "heartbeat_at", "progress_at"))
    write_json(
        run.path / "status.json",
        {**fields, "state": "done", "epoch": epoch, "reason": f"adopted from {folder.resolve()}, not trained here"},
    )


def _result(
    workspace: Workspace, run: RunFolder, config: TrainConfig, rows: Sequence[Mapping[str, Any]], facts: dict[str, Any]
) -> dict[str, Any]:
    info = run.info()
    unknown = ["schedule", "steps", "sum_lr", *([] if facts["lr_known"] else ["lr"])]
    warnings = []
    if info["base"]["sha256"] is None:
        warnings.append(
            f"the base {config.base} is not on this machine: drift is unknown, and epoch 0 cannot speak before it is "
            f"there (hf download {config.base}, then adopt again)"
        )
    if Path(info["voice"]["reference"]).name == VECTOR:
        warnings.append("no --reference: epoch 0 speaks with the speaker vector that the first checkpoint carries")
    told = [
        f"{row['epoch']} ({row['source']['folder']}"
        + (f", drift {row['drift']:.2g})" if row["drift"] is not None else ", drift unknown)")
        for row in rows
    ]
    probe = [] if config.probe else ["--probe", "PROBE.yaml"]
    command = command_line(workspace, "probe", run.name, *probe)
    lines = [
        f"run {run.name}: epochs {', '.join(told)}",
        f"  not known, and not made up: {', '.join(unknown)}",
        *(f"  {warning}" for warning in warnings),
        f"  next: {command}",
    ]
    return {
        "run": run.name,
        "folder": str(run.path),
        "base": info["base"],
        "epochs": list(rows),
        "unknown": unknown,
        "warnings": warnings,
        "next": command,
        "text": "\n".join(lines),
    }


def _slug(speaker: str) -> str:
    """A speaker's name as the name of a voice."""
    return re.sub(r"[^a-z0-9]+", "-", speaker.lower()).strip("-")[:40].rstrip("-") or "voice"
