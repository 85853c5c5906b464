"""`ingest` of several files, chosen chapters, given segments, another loudness: all without recognition, so quick.

The recordings are tones with pauses (Silero hears none of it) or the demo book's speech with segments for texts.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest

from tts_train.audio import Audio, probe_source, read_audio, write_audio
from tts_train.dataset import load_manifest
from tts_train.errors import InputUnusable, TtsTrainError, UsageError
from tts_train.ingest import parts, second_pass
from tts_train.ingest.book import ingest_book
from tts_train.ingest.loudness import integrated_loudness, louder
from tts_train.ingest.options import IngestOptions
from tts_train.ingest.screen.options import ScreenOptions
from tts_train.ingest.speech import RATE, SpeechOptions, speech_probabilities, speech_spans

DEMO = Path(__file__).resolve().parents[2] / "datasets/demo"
SECONDS = 12.0
OPTIONS = IngestOptions(part_seconds=6.0)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three "mp3 chapters" of 12 s each (as FLAC), the second one 10 dB louder, and segments at their pauses."""
    folder = tmp_path_factory.mktemp("shelf")
    whole = read_audio(DEMO / "book.m4b")
    size = round(SECONDS * whole.rate)
    rows = []
    for number, chapter in enumerate(probe_source(DEMO / "book.m4b").chapters[:3]):
        first = round(chapter.start * whole.rate)
        samples = whole.samples[first : first + size]
        gain = 10 ** (10 / 20) if number == 1 else 1.0
        audio = Audio(np.clip(samples * np.float32(gain * 0.3), -1, 1), whole.rate)
        name = f"{number + 9} Part.flac"
        write_audio(folder / "book" / name, audio)
        probabilities, seconds = speech_probabilities([audio.at(RATE).samples])
        for index, span in enumerate(speech_spans(probabilities, seconds, [], SpeechOptions())):
            rows.append({"source": name, "start": span.start, "end": span.end, "text": f"Text {number} {index}."})
    (folder / "segments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def build(shelf: Path, out: Path, **changes: Any) -> dict[str, Any]:
    given = {"options": OPTIONS, "segments": shelf / "segments.jsonl", "threads": 1, "max_rejected": 1.0}
    return ingest_book(shelf / "book", "kumo", out, card=DEMO / "dataset.yaml", **{**given, **changes})


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def everything(out: Path) -> dict[str, bytes]:
    kinds = {".jsonl", ".flac", ".json", ".html"}
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.suffix in kinds}


def test_a_folder_of_chapters_becomes_one_dataset(shelf: Path, tmp_path: Path) -> None:
    result = build(shelf, tmp_path / "out")
    clips = load_manifest(tmp_path / "out" / parts.MANIFEST)

    assert result["sources"] == ["9 Part.flac", "10 Part.flac", "11 Part.flac"]
    assert result["chapters"] == ["9 Part", "10 Part", "11 Part"]
    assert {clip.source for clip in clips} == set(result["sources"])
    assert {(clip.source, clip.chapter, clip.id[:12]) for clip in clips} == {
        ("9 Part.flac", "9 Part", "9-part-c001-"),
        ("10 Part.flac", "10 Part", "10-part-c002"),
        ("11 Part.flac", "11 Part", "11-part-c003"),
    }
    assert result["model"] is None
    assert result["coverage"] > 0.99
    assert result["accounted_seconds"] == pytest.approx(result["speech_seconds"], rel=0.01)
    receipts = [json.loads(path.read_text()) for path in sorted((tmp_path / "out/parts").glob("speech-*.json"))]
    assert [receipt["source"] for receipt in receipts] == result["sources"]
    assert [chapter["index"] for receipt in receipts for chapter in receipt["chapters"]] == [1, 2, 3]
    for key in ("clips", "audio_seconds", "speech_seconds", "rejected", "manifest", "report", "peak_rss_mib"):
        assert key in result


def test_each_segment_is_a_clip_with_its_text_and_place(shelf: Path, tmp_path: Path) -> None:
    build(shelf, tmp_path / "out")
    placed = {row["text"]: row for row in rows(tmp_path / "out" / parts.MANIFEST)}
    placed |= {row["text"]: row for row in rows(tmp_path / "out" / parts.REJECTIONS)}
    segments = rows(shelf / "segments.jsonl")

    assert set(placed) == {segment["text"] for segment in segments}
    for segment in segments:
        row = placed[segment["text"]]
        assert row["source"] == segment["source"]
        assert row["start"] == pytest.approx(segment["start"], abs=0.21)
        assert row["end"] == pytest.approx(segment["end"], abs=0.21)
        recorded = read_audio(shelf / "book" / row["source"])
        expected = recorded.samples[round(row["start"] * recorded.rate) : round(row["end"] * recorded.rate)]
        cut = read_audio(tmp_path / "out" / row["audio_file"])
        assert cut.rate == recorded.rate == 24_000
        # Rounding may move it by a sample.
        assert np.corrcoef(cut.samples, expected)[0, 1] > 0.95
    for source in {row["source"] for row in placed.values()}:
        own = sorted((row["start"], row["end"]) for row in placed.values() if row["source"] == source)
        assert all(left[1] <= right[0] + 0.001 for left, right in pairwise(own))


def test_two_jobs_write_the_same_bytes_as_one(shelf: Path, tmp_path: Path) -> None:
    one = build(shelf, tmp_path / "one/ann")
    two = build(shelf, tmp_path / "two/ann", jobs=2)

    assert everything(tmp_path / "two") == everything(tmp_path / "one")
    assert one["parts"] == two["parts"]
    assert one["parts"]["worked_now"] > 4
    assert two["peak_rss_mib"] > one["peak_rss_mib"]


def test_a_stopped_build_goes_on_with_more_jobs_to_the_same_bytes(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(shelf, tmp_path / "whole/ann")
    saved, calls = parts.save_part, iter(range(100))

    def stop_at_third(*arguments: Any) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        saved(*arguments)

    monkeypatch.setattr(parts, "save_part", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        build(shelf, tmp_path / "out/ann")
    monkeypatch.setattr(parts, "save_part", saved)
    again = build(shelf, tmp_path / "out/ann", jobs=2)

    assert again["parts"]["worked_now"] == again["parts"]["all"] - 2
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_chosen_chapters_are_read_and_the_others_are_skipped_not_lost(shelf: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = build(shelf, out)
    before = everything(out)

    some = build(shelf, out, chapters="1,3")
    clips = load_manifest(out / parts.MANIFEST)

    assert {clip.chapter for clip in clips} == {"9 Part", "11 Part"}
    assert some["parts"]["worked_now"] == 0
    assert some["speech_seconds"] == whole["speech_seconds"]
    assert some["skipped_seconds"] > 5
    assert some["coverage"] == pytest.approx(whole["coverage"], abs=0.01)
    assert set(json.loads((out / "parts/skipped.json").read_text())) == {"10 Part.flac"}
    assert not [path for path in (out / "clips").iterdir() if path.name.startswith("10-part")]
    assert build(shelf, out)["skipped_seconds"] == 0
    assert everything(out) == before
    with pytest.raises(UsageError, match="no chapter 4"):
        build(shelf, out, chapters="4")


def test_credits_at_both_ends_are_in_no_clip(shelf: Path, tmp_path: Path) -> None:
    result = build(shelf, tmp_path / "out", skip_first=3.0, skip_last=2.5)
    places = rows(tmp_path / "out" / parts.MANIFEST) + rows(tmp_path / "out" / parts.REJECTIONS)

    assert len({row["source"] for row in places}) == 3
    for row in places:
        # A clip may open in the pause before its speech.
        assert row["start"] >= 3.0 - 0.2
        assert row["end"] <= SECONDS - 2.5 + 0.2
    assert result["skipped_seconds"] > 3
    assert result["coverage"] > 0.98
    assert not list((tmp_path / "out/rejected").glob("*"))


def test_one_torn_file_is_a_rejection_and_the_others_become_clips(shelf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "book"
    folder.mkdir()
    for path in (shelf / "book").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    torn = folder / "10 Part.flac"
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    (folder / "12 Part.mp3").write_bytes(b"")

    result = ingest_book(
        folder, "kumo", tmp_path / "out", card=DEMO / "dataset.yaml", options=OPTIONS, max_rejected=0.6,
        segments=shelf / "segments.jsonl", threads=1,
    )  # fmt: skip
    rejected = {row["source"]: row for row in rows(tmp_path / "out" / parts.REJECTIONS) if row["audio_file"] == ""}

    assert result["sources"] == ["9 Part.flac", "11 Part.flac"]
    assert {"10 Part.flac", "12 Part.mp3"} <= set(rejected)
    assert rejected["10 Part.flac"]["audio_seconds"] == pytest.approx(SECONDS, abs=0.1)
    assert rejected["10 Part.flac"]["numbers"]["message"]
    # Lines of the list that belong to the torn file have their reason, too.
    assert result["rejected"]["unknown-source"] > 2


def test_a_list_that_is_mostly_bad_fails_with_everything_kept(shelf: Path, tmp_path: Path) -> None:
    lines = (shelf / "segments.jsonl").read_text().splitlines()
    (tmp_path / "s.jsonl").write_text("\n".join([*lines, *["nonsense"] * len(lines)]))

    with pytest.raises(InputUnusable, match=f"{len(lines)} lines .* limit is 40%"):
        build(shelf, tmp_path / "out", segments=tmp_path / "s.jsonl", max_rejected=0.4, screening=ScreenOptions())

    assert len(rows(tmp_path / "out" / parts.REJECTIONS)) == len(lines)
    assert len(load_manifest(tmp_path / "out" / parts.MANIFEST)) == len(lines)


def test_loudness_moves_each_file_to_the_target_and_never_clips(shelf: Path, tmp_path: Path) -> None:
    plain, changed = tmp_path / "plain", tmp_path / "changed"
    build(shelf, plain)
    build(shelf, changed, options=IngestOptions(part_seconds=6.0, loudness=-20.0))
    before = {row["id"]: row for row in rows(plain / parts.MANIFEST)}
    after = rows(changed / parts.MANIFEST)

    gains: dict[str, set[float]] = {}
    for row in after:
        gain = row["measures"]["gain_db"]
        gains.setdefault(row["source"], set()).add(gain)
        assert row["measures"]["peak_dbfs"] <= -0.9
        was = before[row["id"]]["measures"]
        assert row["measures"]["rms_dbfs"] - was["rms_dbfs"] == pytest.approx(gain, abs=0.05)
        assert row["measures"]["clipped_ratio"] == was["clipped_ratio"]
    receipts = [json.loads(path.read_text()) for path in sorted((changed / "parts").glob("speech-*.json"))]
    for receipt in receipts:
        assert max(gains[receipt["source"]]) == pytest.approx(-20.0 - receipt["lufs"], abs=0.02)
    assert receipts[1]["lufs"] - receipts[0]["lufs"] > 6


def test_streamed_loudness_is_that_of_the_whole_file() -> None:
    audio = read_audio(DEMO / "book.m4b")
    expected = pyloudnorm.Meter(audio.rate).integrated_loudness(audio.samples.astype(np.float64))

    blocks = (audio.samples[start : start + 50_001] for start in range(0, len(audio.samples), 50_001))

    assert integrated_loudness(blocks, audio.rate) == pytest.approx(expected, abs=0.02)
    assert integrated_loudness([np.zeros(48_000, np.float32)], 24_000) is None
    assert integrated_loudness([], 24_000) is None


def test_a_gain_stops_below_full_scale() -> None:
    quiet = Audio(np.full(100, 0.1, np.float32), 24_000)

    assert louder(quiet, 6.0)[1] == 6.0
    lifted, gain = louder(quiet, 40.0)
    assert gain == pytest.approx(19.0)
    assert np.abs(lifted.samples).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)
    assert louder(Audio(np.zeros(9, np.float32), 24_000), 5.0)[1] == 5.0


class Frenchman:
    """Ears that hear French everywhere, and count."""

    asked = 0

    def __init__(self, *_: Any) -> None:
        pass

    def detect_language(self, audio: Audio) -> tuple[str, float]:
        assert 1 < audio.seconds <= 20
        assert audio.rate == 16_000
        Frenchman.asked += 1
        return "fr", 0.97

    def hear_all(self, audios: list[Audio]) -> list[Any]:
        raise AssertionError(f"{len(audios)} clips of work before the language was clear")


def test_a_book_in_another_language_is_refused_before_the_work(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_pass, "ears", Frenchman)
    monkeypatch.setattr(Frenchman, "asked", 0)

    for _ in range(2):
        with pytest.raises(InputUnusable, match="en-GB, but 5 of 5 places in the book speak fr") as caught:
            build(shelf, tmp_path / "out", segments=None)
    assert "--language fr" in caught.value.hint
    assert Frenchman.asked == 5, "what was heard is kept"
    with pytest.raises(TtsTrainError, match="clips of work"):
        build(shelf, tmp_path / "out", segments=None, language="fr")
