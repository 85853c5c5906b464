"""rejections: what was left out of a dataset, and taking it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command

DATASET = click.Path(path_type=Path, file_okay=False)


@click.group("rejections")
def main() -> None:
    """List the clips that were left out of a dataset, or take some back.

    \b
    Example: run.sh rejections list datasets/ann --reason noisy --human
             run.sh rejections restore datasets/ann book-c001-000012340 book-c001-000018900
    Exit codes: 0 done · 2 usage, or a clip that cannot be taken back · 75 busy · 78 no dataset
    """


@main.command("list")
@click.argument("dataset", type=DATASET)
@click.option("--reason", help="Only those with this reason code.")
def list_command(dataset: Path, reason: str | None) -> dict[str, Any]:
    """List rejected clips of DATASET with reason, numbers and place."""
    from tts_train.ingest.take_back import list_rejections

    return list_rejections(dataset, reason)


@main.command("restore")
@click.argument("dataset", type=DATASET)
@click.argument("ids", nargs=-1, required=True)
@click.option("--undo", is_flag=True, help="Leave these clips to the filters again.")
def restore_command(dataset: Path, ids: tuple[str, ...], *, undo: bool) -> dict[str, Any]:
    """Take rejected clips of DATASET back by their IDS; they stay when it is ingested or screened again."""
    from tts_train.ingest.take_back import take_back

    return take_back(dataset, ids, undo=undo)


if __name__ == "__main__":
    run_command(main)
