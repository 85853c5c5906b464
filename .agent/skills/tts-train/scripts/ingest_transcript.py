"""ingest-transcript: clips with known texts become a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command


@click.command("ingest-transcript")
@click.argument("clips", type=click.Path(path_type=Path, file_okay=False))
@click.argument("transcripts", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--voice", help="Speaker in the manifest  [default: OUT's name]")
@click.option("--card", type=click.Path(path_type=Path, dir_okay=False), help="dataset.yaml to copy into OUT.")
@click.option("--language", help="Spoken language  [default: the card's]")
@click.option("--min-sec", default=1.0, show_default=True, help="Shorter clips are rejected.")
@click.option("--max-sec", default=20.0, show_default=True, help="Longer clips are rejected.")
@click.option(
    "--max-rejected", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of lines or seconds."
)
@click.option("--dry-run", is_flag=True, help="Check the list only.")
def main(clips: Path, transcripts: Path, out: Path, min_sec: float, max_sec: float, **given: Any) -> dict[str, Any]:
    """Take the recordings in the folder CLIPS with their texts from TRANSCRIPTS into the dataset OUT.

    TRANSCRIPTS has one JSON object per line: {"audio_file": "a/001.wav", "text": "…"}; paths stay inside CLIPS. Every
    line that cannot be used is reported with its number and reason and stops nothing.

    \b
    Example: run.sh ingest-transcript recordings recordings/transcripts.jsonl datasets/ann --card ann.yaml
    Exit codes: 0 done · 2 usage · 65 no clip left, or too much rejected (all is kept) · 75 busy · 78 card
    """
    from tts_train.ingest.transcript import TranscriptOptions, ingest_transcript

    options = TranscriptOptions(min_seconds=min_sec, max_seconds=max_sec)
    return ingest_transcript(clips, transcripts, out, options=options, **given)


if __name__ == "__main__":
    run_command(main)
