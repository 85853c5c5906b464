"""The log of a job: bounded by rotation, read from its end, followed while it grows.

log.txt is the newest piece, log.txt.1 the one before, and so on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

PIECE_BYTES = 10_000_000
PIECES = 5


class RotatingLog:
    """Writer of at most `pieces` files of `piece_bytes` each; use as a context manager.

    A full disk loses log and nothing else: `lost_bytes` counts what could not be written.
    """

    def __init__(self, path: Path, piece_bytes: int = PIECE_BYTES, pieces: int = PIECES) -> None:
        self._path, self._piece_bytes, self._pieces = path, piece_bytes, pieces
        self._descriptor = self._open()
        self._room = piece_bytes - os.fstat(self._descriptor).st_size
        self.lost_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def write(self, data: bytes) -> None:
        """Append, turning to a new file wherever one is full."""
        view = memoryview(data)
        while view:
            try:
                if self._room <= 0:
                    self._rotate()
                written = os.write(self._descriptor, view[: self._room])
            except OSError:
                written = 0
            if written == 0:
                self.lost_bytes += len(view)
                return
            self._room -= written
            view = view[written:]

    def _rotate(self) -> None:
        for number in range(self._pieces - 1, 0, -1):
            source = piece(self._path, number - 1)
            if source.exists():
                os.replace(source, piece(self._path, number))
        if self._pieces == 1:
            os.unlink(self._path)
        new = self._open()
        os.close(self._descriptor)
        self._descriptor, self._room = new, self._piece_bytes

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def piece(path: Path, number: int) -> Path:
    """File `number` of a log, 0 the newest."""
    return path.with_name(f"{path.name}.{number}") if number else path


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines over all pieces, oldest first; bytes that are no UTF-8 are shown as such."""
    data, number = b"", 0
    while data.count(b"\n") <= count:
        try:
            data = piece(path, number).read_bytes() + data
        except FileNotFoundError:
            if number:
                break  # without the newest the log is just being rotated
        number += 1
    return data.decode(errors="replace").splitlines()[-count:]


def added(path: Path, start: int, ended: Callable[[], bool], seconds: float = 0.3) -> Iterator[bytes]:
    """What the log has beyond byte `start` of its newest piece, over rotations, until `ended()`."""
    descriptor = os.open(path, os.O_RDONLY)
    inode = os.fstat(descriptor).st_ino
    os.lseek(descriptor, min(start, os.fstat(descriptor).st_size), os.SEEK_SET)
    try:
        while True:
            over = ended()  # asked before reading: what was written until then is read
            while data := os.read(descriptor, 1 << 16):
                yield data
            newest = _inode(path)
            if newest not in (inode, None):
                os.close(descriptor)
                descriptor = os.open(path, os.O_RDONLY)
                inode = os.fstat(descriptor).st_ino
            elif over:
                return
            else:
                time.sleep(seconds)
    finally:
        os.close(descriptor)


def _inode(path: Path) -> int | None:
    """None between the two steps of a rotation."""
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None
