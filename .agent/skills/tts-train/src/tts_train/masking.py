"""Secrets left out of what is written down: command lines, logs, progress, answers.

A secret is the value of an environment variable or option whose name ends in token, key, secret or password, and
whatever looks like a token of a service.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

MASK = "***"
_SHORTEST_VALUE = 8
"""Of a variable: a shorter one would be found in innocent words."""
_LONGEST_LINE = 1 << 16
_WORDS = "(?:token|key|secret|password)"
_VARIABLE = re.compile(rf"\w*{_WORDS}", re.IGNORECASE)
_NAME = rf"-{{0,2}}[\w.-]*{_WORDS}"
_WITH_VALUE = re.compile(rf"({_NAME})=(.*)", re.IGNORECASE | re.DOTALL)
_OPTION = re.compile(rf"-(?:{_NAME})", re.IGNORECASE)
_SHAPES = (
    r"\b(?:hf|rpa|gh[opsu]|github_pat)_[A-Za-z0-9]{16,}"
    r"|\bsk-(?:[a-z]{2,8}-){0,2}[A-Za-z0-9_]{20,}"
    r"|(?i:(?<=\bbearer ))(?=\S*\d)[\w.~+/=-]{16,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
"""Hugging Face, RunPod, GitHub; OpenAI and Anthropic; an Authorization header; user and password of an address."""


def masked(argv: Sequence[str]) -> list[str]:
    """`argv` with *** for every secret in it, among them the value of each option (or NAME=value) named like one."""
    return [shown for shown, _ in _parted(argv)]


def secrets_of(argv: Sequence[str]) -> tuple[str, ...]:
    """The values of such options, for `also` of what masks text."""
    return tuple(secret for _, secret in _parted(argv) if len(secret) >= _SHORTEST_VALUE)


def has_secrets(argv: Sequence[str]) -> bool:
    """Whether `argv` holds a secret, or held one before it was masked."""
    return masked(argv) != list(argv) or MASK in argv or any(argument.endswith(f"={MASK}") for argument in argv)


def masked_text(text: str, also: Sequence[str] = ()) -> str:
    """`text` with *** for what looks like a token, for values of secret variables of this process, and for `also`."""
    return _pattern((*also, *_secret_values())).sub(MASK, text)


def masked_values(value: Any, also: Sequence[str] = ()) -> Any:
    """A JSON value with all texts in it masked; the names in objects stay."""
    pattern = _pattern((*also, *_secret_values()))

    def mask(part: Any) -> Any:
        if isinstance(part, str):
            return pattern.sub(MASK, part)
        if isinstance(part, dict):
            return {name: mask(item) for name, item in part.items()}
        if isinstance(part, list | tuple):
            return [mask(item) for item in part]
        return part

    return mask(value)


class MaskedStream:
    """A text stream that masks what is written to it: a library that prints a header prints no token."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(masked_text(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self._stream.writelines(masked_text(line) for line in lines)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class MaskedBytes:
    """Masks a stream of bytes line by line, so that no secret passes in two halves."""

    def __init__(self, also: Sequence[str] = ()) -> None:
        self._also = also
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The lines that `data` completes, masked; a progress bar's lines end with a carriage return."""
        self._held += data
        end = max(self._held.rfind(b"\n"), self._held.rfind(b"\r")) + 1
        if not end and len(self._held) < _LONGEST_LINE:
            return b""
        lines, self._held = self._held[: end or None], self._held[end:] if end else b""
        return self._masked(lines)

    def rest(self) -> bytes:
        """What was held back, masked: nothing more comes, or not for a while."""
        held, self._held = self._held, b""
        return self._masked(held)

    def _masked(self, data: bytes) -> bytes:
        return masked_text(data.decode(errors="surrogateescape"), self._also).encode(errors="surrogateescape")


def _parted(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(what may be shown, the value that may not, or "") of each argument."""
    value_follows = False
    for argument in argv:
        if value_follows and not argument.startswith("--"):
            yield MASK, argument
            value_follows = False
            continue
        with_value = _WITH_VALUE.fullmatch(argument)
        yield (f"{with_value[1]}={MASK}", with_value[2]) if with_value else (masked_text(argument), "")
        value_follows = _OPTION.fullmatch(argument) is not None


def _secret_values() -> tuple[str, ...]:
    """A path says where a secret is, and is none."""
    values = (value for name, value in os.environ.items() if _VARIABLE.fullmatch(name))
    return tuple(sorted({value for value in values if len(value) >= _SHORTEST_VALUE and value[0] not in "/~."}))


@functools.lru_cache(maxsize=4)
def _pattern(values: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(values, key=len, reverse=True)  # one may begin another
    return re.compile("|".join([*map(re.escape, longest_first), _SHAPES]))
