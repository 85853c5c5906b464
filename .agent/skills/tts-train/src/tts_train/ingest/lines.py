"""One line of a list: what it must hold, and how a bad one is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    """One recording, or a piece of one (`start` to `end` in seconds; None: all of it), with its text."""

    number: int
    audio_file: str
    text: str
    start: float | None = None
    end: float | None = None
    name: str = ""
    """What the list calls it; "" when only the file has a name."""
    speaker: str = ""

    @property
    def is_piece(self) -> bool:
        return self.start is not None


class BadLine(Exception):
    """A line that cannot be used: a reason code for machines, a sentence for people."""

    def __init__(self, number: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.number = number
        self.reason = reason
        self.message = message


def parsed(number: int, raw: bytes) -> dict[str, Any]:
    """The JSON object of a line. Raises BadLine for anything else."""
    try:
        row = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadLine(number, "bad-line", f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise BadLine(number, "bad-line", f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise BadLine(number, "bad-line", f"expected a JSON object, got {type(row).__name__}")
    return row


def checked_line(number: int, audio_file: object, text: object) -> Line:
    """A line with white space folded. Raises BadLine unless both are texts that can be used."""
    for name, value in (("audio_file", audio_file), ("text", text)):
        if not isinstance(value, str) or not value.strip():
            raise BadLine(number, "bad-line", f"'{name}' must be non-empty text, got {str(value)[:60]!r}")
        if not value.isprintable() and name == "audio_file":
            raise BadLine(number, "outside-folder", "'audio_file' holds control characters")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise BadLine(number, "bad-line", f"'{name}' holds half a character (a lone surrogate)")
    folded = " ".join(str(text).split())
    if not any(character.isalnum() for character in folded):
        raise BadLine(number, "no-words", f"'text' has no letters: {folded[:60]!r}")
    return Line(number, str(audio_file), folded)
