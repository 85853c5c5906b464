"""voices: the voice packages of a workspace, listed, packed into a zip for others, removed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tts_train.errors import InputUnusable, UsageError
from tts_train.files import TEMPORARY, owned, read_json, sha256_file, sync_folder
from tts_train.output import progress
from tts_train.review.commandline import command_line, shown
from tts_train.table import table
from tts_train.work import archives
from tts_train.work.voice_package import (
    ELSEWHERE,
    MANIFEST,
    SUMS,
    find_voice,
    format_of,
    open_voice,
    read_voice,
    shape_problems,
)
from tts_train.workspace import Workspace, check_name

SHIPPED, IMPORTED, NOTE = "shipped", "imported", "elsewhere"
ARCHIVE = ".zip"


def list_voices(workspace: Workspace, *, verify: bool = False) -> dict[str, Any]:
    """Every package: shipped here, imported, or shipped elsewhere. `verify` reads and hashes all their files.

    A damaged one is listed with its first `problem`, which is None for all others.
    """
    voices = [
        _row(workspace, folder, kind, verify=verify)
        for kind, place in ((SHIPPED, workspace.voices), (IMPORTED, workspace.imported_voices))
        for folder in sorted(place.glob("[!.]*"))
        if format_of(folder) is not None or (folder / SUMS).is_file()
    ]
    shown_columns = ("name", "kind", "backend", "language", "consent_basis", "licence", "confirmed", "problem")
    rows = [[row[column] for column in shown_columns] for row in voices]
    text = "\n".join(table([name.replace("_", " ") for name in shown_columns], rows)) if rows else "no voice yet"
    return {"voices": voices, "text": text}


def _row(workspace: Workspace, folder: Path, kind: str, *, verify: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": folder.name,
        "kind": NOTE if format_of(folder) == ELSEWHERE else kind,
        "folder": str(folder),
        **dict.fromkeys(("backend", "language", "run", "epoch", "consent_basis", "licence", "confirmed", "bytes")),
        "target": folder.name if find_voice(folder.name, workspace) == folder.resolve() else shown(folder),
        "weights_sha256": None,
        "problem": None,
    }
    if row["kind"] == NOTE:
        note = read_json(folder / MANIFEST)
        return {**row, "run": note.get("run"), "epoch": note.get("epoch"), "folder": str(note.get("folder"))}
    try:
        voice = open_voice(folder) if verify else read_voice(folder)
        problems = shape_problems(voice)
    except InputUnusable as error:
        return {**row, "problem": error.message}
    manifest = voice.manifest
    return {
        **row,
        "backend": manifest.backend,
        "language": manifest.voice.language,
        "run": manifest.run,
        "epoch": manifest.epoch,
        "consent_basis": manifest.consent_basis,
        "licence": manifest.base.licence.name if manifest.base.licence else None,
        "confirmed": manifest.confirmed,
        "bytes": sum(listed.bytes for listed in manifest.files.values()),
        "weights_sha256": manifest.weights_sha256,
        "problem": str(problems[0]) if problems else None,
    }


def pack(workspace: Workspace, target: str, out: Path) -> dict[str, Any]:
    """Pack a voice (its name or folder) into the zip `out`; the same voice always gives the same bytes.

    Every file is checked first. Raises UsageError for what is no voice, InputUnusable for a damaged one.
    """
    if out.suffix.lower() != ARCHIVE:
        raise UsageError(f"{out}: a voice is packed as {ARCHIVE}", hint="change the file's ending")
    voice = open_voice(found(workspace, target))
    name = voice.folder.name
    files = {f"{name}/{member}": voice.folder / member for member in (MANIFEST, SUMS, *voice.manifest.files)}
    progress(f"packing {len(files)} files")
    archives.write(out, files)
    command = command_line(workspace, "voices", "import", shown(out))
    size = out.stat().st_size
    text = f"{shown(out)}: {size / 1e9:.2f} GB; whoever gets it types:\n  run.sh voices import {out.name}"
    return {
        "file": str(out),
        "voice": str(voice.folder),
        "bytes": size,
        "sha256": sha256_file(out),
        "next": command,
        "text": text,
    }


def remove(workspace: Workspace, name: str, *, delete: bool = False) -> dict[str, Any]:
    """Say what removing a voice of this workspace takes away; with `delete`, do it.

    Raises UsageError for what is no voice here, Busy while another command imports or removes.
    """
    with changing(workspace):
        folder = _own(workspace, name)
        imported = folder.parent == workspace.imported_voices
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        if delete:
            # It is whole or gone, also when this is killed: the next command then sweeps up.
            aside = workspace.imported_voices / f"{TEMPORARY}{name}.old-{os.getpid()}"
            os.rename(folder, aside)
            sync_folder(folder.parent)
            shutil.rmtree(aside)
    loss = "it can be imported again" if imported else "prune no longer keeps its epoch"
    told = "removed" if delete else "would be removed: add --delete"
    return {
        "voice": str(folder),
        "kind": IMPORTED if imported else SHIPPED,
        "bytes": size,
        "removed": delete,
        "text": f"{name}, {size / 1e9:.2f} GB, {told} ({loss})",
    }


def found(workspace: Workspace, target: str) -> Path:
    """The package that a name or folder means. Raises UsageError with the voices there are."""
    folder = find_voice(target, workspace)
    if folder is None:
        raise UsageError(f"'{target}' is no voice package", hint=_known(workspace))
    return folder


@contextmanager
def changing(workspace: Workspace) -> Iterator[None]:
    """Only one command at a time brings voices in or removes them. Raises Busy.

    What a killed one has left is removed first; a ship that runs now writes elsewhere.
    """
    workspace.imported_voices.mkdir(parents=True, exist_ok=True)
    with owned(workspace.imported_voices):
        yield


def _own(workspace: Workspace, name: str) -> Path:
    check_name(name, "voice")
    for folder in (workspace.voices / name, workspace.imported_voices / name):
        if folder.is_dir() and not folder.is_symlink() and find_voice(str(folder), workspace):
            return folder
    raise UsageError(f"there is no voice '{name}' here", hint=_known(workspace))


def _known(workspace: Workspace) -> str:
    names = [row["name"] for row in list_voices(workspace)["voices"]]
    return f"one of: {', '.join(names)}" if names else "ship an epoch first (run.sh ship RUN EPOCH), or import a voice"
