"""SIGKILL at I/O calls of an ingest, then the same again: the same dataset, byte by byte, nothing torn or left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import kills
from tts_train.audio import Audio, read_audio, write_audio
from tts_train.ingest.book import ingest_book
from tts_train.ingest.options import IngestOptions
from tts_train.ingest.screen.options import Filter, ScreenOptions
from tts_train.ingest.speech import RATE, SpeechOptions, speech_probabilities, speech_spans

pytestmark = pytest.mark.faults

DEMO = Path(__file__).resolve().parents[2] / "datasets/demo"
SECONDS = 12.0


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of the demo book, and a text for each stretch of speech."""
    folder = tmp_path_factory.mktemp("shelf")
    whole = read_audio(DEMO / "book.m4b")
    audio = Audio(whole.samples[: round(SECONDS * whole.rate)], whole.rate)
    write_audio(folder / "book.flac", audio)
    probabilities, seconds = speech_probabilities([audio.at(RATE).samples])
    rows = [
        {"start": span.start, "end": span.end, "text": f"Text {index}."}
        for index, span in enumerate(speech_spans(probabilities, seconds, [], SpeechOptions()))
    ]
    (folder / "segments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def build(shelf: Path, out: Path) -> None:
    ingest_book(
        shelf / "book.flac",
        "kumo",
        out,
        card=DEMO / "dataset.yaml",
        segments=shelf / "segments.jsonl",
        options=IngestOptions(part_seconds=4.0),
        screening=ScreenOptions((Filter("duration", 0.8, 15.0),)),
        threads=1,
        max_rejected=1.0,
    )


def everything(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_an_ingest_killed_at_any_io_call_ends_with_the_same_dataset(shelf: Path, tmp_path: Path) -> None:
    status, calls = kills.in_child(lambda: build(shelf, tmp_path / "whole/ann"))
    assert os.waitstatus_to_exitcode(status) == 0
    expected = everything(tmp_path / "whole/ann")
    assert len(expected) > 12
    assert calls > 80

    for number in kills.points(1, calls):
        out = tmp_path / f"killed-{number}/ann"
        status, _ = kills.in_child(lambda out=out: build(shelf, out), crash_at=number)  # type: ignore[misc]
        assert os.waitstatus_to_exitcode(status) == -9, number

        status, _ = kills.in_child(lambda out=out: build(shelf, out))  # type: ignore[misc]

        assert os.waitstatus_to_exitcode(status) == 0, number
        assert everything(out) == expected, number
