"""What front and worker say to each other: a JSON object, and bytes behind it where there is audio."""

from __future__ import annotations

import json
import struct
from asyncio import IncompleteReadError, StreamReader
from collections.abc import Mapping
from typing import Any, BinaryIO

_LENGTHS = struct.Struct("!II")
"""Of the JSON object and of the bytes that follow it."""


def packed(message: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """One frame."""
    text = json.dumps(message).encode()
    return _LENGTHS.pack(len(text), len(payload)) + text + payload


def read(file: BinaryIO) -> dict[str, Any] | None:
    """The next message of a blocking stream, without its payload (the front sends none); None at the end."""
    lengths = file.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    text = file.read(_LENGTHS.unpack(lengths)[0])
    message: dict[str, Any] | None = json.loads(text) if text else None
    return message


async def receive(reader: StreamReader) -> tuple[dict[str, Any], bytes] | None:
    """The next message and its payload; None when the other side is gone."""
    try:
        text, payload = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        return json.loads(await reader.readexactly(text)), await reader.readexactly(payload)
    except (IncompleteReadError, ConnectionError):
        return None
