"""demo: the whole job on a small book."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command
from tts_train.work import demo as work
from tts_train.workspace import repository_root


@click.command("demo")
@click.option("--runs", default="constant", show_default=True, help=f"Some of {','.join(work.RUNS)}.")
@click.option("--epochs", type=click.IntRange(1, 100), default=work.EPOCHS, show_default=True, help="Epochs per run.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="[default: artifacts/demo]")
@click.option("--dry-run", is_flag=True, help="Say what it will do and cost.")
def main(runs: str, epochs: int, out: Path | None, dry_run: bool) -> dict[str, Any]:
    """Book → dataset → alignment → epochs → probe → measures → the next move, on a laptop's CPU.

    Run it again to go on after a stop; finished stations are not repeated.

    \b
    Example: run.sh demo --human
             run.sh demo --runs decay,constant,hot
    Exit codes: 0 done · 2 usage · 69 needs the repository, or a package is missing · 74 disk · 130/143 stopped
    """
    place = out or (repository_root() or Path.cwd()) / "artifacts" / "demo"
    names = [name.strip() for name in runs.split(",") if name.strip()]
    return work.plan(place, names, epochs) if dry_run else work.demo(place, names, epochs)


if __name__ == "__main__":
    run_command(main)
