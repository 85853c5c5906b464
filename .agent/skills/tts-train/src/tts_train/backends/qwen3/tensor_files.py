"""safetensors files without a model library: what they hold, whether they are whole, their numbers in blocks.

The core environment has no torch and still has to tell a torn download from a whole one and how far an adopted
checkpoint is from its base. The format: 8 bytes of header length, a JSON header, the tensors one after another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.errors import InputUnusable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LENGTH = 8
_LONGEST_HEADER = 100_000_000
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
BLOCK = 1 << 22
"""Numbers looked at together: a text embedding of 311 M would not fit in memory several times over."""


@dataclass(frozen=True)
class Stored:
    """One tensor in a file: number type as safetensors names it, shape, first byte."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        total = 1
        for length in self.shape:
            total *= length
        return total


def table(path: Path) -> dict[str, Stored]:
    """Name → tensor of a file. Raises InputUnusable when it is missing, cut off or no safetensors file at all."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(_LENGTH), "little")
            if size < _LENGTH or not 2 <= length <= min(size - _LENGTH, _LONGEST_HEADER):
                raise _damaged(path, "it is cut off in its header")
            header = json.loads(file.read(length))
    except FileNotFoundError as error:
        raise InputUnusable(f"{path} does not exist", hint="check the path") from error
    except ValueError as error:
        raise _damaged(path, f"its header is not JSON ({error})") from error
    data = _LENGTH + length
    try:
        found = {name: _entry(path, data, entry) for name, entry in header.items() if name != "__metadata__"}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"its header does not describe tensors ({error})") from error
    end = max((item.start + item.count * _BYTES[item.dtype] for item in found.values()), default=data)
    if end != size:
        raise _damaged(path, f"it should have {end} bytes and has {size}")
    return found


def blocks(tensor: Stored, first: int = 0, last: int | None = None) -> Iterator[NDArray[np.float32]]:
    """The numbers `first` to `last` of a tensor as flat float32 arrays of at most `BLOCK`, in order."""
    import numpy as np

    stop = tensor.count if last is None else last
    for begin in range(first, stop, BLOCK):
        count = min(BLOCK, stop - begin)
        place = tensor.start + begin * _BYTES[tensor.dtype]
        if tensor.dtype == "BF16":  # the upper half of a float32
            halves = np.fromfile(tensor.file, "<u2", count, offset=place)
            yield (halves.astype(np.uint32) << 16).view(np.float32)
        elif tensor.dtype in _FLOATS:
            yield np.fromfile(tensor.file, _FLOATS[tensor.dtype], count, offset=place).astype(np.float32)
        else:
            raise _damaged(tensor.file, f"{tensor.dtype} is no number type of weights")


def packed(tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """A whole file of float32 tensors; the same tensors give the same bytes."""
    import numpy as np

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name], "<f4")
        end = len(data) + values.nbytes
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), end]}
        data += values.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    return len(text).to_bytes(_LENGTH, "little") + text + data


def _entry(path: Path, data: int, entry: Mapping[str, Any]) -> Stored:
    first, last = entry["data_offsets"]
    stored = Stored(path, str(entry["dtype"]), tuple(int(length) for length in entry["shape"]), data + int(first))
    if stored.dtype not in _BYTES:
        raise ValueError(f"number type {stored.dtype}")
    if first < 0 or min(stored.shape, default=1) < 0 or last - first != stored.count * _BYTES[stored.dtype]:
        raise ValueError(f"a tensor of shape {list(stored.shape)} does not take {last - first} bytes")
    return stored


def _damaged(path: Path, how: str) -> InputUnusable:
    return InputUnusable(f"{path} is damaged: {how}", hint="download or copy it again")
