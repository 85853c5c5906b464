"""The options of `ingest` that shape the clips, apart from what the screen does with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])

SHAPING = (
    click.option("--compute-type", default="int8", show_default=True, help="CTranslate2's number type."),
    click.option("--beam", type=click.IntRange(1, 10), default=5, show_default=True, help="1 is a little faster."),
    click.option(
        "--window",
        type=click.FloatRange(15, 30),
        default=15.0,
        show_default=True,
        help="Seconds Whisper hears at once: 30 takes 2.5 times as long and errs less on accents.",
    ),
    click.option("--loudness", type=click.FloatRange(-60, -5), help="LUFS; one gain per file  [default: as recorded]"),
    click.option("--max-gap", default=0.5, show_default=True, help="Join speech across pauses up to this, seconds."),
    click.option("--target-min", default=2.0, show_default=True, help="Joined clips are as long as this if possible."),
    click.option("--target-max", default=10.0, show_default=True, help="Joined clips are at most this long."),
    click.option("--min-sec", default=1.5, show_default=True, help="Shorter clips are rejected."),
    click.option("--max-sec", default=15.0, show_default=True, help="Longer clips (no pause in them) are rejected."),
    click.option("--vad-threshold", type=click.FloatRange(0.05, 0.95), default=0.5, show_default=True),
)
_NAMES = ("compute_type", "beam", "window", "loudness", "max_gap", "target_min", "target_max", "min_sec", "max_sec")


def shaping_options_of_command(command: F) -> F:
    """Click decorator: adds the options of `book_options`."""
    for option in reversed(SHAPING):
        command = option(command)
    return command


def taken(given: dict[str, Any]) -> dict[str, Any]:
    """Take what `shaping_options_of_command` added out of a command's keyword arguments."""
    return {name: given.pop(name) for name in (*_NAMES, "vad_threshold")}
