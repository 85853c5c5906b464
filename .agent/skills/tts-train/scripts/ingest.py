"""ingest: an audiobook becomes a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.engine.commandline import engine_options_of_command
from tts_train.ingest.commandline import shaping_options_of_command, taken
from tts_train.ingest.screen.commandline import screen_options_of_command
from tts_train.output import run_command

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("ingest")
@click.argument("audio", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("voice")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--card", type=FILE, help="dataset.yaml to copy into OUT.")
@click.option("--chapters", metavar="LIST", help='Only these, "1,3-5"; --dry-run --human lists them.')
@click.option("--skip-first", type=click.FloatRange(0), default=0.0, help="Seconds of credits, in every file.")
@click.option("--skip-last", type=click.FloatRange(0), default=0.0, help="Seconds of credits, in every file.")
@click.option("--segments-jsonl", "segments", type=FILE, help="start, end, text: no recognition, a clip per line.")
@click.option("--model", help="Whisper: folder, whisper-base (packaged) or hub name  [default: whisper-base]")
@click.option("--language", help="Spoken language  [default: the card's, checked by ear]")
@shaping_options_of_command
@screen_options_of_command
@engine_options_of_command
@click.option("--threads", type=click.IntRange(0), default=0, help="Threads per job  [default: all cores, 8 at most]")
@click.option("--max-rejected", type=click.FloatRange(0, 1), default=0.2, help="Share of the speech  [default: 0.2]")
@click.option("--dry-run", is_flag=True, help="Say what it is, its chapters, and what it will cost.")
def main(audio: tuple[Path, ...], voice: str, out: Path, **given: Any) -> dict[str, Any]:
    """Cut AUDIO at its pauses into clips of VOICE with texts, in the folder OUT.

    AUDIO is a file (m4b, m4a, mp3, flac, opus, wav), several, or a folder of them. OUT gets train_manifest.jsonl,
    clips/ (24 kHz FLAC), report.html, and rejections.jsonl with a reason and a playable clip for all speech that is
    left out. Run it again to go on after a stop.

    \b
    Example: run.sh ingest book.m4b ann datasets/ann --card ann.yaml --chapters 2-40
             run.sh ingest book.m4b ann datasets/ann --dry-run --human
    Exit codes: 0 done · 2 usage · 65 unreadable, or too much rejected (all is kept) · 69 no model · 75 busy · 78 card
    """
    from tts_train.ingest.book import ingest_book
    from tts_train.ingest.options import book_options
    from tts_train.ingest.screen.options import screen_options

    screened = {name: given.pop(name) for name in ("filters", "measure", "check_model")}
    shaping = taken(given)
    low, high = shaping["min_sec"], shaping["max_sec"]
    screening = screen_options(**screened, station="book", min_seconds=low, max_seconds=high)
    options = book_options(**shaping)
    return ingest_book(audio, voice, out, options=options, screening=screening, **given)


if __name__ == "__main__":
    run_command(main)
