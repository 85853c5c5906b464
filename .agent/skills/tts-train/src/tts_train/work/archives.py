"""Zip archives: written so that the same files give the same bytes, read as if an enemy had packed them.

Nothing is believed before it is checked: how many members, their names, kinds, sizes and what they would grow to. No
member is written where its own name says: whoever reads names the file it goes to, so links and devices are never made.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tts_train.errors import InputUnusable, Problem
from tts_train.files import atomic_write_stream, remove_leftovers

MEMBERS = 2000
"""More than any voice has; a directory of millions would fill the memory."""
BYTES = 64 * 10**9
RATIO = 200
"""Weights shrink by a tenth, text by five. Zeros shrink by a thousand: of them bombs are made."""
_SMALL = 1_000_000
"""Bytes a member may have whatever its ratio."""
_LONGEST_READ = 4_000_000
"""Bytes of the archive taken into memory at once: its directory, and pieces of members."""
_LONGEST_NAME = 200
_PIECE = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_KINDS = (0, stat.S_IFREG, stat.S_IFDIR)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What zipfile makes of damaged bytes; UnicodeDecodeError is a ValueError."""


@dataclass(frozen=True)
class Archive:
    """An open archive whose directory was checked."""

    path: Path
    members: Mapping[str, zipfile.ZipInfo]
    """Files alone, by name."""
    _file: zipfile.ZipFile

    def copy(self, name: str, target: Path) -> None:
        """Write a member's content, of exactly the size that the directory gives, into a new file `target`.

        Raises InputUnusable when it is damaged.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        with _faults_of(self.path), self._file.open(self.members[name]) as packed, target.open("xb") as file:
            shutil.copyfileobj(packed, file, _PIECE)
        if target.stat().st_size != self.members[name].file_size:
            raise refused(self.path, [Problem("it is cut off", name)])


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Check the directory of a zip and open it. Raises InputUnusable with all that is wrong."""
    with _Bounded(path) as file:
        with _faults_of(path):
            archive = zipfile.ZipFile(file)
        with archive:
            infos = archive.infolist()
            if len(infos) > MEMBERS:
                raise refused(path, [Problem(f"it holds {len(infos)} members, {MEMBERS} are allowed")])
            problems = [Problem(fault, _shown(info)) for info in infos for fault in _member_faults(info)]
            problems += [Problem(fault) for fault in _sum_faults(infos, os.fstat(file.fileno()).st_size)]
            if problems:
                raise refused(path, problems)
            yield Archive(path, {info.filename: info for info in infos if not info.is_dir()}, archive)


def refused(path: Path, problems: list[Problem]) -> InputUnusable:
    """The error for an archive with these problems."""
    first = problems[0]
    told = f"{first.file}: {first.message}" if first.file else first.message
    return InputUnusable(
        f"{path} is refused: {told}", hint="fetch it again; pack voices with run.sh voices pack", problems=problems
    )


def name_fault(name: str) -> str | None:
    """What is wrong with the name of a file in a package, or None: only plain relative names are not."""
    if len(name) > _LONGEST_NAME or not name.isprintable() or "\\" in name or ":" in name:
        return "its name is too long, or holds control characters, a backslash or a colon"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "its name leads out of the package"
    return None


def write(out: Path, files: Mapping[str, Path]) -> None:
    """Pack `files` (name → file) into the zip `out`, whole or not at all: the same files give the same bytes.

    Stored, not compressed: weights shrink by less than a tenth, and take minutes for it.
    """
    remove_leftovers(out)

    def fill(target: io.BufferedWriter) -> None:
        with zipfile.ZipFile(target, "w") as archive:
            for name in sorted(files):
                info = zipfile.ZipInfo(name, _EPOCH)
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                info.create_system = 3  # Unix, wherever it is written
                info.file_size = files[name].stat().st_size  # decides whether the header has room for 4 GB
                with files[name].open("rb") as source, archive.open(info, "w") as packed:
                    shutil.copyfileobj(source, packed, _PIECE)

    atomic_write_stream(out, fill)  # type: ignore[arg-type]  # it is given a BufferedWriter


class _Bounded(io.FileIO):
    """A file of which only so much is read at once: zipfile takes a directory whole, however long it says it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        length = os.fstat(self.fileno()).st_size - self.tell() if size is None or size < 0 else size
        if length > _LONGEST_READ:
            raise zipfile.BadZipFile(f"its directory takes {length} bytes, {_LONGEST_READ} are allowed")
        return super().read(length)


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    try:
        yield
    except _FAULTS as error:
        raise refused(path, [Problem(f"it is damaged, or no zip: {error}")]) from error


def _shown(info: zipfile.ZipInfo) -> str:
    return ascii(info.orig_filename[:_LONGEST_NAME])[1:-1]


def _member_faults(info: zipfile.ZipInfo) -> Iterator[str]:
    # zipfile cuts names at a NUL: what it was called before that counts.
    fault = name_fault(info.orig_filename.removesuffix("/"))
    if fault:
        yield fault
    if stat.S_IFMT(info.external_attr >> 16) not in _KINDS:
        yield "it is a link, a device or a pipe"
    if info.flag_bits & 0x1 or info.compress_type not in _METHODS:
        yield "it is encrypted, or compressed in another way than deflate"
    elif info.file_size > max(_SMALL, RATIO * info.compress_size):
        yield f"its {info.compress_size} bytes would become {info.file_size}"


def _sum_faults(infos: list[zipfile.ZipInfo], size: int) -> Iterator[str]:
    if sum(info.file_size for info in infos) > BYTES:
        yield f"it would become more than {BYTES / 1e9:.0f} GB"
    if any(not 0 <= info.header_offset < size for info in infos):
        yield "a member lies outside of it"
    if sum(info.compress_size for info in infos) > size:
        yield "its members are larger than itself: they lie over one another"
    # Where upper and lower case are one, one file would replace another.
    names = [info.filename.casefold() for info in infos]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        yield f"it holds {twice[0]!a} twice"
