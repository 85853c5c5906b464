"""export: a published epoch or a shipped voice as the voice files other programs speak with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tts_train import jobs
from tts_train.backends import backend, base_of
from tts_train.errors import UsageError
from tts_train.training.run import RunFolder
from tts_train.work.speak import chosen_epoch, consent_basis, in_backend, require_no_epoch, sharing_warnings
from tts_train.work.voice_package import EPOCH, find_voice, open_voice, read_voice
from tts_train.workspace import Workspace


def export(workspace: Workspace, target: str, out: Path, *, epoch: int | None) -> dict[str, Any]:
    """Write an epoch of a run (or its config), or a voice package, as the voice files its family's own programs read.

    A voice whose card names no consent is exported with a warning: only `ship` checks all that sharing it takes. Raises
    UsageError, and InputUnusable for a damaged package, before any environment is entered.
    """
    package = find_voice(target, workspace)
    if package is None:
        exported = in_backend(workspace, target, epoch, "tts_train.work.export:export_epoch", out=out)
        return exported | sharing_warnings(consent_basis(workspace, RunFolder(workspace.run(exported["run"]))))
    require_no_epoch(epoch)
    voice = open_voice(package)
    place = {"folder": str(package), "out": str(out.resolve())}
    exported = jobs.call(voice.family.environment, "tts_train.work.export:export_package", place)
    return exported | sharing_warnings(voice.manifest.consent_basis)


def export_epoch(workspace: str, run: str, epoch: int | None, out: str) -> dict[str, Any]:
    """Write an epoch as the voice files its family's own programs read (worker entry)."""
    place = Workspace(Path(workspace))
    folder = RunFolder(place.run(run))
    config, chosen = folder.config(), chosen_epoch(folder, epoch)
    if chosen.folder is None:
        raise UsageError(
            "epoch 0 is the untouched base", hint="export a trained epoch; the base is its own file already"
        )
    result = backend(config.backend).export_voice(
        base_of(config, place), chosen.folder, Path(out), run, folder.voice(place)
    )
    return {"run": run, "epoch": chosen.number, **result}


def export_package(folder: str, out: str) -> dict[str, Any]:
    """Write a voice package as the voice files its family's own programs read (worker entry; `export` checked it)."""
    voice = read_voice(Path(folder))
    manifest = voice.manifest
    result = voice.family.export_voice(voice.base, voice.folder / EPOCH, Path(out), manifest.run, voice.facts())
    return {"voice_package": manifest.name, "run": manifest.run, "epoch": manifest.epoch, **result}
