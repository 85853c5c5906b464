"""voices import: a package from somebody else, checked as if an enemy had made it, then published whole.

Only what voice.json lists is taken, each file with its size and hash; weights are safetensors, ONNX, or a family's own
plain weights. Nothing of the package is read by a model library before all of that holds.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tts_train.dataset import NO_CONSENT, safe_member
from tts_train.errors import ConfigError, InputUnusable, Problem, UsageError
from tts_train.files import publish_folder, require_space
from tts_train.output import progress
from tts_train.pickles import require_harmless
from tts_train.review.commandline import command_line, shown
from tts_train.work import archives
from tts_train.work.voice_package import BASE, MANIFEST, SUMS, Voice, find_voice, open_voice, read_voice
from tts_train.work.voices import changing
from tts_train.workspace import NAME, Workspace

_LARGEST_LIST = 8_000_000
"""Bytes of voice.json and of SHA256SUMS."""


@dataclass(frozen=True)
class _Source:
    """Where a package comes from: a folder or a zip."""

    size: Callable[[str], int | None]
    """Of a file, bytes; None when it is not there."""
    copy: Callable[[str, Path], None]


def import_voice(workspace: Workspace, given: Path, name: str | None = None) -> dict[str, Any]:
    """Bring the package `given` (a zip or a folder) in as `name` [its own], whole or not at all.

    One that is here already, file for file, stays. Raises InputUnusable naming what is wrong or unsafe, UsageError when
    a run or another voice has the name, ConfigError for a name that is none, DiskError when it does not fit, Busy.
    """
    with _opened(given) as source, changing(workspace):
        with tempfile.TemporaryDirectory(prefix="tts-train-import-") as scratch, _told_of(given, Path(scratch)):
            for part in (MANIFEST, SUMS):
                _take(source, given, part, Path(scratch), _LARGEST_LIST)
            listed = read_voice(Path(scratch))
            sums = (Path(scratch) / SUMS).read_bytes()
        called = _name(listed.manifest.name, name)
        final = workspace.imported_voices / called
        again = _is_here(final, sums)
        if not again:
            _require_free(workspace, final)
            _publish(source, given, listed, final)
    return _told(workspace, given, read_voice(final), again=again)


def _publish(source: _Source, given: Path, listed: Voice, final: Path) -> None:
    files = listed.manifest.files
    problems = [Problem(fault, name) for name in files if (fault := _listed_fault(name, set(files)))]
    if problems:
        raise archives.refused(given, problems)
    if len(files) > archives.MEMBERS:
        raise archives.refused(given, [Problem(f"it lists {len(files)} files, {archives.MEMBERS} are allowed")])
    require_space(final, sum(item.bytes for item in files.values()))

    def fill(target: Path) -> None:
        with _told_of(given, target):
            for name in (MANIFEST, SUMS):
                _take(source, given, name, target, _LARGEST_LIST)
            for name, item in files.items():
                progress(f"taking {name}")
                _take(source, given, name, target, item.bytes)
            voice = open_voice(target)
            pickles = [target / BASE / name for name in sorted(voice.family.pickles)]
            require_harmless([path for path in pickles if path.is_file()], voice.family.replaced_classes)

    publish_folder(final, fill)


def _listed_fault(name: str, all_names: set[str]) -> str | None:
    if name in (MANIFEST, SUMS) or any(str(parent) in all_names for parent in PurePosixPath(name).parents):
        return "no such name can be listed"
    return archives.name_fault(name)


def _take(source: _Source, given: Path, name: str, target: Path, most: int) -> None:
    size = source.size(name)
    if size is None:
        raise archives.refused(given, [Problem("it is missing, or leads out", name)])
    if size > most:
        raise archives.refused(given, [Problem(f"it has {size} bytes, {most} are allowed", name)])
    source.copy(name, target / name)


@contextmanager
def _opened(given: Path) -> Iterator[_Source]:
    if given.is_dir():
        yield _Source(lambda name: _size(given, name), lambda name, target: _copy(given, name, target))
        return
    if not given.is_file():
        raise InputUnusable(
            f"{given} does not exist", hint="name a zip of run.sh voices pack, or a folder of run.sh ship"
        )
    with archives.opened(given) as archive:
        tops = [name.removesuffix(MANIFEST) for name in archive.members if name.rpartition("/")[2] == MANIFEST]
        tops = [top for top in tops if top.count("/") < 2 and f"{top}{SUMS}" in archive.members]
        if len(tops) != 1:
            raise archives.refused(given, [Problem(f"it holds {len(tops)} voices, expected one", MANIFEST)])
        members = archive.members

        def size(name: str) -> int | None:
            return members[tops[0] + name].file_size if tops[0] + name in members else None

        yield _Source(size, lambda name, target: archive.copy(tops[0] + name, target))


def _size(folder: Path, name: str) -> int | None:
    try:
        return safe_member(folder, name).stat().st_size
    except InputUnusable:
        return None


def _copy(folder: Path, name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(safe_member(folder, name), target)


@contextmanager
def _told_of(given: Path, place: Path) -> Iterator[None]:
    """What is wrong is said of the package that was given, not of the copy that is looked at."""
    try:
        yield
    except InputUnusable as error:
        problems = [
            Problem(_renamed(item.message, place, given), item.file and _renamed(item.file, place, given), item.line)
            for item in error.problems
        ]
        raise InputUnusable(_renamed(error.message, place, given), hint=error.hint, problems=problems) from error


def _renamed(text: str, place: Path, given: Path) -> str:
    return text.replace(str(place.resolve()), str(given)).replace(str(place), str(given))


def _name(own: str, chosen: str | None) -> str:
    name = own if chosen is None else chosen
    if NAME.fullmatch(name):
        return name
    raise ConfigError(
        f"{name!a} is no name for a voice",
        hint="choose one of lower-case letters, digits, '-' and '_', 64 at most: --name NAME",
    )


def _is_here(final: Path, sums: bytes) -> bool:
    """Whether the same package lies there, undamaged."""
    if not (final / SUMS).is_file() or (final / SUMS).read_bytes() != sums:
        return False
    try:
        open_voice(final)
    except InputUnusable:
        return False
    return True


def _require_free(workspace: Workspace, final: Path) -> None:
    name = final.name
    taken = {
        "a run": (workspace.runs / name).is_dir(),
        "a voice that was shipped here": (workspace.voices / name).exists(),
        "another voice": final.exists() and not _is_damaged(final),
    }
    owner = next((owner for owner, is_there in taken.items() if is_there), None)
    if owner:
        raise UsageError(
            f"{owner} is called '{name}'", hint="choose another name with --name, or run.sh voices remove it"
        )


def _is_damaged(folder: Path) -> bool:
    try:
        open_voice(folder)
    except InputUnusable:
        return True
    return False


def _told(workspace: Workspace, given: Path, voice: Voice, *, again: bool) -> dict[str, Any]:
    manifest, name = voice.manifest, voice.folder.name
    assert find_voice(name, workspace) == voice.folder.resolve()
    licence = manifest.base.licence
    warnings = []
    if manifest.consent_basis in (None, NO_CONSENT):
        warnings.append(f"consent_basis is {manifest.consent_basis or 'unknown'}: it is not for sharing")
    if licence and licence.commercial is False:
        warnings.append(f"its base is under {licence.name}: NON-COMMERCIAL USE ONLY")
    if not manifest.confirmed:
        warnings.append("NOT CONFIRMED: no listener judged it good before it was shipped")
    command = command_line(workspace, "infer", name, "hello.wav", "--text", "Hello.")
    what = f"{manifest.backend}, epoch {manifest.epoch} of {manifest.run}, packed by tts-train {manifest.tts_train}"
    lines = [
        f"{shown(given)} {'is here already' if again else 'was imported'} as {name}: {what}",
        *(f"  {warning}" for warning in warnings),
        "Type:",
        f"  {command}",
    ]
    return {
        "voice": str(voice.folder),
        "name": name,
        "already": again,
        "backend": manifest.backend,
        "run": manifest.run,
        "epoch": manifest.epoch,
        "consent_basis": manifest.consent_basis,
        "base_licence": licence.model_dump() if licence else None,
        "confirmed": manifest.confirmed,
        "bytes": sum(item.bytes for item in manifest.files.values()),
        "warnings": warnings,
        "next": command,
        "text": "\n".join(lines),
    }
