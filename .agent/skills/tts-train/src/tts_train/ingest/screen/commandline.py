"""The options that ingest, ingest-transcript and screen share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])


def screen_options_of_command(command: F) -> F:
    """Click decorator: --filter, --measure and --check-model as `filters`, `measure` (tuples) and `check_model`."""
    options = (
        click.option(
            "--filter",
            "filters",
            multiple=True,
            metavar="NAME:MIN:MAX",
            help="Reject clips outside; an empty side is open, NAME:: switches a default off. Repeatable.",
        ),
        click.option(
            "--measure", multiple=True, metavar="NAME", help="Measure without rejecting: mos, wer. Repeatable."
        ),
        click.option("--check-model", help="Another Whisper model that re-transcribes clips for wer: folder or name."),
    )
    for option in reversed(options):
        command = option(command)
    return command
