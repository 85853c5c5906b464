"""The options that say how many pieces of a dataset are worked at a time, and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])

JOBS = click.option(
    "--jobs", type=click.IntRange(1, 1024), help="Pieces at a time, a process each  [default: 1; on Ray all its CPUs]"
)
ENGINE = click.option(
    "--engine",
    "where",
    type=click.Choice(["here", "ray"]),
    default="here",
    show_default=True,
    help="ray: the nodes of the Ray cluster that this machine belongs to.",
)


def engine_options_of_command(command: F) -> F:
    """Click decorator: adds --jobs and --engine, `jobs` and `where` of `engine`."""
    return JOBS(ENGINE(command))
