"""`ingest` on three minutes of a studio voice with known texts: an m4b with eight chapters, whole, with Whisper base.

The whole book of 28 minutes is benchmarks/ingest.py's; this takes every ninth prompt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import asterisk
from tts_train.audio import probe_source
from tts_train.ingest.book import ingest_book
from tts_train.quality.wer import total, word_errors

CARD = "source: prompts\nlicence: CC-BY-SA-3.0\nspeaker: Allison Smith\nconsent_basis: licensed\nlanguage: en-US\n"
OVERLAP = 0.1
"""Seconds that a clip and a prompt must share to have to do with one another; cuts lie in the pauses between."""


@dataclass(frozen=True)
class Made:
    """A book, what is said where in it, and the dataset made of it."""

    book: Path
    placed: list[asterisk.Placed]
    out: Path
    result: dict[str, Any]

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / f"{name}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("studio")
    card = folder / "dataset.yaml"
    card.write_text(CARD)
    placed = asterisk.write_book(folder / "book.m4b", asterisk.require()[4::9], chapters=8)
    out = folder / "dataset"
    result = ingest_book(folder / "book.m4b", "allison", out, card=card, language="en", max_rejected=1.0)
    return Made(folder / "book.m4b", placed, out, result)


def matched(
    placed: Sequence[asterisk.Placed], rows: Sequence[dict[str, Any]]
) -> list[tuple[list[asterisk.Placed], list[dict[str, Any]]]]:
    """The smallest stretches of the book that cut neither a prompt nor a clip in two: (prompts, rows) of each."""
    ends = [item.end for item in placed] + [row["end"] for row in rows]
    lengths = [(item.start, item.end) for item in placed] + [(row["start"], row["end"]) for row in rows]
    whole = [end for end in sorted(ends) if not any(left + OVERLAP < end < right - OVERLAP for left, right in lengths)]
    borders = [0.0, *whole, float("inf")]
    found = []
    for start, end in pairwise(borders):
        prompts = [item for item in placed if start - OVERLAP <= item.start < end - OVERLAP]
        clips = [row for row in rows if start - OVERLAP <= row["start"] < end - OVERLAP]
        if prompts or clips:
            found.append((prompts, clips))
    return found


def test_the_kept_clips_say_what_the_texts_say(made: Made) -> None:
    kept = [{**row, "kept": True} for row in made.rows("train_manifest")]
    rejected = [{**row, "kept": False} for row in made.rows("rejections")]
    rows = sorted((*kept, *rejected), key=lambda row: row["start"])

    stretches = matched(made.placed, rows)
    good = [(prompts, clips) for prompts, clips in stretches if clips and all(row["kept"] for row in clips)]
    errors = total(
        [
            word_errors(" ".join(item.prompt.text for item in prompts), " ".join(row["text"] for row in clips))
            for prompts, clips in good
        ]
    )

    assert errors.words > 250
    assert errors.wer < 0.06, errors


def test_no_clip_crosses_a_chapter(made: Made) -> None:
    chapters = {chapter.title: chapter for chapter in probe_source(made.book).chapters}
    rows = [*made.rows("train_manifest"), *made.rows("rejections")]

    assert {row.get("chapter") or row["numbers"]["chapter"] for row in rows} == set(chapters)
    for row in rows:
        chapter = chapters[row.get("chapter") or row["numbers"]["chapter"]]
        assert chapter.start <= row["start"] < row["end"] <= chapter.end


def test_all_speech_is_accounted_for(made: Made) -> None:
    said = sum(item.end - item.start for item in made.placed)

    assert made.result["coverage"] >= 0.99
    assert made.result["accounted_seconds"] >= 0.99 * made.result["speech_seconds"]
    # The recordings begin and end with a little silence, so less than all of them is speech.
    assert 0.75 * said <= made.result["speech_seconds"] <= said + 0.1 * len(made.placed)


def test_little_is_rejected_and_only_what_is_short(made: Made) -> None:
    """Isolated words of half a second are too short to train on; nothing else of a studio voice goes."""
    seconds = sum(row["audio_seconds"] for row in made.rows("train_manifest"))
    lost = {reason: count for reason, count in made.result["rejected"].items() if reason != "too-short"}

    assert seconds > 0.85 * made.result["speech_seconds"]
    assert sum(lost.values()) <= 2, lost
