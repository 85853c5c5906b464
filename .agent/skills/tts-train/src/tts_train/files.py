"""Files that are whole or absent: atomic writes, folder publication, locks.

A write goes to a temporary file in the same folder, is written fully (a short write is an error), flushed to disk,
renamed over the target, and the folder is flushed. A crash at any call leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tts_train import holders
from tts_train.errors import Busy, ConfigError, DiskError, InputUnusable, Problem

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

TEMPORARY = ".tmp-"
LOCK = ".lock"
_LEFTOVER = re.compile(re.escape(TEMPORARY) + r".+\.(old-)?\d+")
"""A temporary name ends with its writer's pid."""


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` with `data`, or leave it as it was. Raises DiskError when the disk refuses."""
    _atomically(path, lambda temporary: write_synced(temporary, data))


def atomic_write_stream(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace `path` with what `write(file)` writes, piece by piece: nothing is held in memory twice.

    `file` can be written to only, not read or sought. Raises DiskError when the disk refuses, as whatever else
    `write` made of that.
    """

    def stream(temporary: Path) -> None:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            raw = _Descriptor(descriptor)
            try:
                with io.BufferedWriter(raw, 1 << 20) as file:
                    write(file)
            except Exception as error:
                if raw.failed is None or raw.failed is error:
                    raise
                # torch.save turns a failed write into a RuntimeError about positions in its archive.
                raise raw.failed from error
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    _atomically(path, stream)


class _Descriptor(io.RawIOBase):
    """An open file whose every write is os.write; BufferedWriter goes on after short ones."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.failed: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return _written(self._descriptor, memoryview(data))
        except OSError as error:
            self.failed = self.failed or error
            raise


def _atomically(path: Path, fill: Callable[[Path], None]) -> None:
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f"{TEMPORARY}{path.name}.{os.getpid()}"
        try:
            fill(temporary)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        sync_folder(path.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file that is not published yet (inside a temporary folder) and flush it to disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[_written(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _written(descriptor: int, data: memoryview) -> int:
    """os.write, where nothing written is an error: nobody may try for ever."""
    written = os.write(descriptor, data)
    if written == 0 and data:
        raise OSError(errno.ENOSPC, "the disk took no more bytes")
    return written


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish_folder(final: Path, fill: Callable[[Path], None]) -> None:
    """Make the folder `final` appear complete or not at all.

    `fill(temporary)` writes the content; files it left unflushed are flushed here. An older `final` is replaced.
    Temporary folders of writers that died are removed first.
    """
    with disk_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        for leftover in final.parent.glob(f"{TEMPORARY}{final.name}.*"):
            shutil.rmtree(leftover)
        temporary = final.parent / f"{TEMPORARY}{final.name}.{os.getpid()}"
        temporary.mkdir()
        try:
            fill(temporary)
            for path in sorted(temporary.rglob("*")):
                if path.is_dir():
                    sync_folder(path)
                else:
                    sync_file(path)
            sync_folder(temporary)
            if final.exists():
                aside = final.parent / f"{TEMPORARY}{final.name}.old-{os.getpid()}"
                os.rename(final, aside)
                os.rename(temporary, final)
                shutil.rmtree(aside)
            else:
                os.rename(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(final.parent)


def sweep(folder: Path) -> None:
    """Remove what killed writers left below `folder`. The caller holds the folder's lock.

    A folder with a lock of its own is left alone: somebody may be writing there now.
    """
    for place, folders, names in os.walk(folder):
        leftovers = [Path(place, name) for name in (*folders, *names) if _LEFTOVER.fullmatch(name)]
        for leftover in leftovers:
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)
        folders[:] = [name for name in folders if not Path(place, name, LOCK).exists() and Path(place, name).exists()]


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of `path` left beside it: for the users' own folders, which nobody sweeps."""
    for leftover in path.parent.glob(f"{TEMPORARY}{glob.escape(path.name)}.*"):
        leftover.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Flush one file to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Atomic `Path.write_text`."""
    atomic_write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Atomic, readable JSON; NaN is refused because no other reader accepts it."""
    atomic_write_bytes(path, (json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode())


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Atomic JSON lines."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    atomic_write_bytes(path, "".join(lines).encode())


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises InputUnusable when it is missing or torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputUnusable(f"{path} does not exist", hint="check the path") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputUnusable(f"{path} is not JSON: {error}", hint="restore it or make it again") from error


def read_jsonl(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """(line number, object) of every line. Raises ConfigError naming every line that is not a JSON object."""
    rows: list[tuple[int, dict[str, Any]]] = []
    problems: list[Problem] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise InputUnusable(f"{path} does not exist", hint="check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}", hint="save it as UTF-8") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(Problem(f"not JSON: {error.msg} at column {error.colno}", str(path), number))
            continue
        except RecursionError:
            problems.append(Problem("not JSON that can be read: it is nested too deeply", str(path), number))
            continue
        if not isinstance(row, dict):
            problems.append(Problem(f"expected a JSON object, got {type(row).__name__}", str(path), number))
            continue
        rows.append((number, row))
    if problems:
        raise ConfigError(f"{path} has {len(problems)} bad lines", hint="one JSON object per line", problems=problems)
    return rows


def sha256_file(path: Path) -> str:
    """Hex digest, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex digest of a value's canonical JSON, for keys that name content."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@contextlib.contextmanager
def locked(
    path: Path, *, shared: bool = False, wait: bool = False, run: Path | None = None, what: str = ""
) -> Iterator[None]:
    """Hold an flock on `path`. Raises Busy, naming the holder and how to stop it, when it is taken.

    `run`: the run's folder that this process works on, whose heartbeat is told then. `what` is in use [its folder].
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        flags = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.flock(descriptor, flags)
        except BlockingIOError as error:
            found = holders.read_claim(descriptor)
            text = f"{what or path.parent} is in use by {holders.told(found)}"
            raise Busy(text, hint=holders.how_to_stop(found)) from error
        if shared:
            yield
            return
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holders.claim(run), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)  # who lets go is no holder, even while it lives on
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold `folder`'s lock, and begin without what killed holders left in it. Raises Busy."""
    with locked(folder / LOCK):
        sweep(folder)
        yield


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raise DiskError unless `folder`'s disk has `needed_bytes` free (the folder itself need not exist)."""
    existing = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise DiskError(
            f"{folder} needs about {needed_bytes / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            hint="free some space or choose another workspace",
        )


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What the operating system refuses is a DiskError that names the file."""
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"could not write {path}: {error.strerror or error}", hint="check free space and permissions"
        ) from error
