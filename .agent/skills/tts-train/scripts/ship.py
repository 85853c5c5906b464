"""ship: a judged epoch as a voice package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.work.ship import ship
from tts_train.workspace import Workspace


@click.command("ship")
@click.argument("run")
@click.argument("epoch", type=click.IntRange(min=0))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder [default: artifacts/tts/voices].")
@click.option(
    "--because", metavar="REASON", help="Ship against what speaks against it; the reason goes with the voice."
)
@click.option(
    "--card", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Of an adopted run's dataset."
)
@click.option("--dry-run", is_flag=True, help="Say what speaks against it and how large it is; make nothing.")
@workspace_option
def main(
    run: str, epoch: int, out: Path | None, because: str | None, card: Path | None, dry_run: bool, workspace: str | None
) -> dict[str, Any]:
    """Make RUN-epoch-NNN/, all that EPOCH of RUN needs to speak, with its licences, measures, verdicts and model card.

    `infer` speaks from it anywhere. It is refused without consent, without fresh measures, and while a gate fails or a
    listener hears harm. The finished package speaks one judged sentence and must repeat it sample for sample.

    \b
    Example: run.sh ship demo-constant 4
             run.sh ship demo-constant 6 --because "the one clipped sample is in a cough"
    Exit codes: 0 shipped · 2 usage · 65 refused, pruned, or it says something else than was judged
                69 package or base missing · 74 disk · 78 no such epoch, or bad card
    """
    return ship(Workspace.find(workspace), run, epoch, out=out, because=because, card=card, dry_run=dry_run)


if __name__ == "__main__":
    run_command(main)
