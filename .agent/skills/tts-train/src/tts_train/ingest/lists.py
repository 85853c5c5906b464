"""Lists of recordings with their texts: our JSONL, LJSpeech's metadata.csv, lhotse manifests (ingest/lhotse.py).

A list comes from anywhere, so every line is read by itself: a bad one becomes a BadLine with its number and a reason,
and never stops the others. Names are not looked up here; whoever opens a file keeps it inside the clips' folder.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from tts_train.errors import InputUnusable
from tts_train.ingest import lhotse
from tts_train.ingest.lines import BadLine, Line, checked_line, parsed

JSONL, LJSPEECH = "jsonl", "ljspeech"
_LOOK_AT = 200
"""Lines that are looked at to tell what kind of list it is: the first ones may be bad."""

_LJSPEECH_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")


@dataclass(frozen=True)
class Listed:
    """What a list holds: `kind` is jsonl, ljspeech, lhotse-supervisions or lhotse-cuts, `detail` says how it was read.

    `skipped` are good lines that were not asked for, by reason.
    """

    kind: str
    detail: str
    lines: list[Line] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Entries that were asked for, good and bad."""
        return len(self.lines) + len(self.bad)


def read_list(path: Path, folder: Path, speaker: str | None = None) -> Listed:
    """The usable lines of a list and the others, both in order; blank lines are no lines.

    `folder` is where the recordings are; with `speaker` the lines of others are skipped (lhotse names speakers).
    Raises InputUnusable when the list cannot be read at all, UsageError when it holds several speakers and none was
    chosen.
    """
    if not path.is_file():
        raise InputUnusable(
            f"{path} is not a file", hint="a JSONL of {audio_file, text}, LJSpeech's metadata.csv, or lhotse's manifest"
        )
    rows = list(numbered(path))
    kind = _kind_of(path, rows)
    if kind == LJSPEECH:
        where = "wavs" if (folder / "wavs").is_dir() else "."
        listed = Listed(LJSPEECH, f"LJSpeech metadata, audio in {where}, normalised texts where there are any")
        reader: Callable[[int, bytes], list[Line]] = partial(_ljspeech_line, folder, where)
    elif kind == JSONL:
        listed = Listed(JSONL, "JSON lines")
        reader = _json_line
    else:
        source = lhotse.reader_of(kind, path, folder, numbered)
        listed, reader = Listed(kind, source.detail), source.lines
    _collect(rows, reader, listed)
    lhotse.only_one_speaker(listed.lines, listed.skipped, speaker)
    return listed


def numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, bytes) of each line that is not blank; .gz is unpacked, a byte order mark taken off."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                if line.strip():
                    yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputUnusable(f"{path} does not unpack: {error}", hint="copy it again") from error


def _kind_of(path: Path, rows: list[tuple[int, bytes]]) -> str:
    """By content: the first line that says what it is; by name when none does."""
    for _, raw in rows[:_LOOK_AT]:
        try:
            row = json.loads(raw)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and "audio_file" in row:
            return JSONL
        kind = lhotse.kind_of(row) if isinstance(row, dict) else None
        if kind:
            return kind
    named = path.name.removesuffix(".gz").lower()
    if named.endswith((".csv", ".txt")):
        return LJSPEECH
    return JSONL


def _collect(rows: list[tuple[int, bytes]], reader: Callable[[int, bytes], list[Line]], listed: Listed) -> None:
    seen: dict[tuple[str, float | None, float | None], int] = {}
    for number, raw in rows:
        try:
            found = reader(number, raw)
        except BadLine as error:
            listed.bad.append(error)
            continue
        for line in found:
            place = (line.audio_file, line.start, line.end)
            if place in seen:
                told = f"'{line.audio_file}' stands in line {seen[place]} already"
                listed.bad.append(BadLine(number, "duplicate", told))
                continue
            seen[place] = number
            listed.lines.append(line)


def _json_line(number: int, raw: bytes) -> list[Line]:
    row = parsed(number, raw)
    return [checked_line(number, row.get("audio_file"), row.get("text"))]


def _ljspeech_line(folder: Path, where: str, number: int, raw: bytes) -> list[Line]:
    """`id|text` or `id|text|normalised text`; the audio is wavs/<id>.wav, or what there is of that name."""
    try:
        cells = raw.decode("utf-8").rstrip("\r\n").split("|")
    except UnicodeDecodeError as error:
        raise BadLine(number, "bad-line", f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    if len(cells) not in (2, 3):
        _bad(number, f"expected id|text|normalised text, got {len(cells)} cells")
    text = next((cell for cell in reversed(cells[1:]) if cell.strip()), "")
    name = file = cells[0].strip()
    if name and name.isprintable():
        file = _with_suffix(folder, name if where == "." else f"{where}/{name}")
    return [replace(checked_line(number, file, text), name=name)]


def _with_suffix(folder: Path, name: str) -> str:
    if Path(name).suffix.lower() in _LJSPEECH_SUFFIXES:
        return name
    try:
        return next(
            (f"{name}{ending}" for ending in _LJSPEECH_SUFFIXES if (folder / f"{name}{ending}").is_file()),
            f"{name}.wav",
        )
    except (OSError, ValueError):  # too long a name, or half a character
        return f"{name}.wav"


def _bad(number: int, message: str) -> NoReturn:
    raise BadLine(number, "bad-line", message)


def as_rows(bad: list[BadLine]) -> list[dict[str, Any]]:
    """Bad lines as JSON objects."""
    return [{"line": error.number, "reason": error.reason, "message": error.message} for error in bad]
