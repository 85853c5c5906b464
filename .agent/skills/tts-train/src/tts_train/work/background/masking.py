"""Command lines as they may be written down: values of options that hold secrets are left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = "***"
_NAME = r"-{0,2}[\w.-]*(?:token|key|secret|password)"
_WITH_VALUE = re.compile(rf"({_NAME})=(.*)", re.IGNORECASE | re.DOTALL)
_OPTION = re.compile(rf"-(?:{_NAME})", re.IGNORECASE)


def masked(argv: Sequence[str]) -> list[str]:
    """`argv` with *** for the value of each option (or NAME=value) whose name ends in token, key, secret, password."""
    shown: list[str] = []
    value_follows = False
    for argument in argv:
        if value_follows and not argument.startswith("--"):
            shown.append(MASK)
            value_follows = False
            continue
        with_value = _WITH_VALUE.fullmatch(argument)
        shown.append(f"{with_value[1]}={MASK}" if with_value else argument)
        value_follows = _OPTION.fullmatch(argument) is not None
    return shown


def has_secrets(argv: Sequence[str]) -> bool:
    """Whether `argv` holds such a value, or held one before it was masked."""
    return masked(argv) != list(argv) or MASK in argv or any(argument.endswith(f"={MASK}") for argument in argv)
