"""ingest: an audiobook becomes a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command


@click.command("ingest")
@click.argument("audio", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("voice")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--card", type=click.Path(path_type=Path, dir_okay=False), help="dataset.yaml to copy into OUT.")
@click.option("--model", help="Whisper: folder, whisper-base (packaged) or hub name  [default: whisper-base]")
@click.option("--compute-type", default="int8", show_default=True, help="CTranslate2's number type.")
@click.option("--beam", type=click.IntRange(1, 10), default=5, show_default=True, help="1 is a little faster.")
@click.option("--language", help="Spoken language  [default: the card's]")
@click.option("--max-gap", default=0.5, show_default=True, help="Join speech across pauses up to this, seconds.")
@click.option("--target-min", default=2.0, show_default=True, help="Joined clips are at least this long if possible.")
@click.option("--target-max", default=10.0, show_default=True, help="Joined clips are at most this long.")
@click.option("--min-sec", default=1.0, show_default=True, help="Shorter clips are rejected.")
@click.option("--max-sec", default=15.0, show_default=True, help="Longer clips (speech without a pause) are rejected.")
@click.option("--vad-threshold", type=click.FloatRange(0.05, 0.95), default=0.5, show_default=True)
@click.option("--threads", default=0, help="CPU threads  [default: all, 8 at most]")
@click.option(
    "--max-rejected", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of the speech."
)
@click.option("--dry-run", is_flag=True, help="Say what it is and what it will cost.")
def main(audio: Path, voice: str, out: Path, **given: Any) -> dict[str, Any]:
    """Cut AUDIO (m4b, m4a, mp3, flac, opus, wav) at its pauses into clips of VOICE with texts, in the folder OUT.

    OUT gets train_manifest.jsonl, clips/ (24 kHz FLAC) and rejections.jsonl with a reason and a playable clip for all
    speech that is left out. Run it again to go on after a stop.

    \b
    Example: run.sh ingest book.m4b ann datasets/ann --card ann.yaml
             run.sh ingest book.m4b ann datasets/ann --dry-run --human
    Exit codes: 0 done · 2 usage · 65 unreadable, or too much rejected (all is kept) · 69 no model · 75 busy · 78 card
    """
    from tts_train.ingest.book import ingest_book
    from tts_train.ingest.options import book_options

    plain = {name: given.pop(name) for name in ("card", "model", "language", "threads", "max_rejected", "dry_run")}
    return ingest_book(audio, voice, out, options=book_options(**given), **plain)


if __name__ == "__main__":
    run_command(main)
