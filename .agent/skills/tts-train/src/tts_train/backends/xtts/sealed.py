"""Arrays kept on disk: one .npy file each, followed by its checksum, so that a torn or altered file is noticed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tts_train.errors import InputUnusable
from tts_train.files import atomic_write_bytes
from tts_train.output import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEAL = hashlib.sha256().digest_size


def write(file: Path, values: NDArray[np.int16]) -> None:
    """Atomic; the same values always give the same bytes. Programs that read .npy overlook the seal."""
    body = io.BytesIO()
    np.lib.format.write_array(body, values.astype("<i2"), version=(1, 0), allow_pickle=False)
    data = body.getvalue()
    atomic_write_bytes(file, data + hashlib.sha256(data).digest())


def read(file: Path) -> NDArray[np.int16]:
    """Raises InputUnusable when the file is missing, torn or not one of ours."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputUnusable(f"{file} cannot be read: {error.strerror}", hint="train again: it is made anew") from error
    if len(data) <= _SEAL or hashlib.sha256(data[:-_SEAL]).digest() != data[-_SEAL:]:
        raise InputUnusable(f"{file} is torn", hint="train again: it is made anew from the clip")
    return np.lib.format.read_array(io.BytesIO(data[:-_SEAL]), allow_pickle=False).astype(np.int16, copy=False)


def kept(file: Path, make: Callable[[], NDArray[np.int16]]) -> NDArray[np.int16]:
    """What `file` holds, or what `make` gives, which is then kept. A torn file is said and made anew."""
    if file.is_file():
        try:
            return read(file)
        except InputUnusable as error:
            progress(f"{error.message}: made anew")
    values = make()
    write(file, values)
    return values
