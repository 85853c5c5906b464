"""Whether an audio file is whole, by its container's own structure: decoders repair what is torn and say nothing.

libav takes the length of a half WAV from the file's size, that of a torn Ogg from the last page that is there, and ends
a torn MP3 with the last whole frame. Only heads, box and page borders are read (an MP3 is walked frame by frame).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from tts_train.mp3_frames import after_id3, mp3_tear

Container = Literal["wav", "aiff", "ogg", "mp4", "flac", "mp3"]
SUFFIXES: dict[str, Container] = {
    **dict.fromkeys((".wav", ".wave"), "wav"),
    **dict.fromkeys((".aif", ".aiff", ".aifc"), "aiff"),
    **dict.fromkeys((".ogg", ".oga", ".opus", ".spx"), "ogg"),
    **dict.fromkeys((".m4a", ".m4b", ".mp4", ".mov"), "mp4"),
    ".flac": "flac",
    ".mp3": "mp3",
}

_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"moof")
_STREAMED = 0x7FFF0000
"""Writers into a pipe cannot go back to the header: they promise this much or more, or nothing at all."""

_LARGEST_PAGE = 27 + 255 + 255 * 255


@dataclass(frozen=True)
class Tear:
    """Where a file ends too early. `share` is how much of it is missing, 1.0 when nobody can say."""

    message: str
    share: float


def container_of(path: Path) -> Container | None:
    """What a file is by its first bytes, whatever it is called; None for what has no mark or another one."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:3] == b"ID3":
            file.seek(after_id3(head))
            head = file.read(12)
            if head[:4] != b"fLaC":
                return "mp3"
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[:4] == b"OggS":
        return "ogg"
    if head[4:8] in _BOXES:
        return "mp4"
    if head[:4] == b"fLaC":
        return "flac"
    # Layer bits 00 are AAC's ADTS, which has no index and no mark of its own.
    return "mp3" if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 else None


def wrong_suffix(path: Path) -> Container | None:
    """What the file is, when its name says that it is something else."""
    named, found = SUFFIXES.get(path.suffix.lower()), container_of(path)
    return found if named and found and named != found else None


def tear_of(path: Path) -> Tear | None:
    """Where `path` is torn, or None when its structure is whole or knows of no end (an MP3 cut between two frames).

    FLAC has checksums and a length: the decoder tells.
    """
    kind, size = container_of(path), path.stat().st_size
    if kind in (None, "flac"):
        return None
    with path.open("rb") as file:
        if kind in ("wav", "aiff"):
            return _chunked(file, size)
        if kind == "ogg":
            return _paged(file, size)
        if kind == "mp4":
            return _boxed(file, size)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = mp3_tear(data)
    return Tear(*found) if found else None


def _chunked(file: BinaryIO, size: int) -> Tear | None:
    """RIFF and AIFF: the chunk of samples must lie inside the file."""
    file.seek(0)
    kind = file.read(4)
    order: Literal["little", "big"] = "big" if kind in (b"FORM", b"RIFX") else "little"
    wide = 0
    at = 12
    while at + 8 <= size:
        file.seek(at)
        name, length = file.read(4), int.from_bytes(file.read(4), order)
        if name == b"ds64":
            wide = int.from_bytes(file.read(16)[8:], "little")
        if name in (b"data", b"SSND"):
            if length == 0xFFFFFFFF and wide:
                length = wide
            elif length >= _STREAMED or length == 0:
                return None
            missing = at + 8 + length - size
            told = f"its header promises {length} bytes of samples, {missing} of them are missing"
            return Tear(told, missing / length) if missing > 0 else None
        at += 8 + length + length % 2
    return Tear("it ends before its samples begin", 1.0)


def _paged(file: BinaryIO, size: int) -> Tear | None:
    """Ogg: the last page must be whole and marked as the end of its stream."""
    start = max(0, size - 2 * _LARGEST_PAGE)
    file.seek(start)
    data = file.read()
    at = data.rfind(b"OggS\0")
    head = data[at : at + 27]
    if at < 0:
        return Tear("it ends in no Ogg page", 1.0)
    sizes = data[at + 27 : at + 27 + head[26]] if len(head) == 27 else b""
    if len(head) < 27 or len(sizes) < head[26] or at + 27 + len(sizes) + sum(sizes) > len(data):
        return Tear("it ends in the middle of an Ogg page", 1.0)
    return None if head[5] & 4 else Tear("it lacks the page that ends an Ogg stream", 1.0)


def _boxed(file: BinaryIO, size: int) -> Tear | None:
    """MP4: every outermost box must lie inside the file, and one of them must be the index."""
    names = set()
    for name, start, end in _boxes(file, size):
        names.add(name)
        if end > size:
            told = f"its box '{name.decode('ascii', 'replace')}' lacks {end - size} bytes"
            return Tear(told, (end - size) / (end - start))
    return None if names & {b"moov", b"moof"} else Tear("it has no index (moov)", 1.0)


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        length, name = int.from_bytes(file.read(4), "big"), file.read(4)
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        end = at + length if length else size
        if end < at + 8:
            return
        yield name, at, end
        at = end
