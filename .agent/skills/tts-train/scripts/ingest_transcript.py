"""ingest-transcript: clips with known texts become a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.engine.commandline import engine_options_of_command
from tts_train.ingest.screen.commandline import screen_options_of_command
from tts_train.output import run_command


@click.command("ingest-transcript")
@click.argument("clips", type=click.Path(path_type=Path, file_okay=False))
@click.argument("transcripts", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--voice", help="Speaker in the manifest  [default: OUT's name]")
@click.option("--speaker", help="Take this speaker's lines only (lhotse manifests name speakers).")
@click.option("--card", type=click.Path(path_type=Path, dir_okay=False), help="dataset.yaml to copy into OUT.")
@click.option("--language", help="Spoken language  [default: the card's]")
@click.option("--min-sec", default=1.0, show_default=True, help="Shorter clips are rejected.")
@click.option("--max-sec", default=20.0, show_default=True, help="Longer clips are rejected.")
@screen_options_of_command
@engine_options_of_command
@click.option(
    "--max-rejected", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of lines or seconds."
)
@click.option("--dry-run", is_flag=True, help="Check the list only.")
def main(clips: Path, transcripts: Path, out: Path, min_sec: float, max_sec: float, **given: Any) -> dict[str, Any]:
    """Take the recordings in the folder CLIPS with their texts from TRANSCRIPTS into the dataset OUT.

    TRANSCRIPTS is one JSON object per line, {"audio_file": "a/001.wav", "text": "…"}, LJSpeech's metadata.csv, or
    lhotse's supervisions (beside their recordings) or cuts, .jsonl or .jsonl.gz. Paths stay inside CLIPS. Every line
    that cannot be used is reported with its number and reason and stops nothing.

    \b
    Example: run.sh ingest-transcript recordings recordings/transcripts.jsonl datasets/ann --card ann.yaml
             run.sh ingest-transcript LJSpeech-1.1 LJSpeech-1.1/metadata.csv datasets/lj --card lj.yaml --jobs 4
    Exit codes: 0 done · 2 usage · 65 no clip left, or too much rejected (all is kept) · 75 busy · 78 card
    """
    from tts_train.ingest.screen.options import screen_options
    from tts_train.ingest.transcript import ingest_transcript

    screened = {name: given.pop(name) for name in ("filters", "measure", "check_model")}
    screening = screen_options(**screened, station="transcript", min_seconds=min_sec, max_seconds=max_sec)
    return ingest_transcript(clips, transcripts, out, screening=screening, **given)


if __name__ == "__main__":
    run_command(main)
