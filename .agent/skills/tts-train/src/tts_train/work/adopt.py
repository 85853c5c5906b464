"""runs adopt: checkpoints that another program trained, as a run that can be probed, judged and spoken with.

What such a checkpoint does not say (learning rate, schedule, steps) stays unknown: run.json says `adopted`, and
nothing that reads a run makes it up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from tts_train import jobs
from tts_train.backends import Backend, backend, base_of
from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, InputUnusable, Problem, UsageError
from tts_train.files import atomic_write_bytes, locked, require_space, sha256_file, sweep, write_json
from tts_train.output import progress
from tts_train.review.commandline import command_line
from tts_train.training.run import RunFolder
from tts_train.work.adoption import Adoption, Checkpoint, adoption
from tts_train.workspace import Workspace, check_name

DATASET = "adopted"
"""Stands in the config where a manifest's path would: what it was trained on is not known."""


def adopt(workspace: Workspace, folder: Path, backend_name: str, **choices: Any) -> dict[str, Any]:
    """Make a run of the checkpoints in `folder`; what is adopted already is kept, new checkpoints are added.

    `choices` and result are those of `adopt_here`, which runs where the family can read checkpoints.
    """
    family = backend(backend_name)
    if adoption(family).IN_CORE:
        return adopt_here(str(workspace.root), str(folder), backend_name, **choices)
    choices = {name: str(value) if isinstance(value, Path) else value for name, value in choices.items()}
    place = {"workspace": str(workspace.root), "folder": str(folder.resolve()), "backend_name": backend_name}
    return jobs.call(family.environment, "tts_train.work.adopt:adopt_here", {**place, **choices})


def adopt_here(
    workspace: str,
    folder: str,
    backend_name: str,
    *,
    run: str | None = None,
    base: str | None = None,
    reference: str | Path | None = None,
    language: str | None = None,
    lr: float | None = None,
    probe: str | None = None,
    target: str | None = None,
    link: bool = False,
) -> dict[str, Any]:
    """Adopt in this environment (worker entry).

    Returns {run, folder, base, epochs [{epoch, source, drift, kept}], unknown, warnings, next, text}. Raises
    UsageError for a family that has none, InputUnusable for checkpoints that are torn, refused or not what they
    should be, ConfigError when a run of that name holds something else.
    """
    space, family = Workspace(Path(workspace)), backend(backend_name)
    foreign = adoption(family)
    checkpoints: Mapping[int, Checkpoint] = foreign.read_checkpoints(Path(folder))
    first = checkpoints[min(checkpoints)]
    _require_one_voice(checkpoints)
    name = check_name(run or f"{_slug(first.speaker)}-adopted", "run")
    place = RunFolder(space.runs / name)
    config = _config(
        space, family, first, epochs=max(checkpoints), run=name, base=base, lr=lr, probe=probe, target=target
    )
    known_base = foreign.local_base(base_of(config, space))
    own = first.own_reference() if reference is None else None
    facts = {
        "adopted": True,
        "lr_known": lr is not None,
        "base": {
            "name": config.base,
            "size": first.size,
            "sha256": None if known_base is None else foreign.base_sha256(known_base),
        },
        "voice": {**first.voice(language, known_base), **_reference(space, place, reference, own)},
    }
    _require_same_run(place, checkpoints)
    with locked(place.path / ".lock", run=place.path):
        sweep(place.path)
        if own is not None:
            atomic_write_bytes(place.path / own[0], own[1])
        _start(place, config, facts)
        rows = [
            _adopt_epoch(place, foreign, number, checkpoints[number], known_base, link=link) for number in checkpoints
        ]
        _write_status(place, Path(folder), max(checkpoints))
    return _result(
        space, place, config, rows, facts, [] if own is None else [f"no --reference: {foreign.OWN_REFERENCE}"]
    )


def _require_one_voice(checkpoints: Mapping[int, Checkpoint]) -> None:
    voices = {(item.speaker, item.size) for item in checkpoints.values()}
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


def _reference(
    workspace: Workspace, run: RunFolder, reference: str | Path | None, own: tuple[str, bytes] | None
) -> dict[str, str]:
    if own is not None:
        where, digest = run.path / own[0], sha256(own[1]).hexdigest()
    elif reference is not None and Path(reference).is_file():
        where, digest = Path(reference), sha256_file(Path(reference))
    else:
        raise InputUnusable(
            f"the reference {reference} is not a file", hint="name a recording of the training's speaker"
        )
    return {"reference": workspace.relative(where), "reference_sha256": digest}


def _require_same_run(run: RunFolder, checkpoints: Mapping[int, Checkpoint]) -> None:
    """Before anything is written: a run of this name may only hold the same epochs."""
    if not (run.path / "run.json").is_file():
        return
    if not run.info().get("adopted"):
        raise ConfigError(f"run '{run.name}' was trained here", hint="give the adopted run its own name: --run NAME")
    theirs = {epoch.number: epoch.info["source"]["sha256"] for epoch in run.epochs()}
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
    from tts_train.backends import machine

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
    run: RunFolder, foreign: Adoption, number: int, checkpoint: Checkpoint, base: Any, *, link: bool
) -> dict[str, Any]:
    there = next((epoch for epoch in run.epochs() if epoch.number == number), None)
    if there is not None and there.folder is not None:
        info = dict(there.info)
        if info["drift"] is None and base is not None:
            info["drift"] = foreign.drift(checkpoint, base)
            write_json(there.folder / "epoch.json", info)
        return {"epoch": number, "source": info["source"], "drift": info["drift"], "kept": True}
    file = checkpoint.weights
    progress(f"epoch {number}: {file.parent.name}/{file.name}")
    if not link:
        require_space(run.path, checkpoint.room)
    source = {
        "program": foreign.PROGRAM,
        "folder": file.parent.name,
        "file": file.name,
        "path": str(file.parent.resolve()),
        "sha256": sha256_file(file),
    }
    distance = None if base is None else foreign.drift(checkpoint, base)
    info = {"epoch": number, "step": None, "loss": {}, "sum_lr": None, "drift": distance, "source": source}
    digest = run.info()["base"]["sha256"]
    run.publish(number, lambda target: checkpoint.take(target, link=link, base_sha256=digest), info)
    return {"epoch": number, "source": source, "drift": distance, "kept": False}


def _write_status(run: RunFolder, folder: Path, epoch: int) -> None:
    fields = dict.fromkeys(("pid", "host", "step", "loss", "eta_seconds", "heartbeat_at", "progress_at"))
    write_json(
        run.path / "status.json",
        {**fields, "state": "done", "epoch": epoch, "reason": f"adopted from {folder.resolve()}, not trained here"},
    )


def _result(
    workspace: Workspace,
    run: RunFolder,
    config: TrainConfig,
    rows: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    warnings: list[str],
) -> dict[str, Any]:
    info = run.info()
    unknown = ["schedule", "steps", "sum_lr", *([] if facts["lr_known"] else ["lr"])]
    if info["base"]["sha256"] is None:
        warnings.insert(
            0,
            f"the base {config.base} is not on this machine: drift is unknown, and epoch 0 cannot speak before it is "
            f"there (hf download {config.base}, then adopt again)",
        )
    told = [
        f"{row['epoch']} ({row['source']['folder']}/{row['source']['file']}"
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
