"""Lines of a list become clips, some at a time: what a batch is, and the work on one, alike in any process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from tts_train.audio import Audio, AudioFault, probe_source, read_audio
from tts_train.clip import Clip, Rejection
from tts_train.dataset import safe_member
from tts_train.errors import InputUnusable
from tts_train.files import sha256_file, sha256_json
from tts_train.ingest import cut, parts
from tts_train.ingest.lines import Line
from tts_train.integrity import wrong_suffix
from tts_train.quality.clip_measures import clip_measures, text_measures

VERSION = 2
LONGEST_SECONDS = 300.0
"""No file of this length is a clip, and a batch holds its audio in memory."""

_LINES = 64
_PIECE_SECONDS = 300.0
_LACKS = 0.05
"""A piece may end this much before its time, seconds: lists round."""


@dataclass(frozen=True)
class Job:
    """What all batches share."""

    folder: Path
    out: Path
    voice: str
    language: str


@dataclass(frozen=True)
class Batch:
    """Lines of one receipt: whole files, or pieces of one recording with their audio at its own rate (None: torn off).

    `fault` is why a recording's pieces could not all be read.
    """

    name: str
    key: str
    lines: tuple[Line, ...]
    ids: tuple[str, ...]
    audio: tuple[Audio | None, ...] | None = None
    fault: AudioFault | None = None


def plan(job: Job, lines: Sequence[Line]) -> list[Batch]:
    """All batches in order, without audio: whole files first, then the pieces of each recording."""
    named = list(zip(lines, _ids(lines), strict=True))
    files = [item for item in named if not item[0].is_piece]
    groups = [files[start : start + _LINES] for start in range(0, len(files), _LINES)]
    pieces = sorted((item for item in named if item[0].is_piece), key=lambda item: (item[0].audio_file, _span(item[0])))
    for _, of_one in groupby(pieces, key=lambda item: item[0].audio_file):
        groups += _by_length(list(of_one))
    contents: dict[str, str] = {}
    return [_batch(job, number, group, contents) for number, group in enumerate(groups)]


def with_audio(job: Job, batches: Sequence[Batch]) -> Iterator[Batch]:
    """The batches, with the audio of pieces: one streaming pass over each recording, one batch in memory."""
    for recording, group in groupby(batches, key=lambda batch: batch.lines[0].is_piece and batch.lines[0].audio_file):
        if recording:
            yield from _read_pieces(job.folder, recording, list(group))
        else:
            yield from group


def work_batch(job: Job, batch: Batch) -> tuple[str, parts.Part]:
    """Make a batch's clips and rejections, publish its receipt, and return it with its name."""
    part = parts.Part()
    for index, (line, name) in enumerate(zip(batch.lines, batch.ids, strict=True)):
        try:
            native, notes = _piece(batch, index) if line.is_piece else _whole(job.folder, line)
        except _Refused as refused:
            part.reject(job.out, _rejection(line, name, refused), None)
            continue
        _keep(job, part, line, name, native, notes)
    parts.save_part(job.out, batch.name, batch.key, part)
    return batch.name, part


class _Refused(Exception):
    """A line without usable audio."""

    def __init__(self, reason: str, message: str, numbers: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.reason, self.message, self.numbers = reason, message, numbers or {}


def _span(line: Line) -> tuple[float, float]:
    return line.start or 0.0, line.end or 0.0


def _by_length(items: list[tuple[Line, str]]) -> list[list[tuple[Line, str]]]:
    groups: list[list[tuple[Line, str]]] = []
    seconds = 0.0
    for item in items:
        start, end = _span(item[0])
        if not groups or len(groups[-1]) == _LINES or seconds + end - start > _PIECE_SECONDS:
            groups.append([])
            seconds = 0.0
        groups[-1].append(item)
        seconds += end - start
    return groups


def _batch(job: Job, number: int, group: Sequence[tuple[Line, str]], contents: dict[str, str]) -> Batch:
    asked = [[*astuple(line), name, _content(job.folder, line.audio_file, contents)] for line, name in group]
    key = sha256_json([VERSION, job.voice, job.language, asked])
    return Batch(f"part-{number:05d}", key, tuple(line for line, _ in group), tuple(name for _, name in group))


def _content(folder: Path, name: str, known: dict[str, str]) -> str:
    if name not in known:
        try:
            known[name] = sha256_file(safe_member(folder, name))
        except (InputUnusable, OSError):
            known[name] = ""
    return known[name]


def _ids(lines: Sequence[Line]) -> list[str]:
    """Clip ids from the list's names or the files'; the line's number tells those of one name apart."""
    ids: list[str] = []
    taken: set[str] = set()
    for index, line in enumerate(lines):
        name = parts.slug(line.name or str(Path(line.audio_file).with_suffix("")))
        if name in taken:
            name = f"{name}-{line.number:06d}"
        if name in taken:  # several supervisions of one cut
            name = f"{name}-{index:06d}"
        taken.add(name)
        ids.append(name)
    return ids


def _read_pieces(folder: Path, recording: str, batches: list[Batch]) -> Iterator[Batch]:
    fault: AudioFault | None = None
    try:
        path = safe_member(folder, recording)
        rate = probe_source(path).rate
    except AudioFault as error:
        fault = error
    except InputUnusable as error:
        fault = AudioFault(error.message, reason=_why_not_there(folder, recording))
    if fault:
        yield from (replace(batch, audio=(None,) * len(batch.lines), fault=fault) for batch in batches)
        return
    windows = cut.windows(path, [_span(line) for batch in batches for line in batch.lines], rate)
    for batch in batches:
        audio: list[Audio | None] = []
        for _ in batch.lines:
            try:
                audio.append(next(windows, None))
            except (AudioFault, OSError) as error:
                fault = error if isinstance(error, AudioFault) else AudioFault(str(error))
                audio.append(None)
        yield replace(batch, audio=tuple(audio), fault=fault)


def _piece(batch: Batch, index: int) -> tuple[Audio, dict[str, Any]]:
    assert batch.audio is not None
    line, window, fault = batch.lines[index], batch.audio[index], batch.fault
    start, end = _span(line)
    if window is None:
        fault = fault or AudioFault("the recording ended before this piece", reason="truncated-audio")
        raise _Refused(fault.reason, fault.message, fault.numbers)
    if window.seconds < end - start - _LACKS or not len(window.samples):
        there = start + window.seconds if len(window.samples) else None
        told = {"recording_ends": there and round(there, 3), "asked_until": end}
        raise _Refused("truncated-audio", "the recording ends before this piece does", told)
    return cut.piece(window, start, start, end), {}


def _whole(folder: Path, line: Line) -> tuple[Audio, dict[str, Any]]:
    """A file's samples at its own rate, and what is odd about it."""
    try:
        path = safe_member(folder, line.audio_file)
    except InputUnusable as error:
        raise _Refused(_why_not_there(folder, line.audio_file), error.message) from error
    try:
        native = read_audio(path, longest=LONGEST_SECONDS)
        kind = wrong_suffix(path)
    except AudioFault as error:
        raise _Refused(error.reason, error.message, error.numbers) from error
    except (InputUnusable, OSError) as error:
        raise _Refused("unreadable-audio", str(error)) from error
    return native, {"wrong_extension": kind} if kind else {}


def _why_not_there(folder: Path, name: str) -> str:
    """missing-audio only for a name that could have been inside the folder."""
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    try:
        return "missing-audio" if inside and not (folder / name).exists() else "outside-folder"
    except (OSError, ValueError):
        return "outside-folder"


def _keep(job: Job, part: parts.Part, line: Line, name: str, native: Audio, notes: dict[str, Any]) -> None:
    audio = native.at(cut.CLIP_RATE)
    measures = {
        **clip_measures(native, audio),
        **text_measures(line.text, audio.seconds, job.language),
        **notes,
        "line": line.number,
    }
    start = line.start or 0.0
    clip = Clip(
        id=name,
        audio_file=f"clips/{name}.flac",
        text=line.text,
        speaker=job.voice,
        language=job.language,
        audio_seconds=round(audio.seconds, 4),
        source=line.audio_file,
        start=start,
        end=round(start + audio.seconds, 4),
        measures=measures,
    )
    part.keep(job.out, clip, audio)


def _rejection(line: Line, name: str, refused: _Refused) -> Rejection:
    told = {"line": line.number, "step": "ingest", **refused.numbers, "message": refused.message}
    start, end = _span(line)
    return Rejection(name, refused.reason, line.text, line.audio_file, start, end, "", told)
