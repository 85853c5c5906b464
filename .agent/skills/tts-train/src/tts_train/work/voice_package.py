"""A voice package: one folder with all that a shipped epoch needs to speak, checked before anything in it is read.

Packages travel, so nothing in one is trusted: every file is listed with size and hash, names stay inside the folder,
weights are safetensors or what a family reads as plain weights, and no setting can name code to load.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tts_train.backends import BACKENDS, Backend, backend
from tts_train.dataset import safe_member
from tts_train.errors import InputUnusable, Problem
from tts_train.files import read_json, sha256_file
from tts_train.output import progress
from tts_train.workspace import NAME, Workspace

FORMAT = "tts-train-voice/1"
ELSEWHERE = "tts-train-voice-elsewhere/1"
"""Of a voice.json that only says where a package was shipped to."""
MANIFEST = "voice.json"
SUMS = "SHA256SUMS"
EPOCH, BASE = "epoch", "base"
_LARGEST_MANIFEST = 8_000_000
_LOADED = (".json", ".txt", ".jinja", ".safetensors", ".onnx")
"""Endings of files in epoch/ and base/, which loaders look into. A .bin, .pt or .py there would be code."""
_TEXTS = ("LICENSE", "NOTICE", "MODEL_CARD")
_SUM_LINE = re.compile(r"^([0-9a-f]{64})  (.+)$")
_HINT = "download or copy the whole package again"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Short = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""Without control characters: it is shown in terminals."""


class _Part(BaseModel):
    """Of voice.json; what a newer tts-train adds for people to read is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Facts(BaseModel):
    """What a voice is besides its weights. An unknown fact would be another sound, so it is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Short | None = None
    speaker: Short | None = None
    attention: Literal["sdpa", "eager", "flash_attention_2"] | None = None
    """transformers would take the name of a program on the hub as well."""
    device: Literal["cpu", "cuda"] | None = None
    reference: Short | None = None
    """Name of the recording in the package."""
    reference_sha256: Digest | None = None


class Listed(_Part):
    """A file of the package."""

    sha256: Digest
    bytes: Annotated[int, Field(ge=0)]


class Terms(_Part):
    """Of the base's weights, as far as they are known."""

    name: Short
    commercial: bool | None = None


class BaseFacts(_Part):
    """The base: `path` "base" is its folder, "base/…" a file in it; None: the epoch speaks without."""

    name: Short
    path: Short | None = None
    sha256: Short | None = None
    licence: Terms | None = None


class Manifest(_Part):
    """voice.json as far as speaking needs it; references/formats.md lists all of it."""

    format: Literal["tts-train-voice/1"]
    name: Short
    run: Short
    epoch: Annotated[int, Field(ge=1)]
    backend: str
    inference_version: int
    knobs: dict[str, Any]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    threads: Annotated[int, Field(ge=1, le=256)]
    dtype: Literal["float32"]
    voice: Facts
    weights_sha256: Digest
    dataset_sha256: Short | None = None
    base: BaseFacts
    consent_basis: Short | None = None
    confirmed: bool
    tts_train: Short = ""
    """The version that packed it."""
    files: dict[str, Listed]


@dataclass(frozen=True)
class Voice:
    """An opened package."""

    folder: Path
    manifest: Manifest

    @property
    def family(self) -> Backend:
        return backend(self.manifest.backend)

    @property
    def base(self) -> str:
        """The base as `load_speaker` takes it."""
        path = self.manifest.base.path
        return "" if path is None else str(self.folder / path)

    def facts(self) -> dict[str, Any]:
        """The voice as `load_speaker` takes it, the reference as an absolute path."""
        facts = self.manifest.voice.model_dump(exclude_none=True)
        if "reference" in facts:
            facts["reference"] = str(self.folder / facts["reference"])
        return facts


def find_voice(target: str, workspace: Workspace) -> Path | None:
    """The package that `target` means: its folder, or the name of one that was shipped here or imported. None: none."""
    named = NAME.fullmatch(target) and not (workspace.runs / target).is_dir()
    places = (workspace.voices, workspace.imported_voices) if named else ()
    for folder in (Path(target), *(place / target for place in places)):
        if folder.is_dir() and ((folder / SUMS).is_file() or format_of(folder) in (FORMAT, ELSEWHERE)):
            return folder.resolve()
    return None


def open_voice(folder: Path) -> Voice:
    """Check every file of a package and open it.

    Raises InputUnusable naming all that is damaged, missing, not listed or unsafe, and for a package of another format.
    """
    voice = read_voice(folder)
    progress(f"checking {len(voice.manifest.files)} files of {voice.manifest.name}")
    problems = [*_sum_problems(voice), *shape_problems(voice)]
    if not problems:
        problems = [
            Problem("its content is not what was packed", name)
            for name, listed in voice.manifest.files.items()
            if sha256_file(folder / name) != listed.sha256
        ]
    if problems:
        first = problems[0]
        raise InputUnusable(f"{folder} is damaged: {first.file}: {first.message}", hint=_HINT, problems=problems)
    return voice


def read_voice(folder: Path) -> Voice:
    """Read voice.json without looking at the files it lists. Raises InputUnusable when it is not one of ours."""
    path = safe_member(folder, MANIFEST)
    if path.stat().st_size > _LARGEST_MANIFEST:
        raise InputUnusable(f"{path} is too large for a voice.json", hint=_HINT)
    content = read_json(path)
    found = content.get("format") if isinstance(content, dict) else None
    if found == ELSEWHERE:
        raise InputUnusable(
            f"{folder.name} was shipped elsewhere, to {content.get('folder')}", hint="give that folder to infer"
        )
    if found != FORMAT:
        ours = str(found).startswith(FORMAT.partition("/")[0])
        hint = "update tts-train" if ours else "name a folder that `run.sh ship` made"
        raise InputUnusable(f"{path} is of format {found or '(none)'}, this tts-train reads {FORMAT}", hint=hint)
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        problems = [
            Problem(f"'{'.'.join(map(str, item['loc']))}': {item['msg']}", str(path)) for item in error.errors()
        ]
        raise InputUnusable(f"{path}: {problems[0].message}", hint=_HINT, problems=problems) from error
    if manifest.backend not in BACKENDS:
        raise InputUnusable(f"{path} is of a family '{manifest.backend}' that is not known", hint="update tts-train")
    return Voice(folder, manifest)


def shape_problems(voice: Voice) -> list[Problem]:
    """Everything that is wrong with a package without reading its files: names, kinds, sizes, what is not listed."""
    folder, manifest = voice.folder, voice.manifest
    problems = [
        Problem(fault, name) for name, listed in manifest.files.items() for fault in _file_faults(voice, name, listed)
    ]
    wanted = {manifest.base.path, manifest.voice.reference} - {None, BASE}
    problems += [
        Problem("voice.json needs it and does not list it", str(name)) for name in wanted - set(manifest.files)
    ]
    if manifest.base.path not in (None, BASE) and not str(manifest.base.path).startswith(f"{BASE}/"):
        problems.append(Problem("it is no file of the base", str(manifest.base.path)))
    for part in (EPOCH, BASE):
        for path in sorted((folder / part).rglob("*")):
            name = path.relative_to(folder).as_posix()
            if name not in manifest.files and (path.is_symlink() or not path.is_dir()):
                problems.append(Problem("voice.json does not list it", name))
    return problems


def shipped(workspace: Workspace, run: str) -> dict[int, str]:
    """Epoch → name of the package, for every epoch of a run that was shipped from this workspace."""
    found: dict[int, str] = {}
    for path in sorted(workspace.voices.glob(f"[!.]*/{MANIFEST}")):  # not what a killed ship has left
        named = re.fullmatch(rf"{re.escape(run)}-epoch-(\d+)", path.parent.name)
        if format_of(path.parent) is not None:
            content = read_json(path)
            if content.get("run") == run and isinstance(content.get("epoch"), int):
                found[content["epoch"]] = path.parent.name
        elif named:  # a damaged voice.json still says by its folder that the epoch was worth keeping
            found[int(named[1])] = path.parent.name
    return found


def _file_faults(voice: Voice, name: str, listed: Listed) -> Iterator[str]:
    parts = PurePosixPath(name).parts
    if not parts or str(PurePosixPath(name)) != name or ".." in parts or "\\" in name:
        yield "its name leads out of the package"
        return
    if parts[0] in (EPOCH, BASE) and not _is_harmless(parts, voice.family.pickles):
        yield "a package holds no such file: it could run code when it is read"
        return
    try:
        path = safe_member(voice.folder, name)
    except InputUnusable:
        yield "it is missing, or leads out of the package"
        return
    if path.stat().st_size != listed.bytes:
        yield f"it has {path.stat().st_size} bytes, {listed.bytes} were packed"


def _is_harmless(parts: tuple[str, ...], pickles: frozenset[str]) -> bool:
    name = PurePosixPath(parts[-1])
    if parts[0] == BASE and len(parts) == 2 and name.name in pickles:
        return True
    return name.suffix in _LOADED or (name.stem in _TEXTS and name.suffix in ("", ".txt", ".md"))


def _sum_problems(voice: Voice) -> list[Problem]:
    """SHA256SUMS and voice.json must say the same: `sha256sum -c` is then as good as this check."""
    path = voice.folder / SUMS
    if not path.is_file() or path.stat().st_size > _LARGEST_MANIFEST:
        return [Problem("it is missing, or no list of sums", SUMS)]
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    sums = {match[2]: match[1] for line in lines if (match := _SUM_LINE.match(line))}
    if sums.pop(MANIFEST, None) != sha256_file(voice.folder / MANIFEST):
        return [Problem("its content is not what was packed", MANIFEST)]
    if sums != {name: listed.sha256 for name, listed in voice.manifest.files.items()}:
        return [Problem(f"it lists other files or hashes than {MANIFEST}", SUMS)]
    return []


def format_of(folder: Path) -> str | None:
    """The format that a folder's voice.json names; None when there is none that can be read."""
    path = folder / MANIFEST
    if not path.is_file() or path.stat().st_size > _LARGEST_MANIFEST:
        return None
    try:
        content = read_json(path)
    except InputUnusable:
        return None
    return str(content["format"]) if isinstance(content, dict) and "format" in content else None
