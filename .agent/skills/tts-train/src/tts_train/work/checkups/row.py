"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem", "absent-but-optional"]


@dataclass(frozen=True)
class Row:
    """`problem`: something will fail; `warning`: it works, or mends itself, but somebody should know."""

    check: str
    state: State
    detail: str
    fix: str = ""
    """What to do; empty when there is nothing to be done."""


def listed(names: list[str], most: int = 5) -> str:
    """a, b, c and 4 more."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
