"""Clips as codec codes: the official JSONL, and a flat cache beside it that opens in a fraction of a second.

A row of the JSONL holds some thousand integers as text. Reading them costs seconds in every run and every data-parallel
process, so they are read once, checked, and written as one int16 array of shape (frames of all clips, 16) with a small
file that says where each clip lies in it. The cache belongs to the JSONL's bytes: it is named by their sha256.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import numpy as np

from tts_train.errors import ConfigError, InputUnusable, Problem
from tts_train.files import locked, publish_folder, sha256_file
from tts_train.output import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 2
GROUPS = 16
"""Codes of a frame: the first is the talker's, the other fifteen the code predictor's."""

CODEBOOK = 2048
FRAMES_PER_SECOND = 12.5
_CODES, _CLIPS = "codes.npy", "clips.jsonl"
_NAME_LENGTH = 16
_TEXTS = ("speaker", "language", "source", "chapter")
"""What our rows name besides what the official ones do; with it comes `start`."""

_MOST_SECONDS = 1e7


@dataclass(frozen=True, slots=True)
class CodedClip:
    """One row. `audio` and `ref_audio` are as written; `CodedDataset.file` finds them. `speaker`, `language` and the
    place (`source`, `chapter`, `start`) are empty where the file does not name them, as official files never do."""

    id: str
    audio: str
    text: str
    ref_audio: str
    speaker: str
    language: str
    source: str
    chapter: str
    start: float
    first: int
    """Where its frames begin in the flat array."""
    frames: int
    line: int


@dataclass(frozen=True)
class CodedDataset:
    """Clips in the order of the file; their codes stay on disk until they are looked at."""

    manifest: Path
    sha256: str
    clips: tuple[CodedClip, ...]
    flat: NDArray[np.int16] = field(repr=False, compare=False)
    """(frames of all clips, 16), read only."""

    @property
    def audio_seconds(self) -> float:
        return len(self.flat) / FRAMES_PER_SECOND

    def codes(self, clip: CodedClip) -> NDArray[np.int16]:
        """(frames, 16): a read-only view into the memory-mapped array."""
        return self.flat[clip.first : clip.first + clip.frames]

    def file(self, name: str) -> Path:
        """Where `clip.audio` or `clip.ref_audio` is, absolute."""
        return locate(self.manifest, name)


def open_coded(manifest: Path) -> CodedDataset:
    """The clips and codes of an official Qwen3-TTS JSONL, through `<stem>.cache/<sha256>/` beside it.

    Official rows (audio, text, ref_audio, audio_codes) are enough; id is then the audio's file name. The cache is made
    when there is none, and again when it is torn or of other bytes. Raises ConfigError naming every bad line at once
    (reference files are looked for each time, clips only when the cache is made), InputUnusable when the file is
    missing or lists no clip.
    """
    if not manifest.is_file():
        raise InputUnusable(f"{manifest} is not a file", hint="make it first: run.sh convert-qwen3 MANIFEST")
    data = _opened(manifest, sha256_file(manifest))
    if data is None:
        # Data-parallel processes open the same file at the same moment: the first makes the cache.
        with locked(_home(manifest) / ".lock", wait=True):
            data = _opened(manifest, sha256_file(manifest)) or _built(manifest)
    _require_references(data)
    return data


def locate(manifest: Path, name: str) -> Path:
    """A file that a row names: relative to the JSONL's folder, else (as official files are) to the caller's folder."""
    beside = manifest.parent.resolve() / name
    return beside if beside.is_file() else Path.cwd() / name


def _home(manifest: Path) -> Path:
    return manifest.with_name(f"{manifest.stem}.cache")


def _opened(manifest: Path, digest: str) -> CodedDataset | None:
    """The ready cache, or None when there is none that is whole and of these bytes."""
    folder = _home(manifest) / digest[:_NAME_LENGTH]
    try:
        head, _, body = (folder / _CLIPS).read_bytes().partition(b"\n")
        told = json.loads(head)
        if told["version"] != VERSION or told["manifest_sha256"] != digest or told["clips_crc32"] != zlib.crc32(body):
            return None
        flat = np.load(folder / _CODES, mmap_mode="r", allow_pickle=False)
        if flat.shape != (told["frames"], GROUPS) or flat.dtype != np.int16 or zlib.crc32(flat) != told["codes_crc32"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # One parser call for all lines costs half of one call per line.
    rows = json.loads(b"[" + body.replace(b"\n", b",").rstrip(b",") + b"]")
    return CodedDataset(manifest, digest, tuple(CodedClip(*row) for row in rows), np.asarray(flat))


def _built(manifest: Path) -> CodedDataset:
    """Read and check every line, publish the cache, forget caches of earlier bytes."""
    progress(f"reading the codes of {manifest.name} into {_home(manifest).name}/")
    digest = sha256_file(manifest)
    final = _home(manifest) / digest[:_NAME_LENGTH]
    publish_folder(final, lambda folder: _fill(folder, manifest, digest))
    for other in final.parent.iterdir():
        if other.is_dir() and other != final and len(other.name) == _NAME_LENGTH:
            shutil.rmtree(other, ignore_errors=True)
    data = _opened(manifest, digest)
    if data is None:
        raise InputUnusable(f"{final} does not read back as it was written", hint="check the disk")
    return data


def _fill(folder: Path, manifest: Path, digest: str) -> None:
    problems: list[Problem] = []
    clips: list[CodedClip] = []
    total = checksum = 0
    with (folder / _CODES).open("wb") as file:
        start = _write_header(file, 0)
        for clip, codes in _rows(manifest, digest, problems):
            if problems:
                continue
            clips.append(replace(clip, first=total, frames=len(codes)))
            data = np.ascontiguousarray(codes, dtype="<i2").tobytes()
            file.write(data)
            checksum = zlib.crc32(data, checksum)
            total += len(codes)
        file.seek(0)
        assert _write_header(file, total) == start, "numpy leaves room in a header for the first axis to grow"
    if problems:
        raise ConfigError(
            f"{manifest}: {len(problems)} problems",
            hint="fix the lines named, or make the file again: run.sh convert-qwen3 MANIFEST",
            problems=problems,
        )
    if not clips:
        raise InputUnusable(f"{manifest} lists no clip", hint="its rejections file says why")
    body = "".join(json.dumps(astuple(clip), ensure_ascii=False) + "\n" for clip in clips).encode()
    head = {"version": VERSION, "manifest_sha256": digest, "clips": len(clips), "frames": total}
    head |= {"clips_crc32": zlib.crc32(body), "codes_crc32": checksum}
    (folder / _CLIPS).write_bytes(json.dumps(head).encode() + b"\n" + body)


def _write_header(file: BinaryIO, frames: int) -> int:
    """The .npy header; numpy pads it so that its length does not depend on the number of frames."""
    header = {"descr": "<i2", "fortran_order": False, "shape": (frames, GROUPS)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


def _rows(manifest: Path, digest: str, problems: list[Problem]) -> Iterator[tuple[CodedClip, NDArray[np.int16]]]:
    """Every good row, one line in memory at a time; what is wrong with the others goes to `problems`."""
    seen: dict[str, int] = {}
    exists = functools.cache(lambda name: locate(manifest, name).is_file())
    read = hashlib.sha256()
    with manifest.open("rb") as file:
        for number, raw in enumerate(file, 1):
            read.update(raw)
            if not raw.strip():
                continue
            row, wrong = _parsed(raw)
            codes: NDArray[np.int16] | str = ""
            if not wrong:
                codes = _codes(row.get("audio_codes"))
                wrong = _problems(row, exists, seen) + ([codes] if isinstance(codes, str) else [])
            problems += [Problem(message, str(manifest), number) for message in wrong]
            if not wrong and not isinstance(codes, str):
                name = _name(row, number, seen)
                seen[name] = number
                texts = {key: row.get(key, "") for key in ("audio", "text", "ref_audio", *_TEXTS)}
                start = float(row.get("start", 0.0))
                yield CodedClip(name, **texts, start=start, first=0, frames=0, line=number), codes
    if read.hexdigest() != digest:
        raise InputUnusable(f"{manifest} changed while it was read", hint="run the same command again")


def _parsed(raw: bytes) -> tuple[dict[str, Any], list[str]]:
    try:
        row = json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return {}, [f"not JSON: {error}"]
    return (row, []) if isinstance(row, dict) else ({}, [f"expected a JSON object, got {type(row).__name__}"])


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _name(row: Mapping[str, Any], number: int, seen: Mapping[str, int]) -> str:
    if "id" in row:
        return str(row["id"])
    stem = Path(row["audio"]).stem or f"line-{number:06d}"
    return stem if stem not in seen else f"{stem}-{number:06d}"


def _problems(row: Mapping[str, Any], exists: Callable[[str], bool], seen: Mapping[str, int]) -> list[str]:
    wrong = [f"'{name}' is missing" for name in ("audio", "text", "ref_audio") if name not in row]
    for name in ("id", "audio", "text", "ref_audio"):
        if name in row and not (isinstance(row[name], str) and row[name].strip()):
            wrong.append(f"'{name}' must be non-empty text, got {str(row[name])[:40]!r}")
        elif name in row and name.endswith("audio") and not exists(row[name]):
            wrong.append(f"'{name}': {row[name]} is not a file")
    wrong += [
        f"'{name}' must be text, got {str(row[name])[:40]!r}"
        for name in _TEXTS
        if not isinstance(row.get(name, ""), str)
    ]
    if not isinstance(row.get("start", 0.0), int | float) or not abs(row.get("start", 0.0)) < _MOST_SECONDS:
        wrong.append(f"'start' must be seconds, got {str(row['start'])[:40]!r}")
    if isinstance(row.get("id"), str) and row["id"] in seen:
        wrong.append(f"id '{row['id']}' stands in line {seen[row['id']]} already")
    return wrong


def _codes(value: object) -> NDArray[np.int16] | str:
    """(frames, 16), or what is wrong with them."""
    if value is None:
        return "'audio_codes' is missing"
    if not isinstance(value, list) or not value:
        return "'audio_codes' holds no frame"
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        array = np.zeros(0)  # ragged: found below
    if array.ndim == 2 and array.shape[1] == GROUPS and array.dtype.kind == "i":
        if array.min() >= 0 and array.max() < CODEBOOK:
            return array.astype(np.int16)
        frame = int(np.flatnonzero(((array < 0) | (array >= CODEBOOK)).any(axis=1))[0])
        return f"'audio_codes': frame {frame} has codes outside 0..{CODEBOOK - 1}"
    for frame, codes in enumerate(value):
        if not isinstance(codes, list) or len(codes) != GROUPS:
            width = len(codes) if isinstance(codes, list) else 0
            return f"'audio_codes': frame {frame} has {width} codes, expected {GROUPS}"
        if not all(type(code) is int and 0 <= code < CODEBOOK for code in codes):
            return f"'audio_codes': frame {frame} has codes that are not integers of 0..{CODEBOOK - 1}"
    return "'audio_codes' must be lists of integers"


def _require_references(data: CodedDataset) -> None:
    first = {clip.ref_audio: clip.line for clip in reversed(data.clips)}
    gone = {name: line for name, line in first.items() if not data.file(name).is_file()}
    if gone:
        problems = [Problem(f"'ref_audio': {name} is not a file", str(data.manifest), gone[name]) for name in gone]
        raise ConfigError(
            f"{data.manifest}: {len(gone)} reference recordings are missing",
            hint="restore them, or convert again",
            problems=problems,
        )
