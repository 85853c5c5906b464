"""screen: judge the clips of a dataset again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.engine.commandline import engine_options_of_command
from tts_train.ingest.screen.commandline import screen_options_of_command
from tts_train.output import run_command


@click.command("screen")
@click.argument("dataset", type=click.Path(path_type=Path, file_okay=False))
@screen_options_of_command
@engine_options_of_command
@click.option(
    "--max-rejected", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of the seconds."
)
def main(dataset: Path, **given: Any) -> dict[str, Any]:
    """Measure the clips of DATASET as far as they are not measured yet, and filter them anew.

    Filters start from the defaults of the station that made DATASET; --filter changes them. What was measured before is
    not measured again, clips taken back with `rejections restore` stay, and audio is never changed.

    \b
    Example: run.sh screen datasets/ann --measure mos
             run.sh screen datasets/ann --filter mos:3.5: --filter snr:25: --jobs 2
    Exit codes: 0 done · 2 usage · 65 too much rejected (all is kept) · 69 package or model · 75 busy · 78 no dataset
    """
    from tts_train.ingest.screen.again import screen_again

    return screen_again(dataset, **given)


if __name__ == "__main__":
    run_command(main)
