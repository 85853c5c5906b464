"""`ingest` on half a minute of the demo book with two chapters, with the packaged Whisper."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tts_train.audio import Audio, probe_source, read_audio, stream, write_audio
from tts_train.dataset import load_manifest
from tts_train.errors import ConfigError, InputUnusable
from tts_train.ingest import cut, parts, second_pass, speech
from tts_train.ingest.book import ingest_book
from tts_train.ingest.models import resolve_model
from tts_train.ingest.options import IngestOptions
from tts_train.ingest.speech import RATE, SpeechOptions, speech_probabilities, speech_spans
from tts_train.ingest.transcribe import Heard, Recogniser
from tts_train.quality.wer import word_errors

DEMO = Path(__file__).resolve().parents[2] / "datasets/demo"
EXCERPT_SECONDS = 14.0
OPTIONS = IngestOptions(part_seconds=8.0)


def write_m4b(path: Path, audio: Audio, border: float) -> None:
    """AAC with two chapters."""
    with av.open(str(path), "w", format="ipod") as container:
        track = container.add_stream("aac", rate=audio.rate, layout="mono", bit_rate=64_000)
        marks = [(0.0, border, "First"), (border, audio.seconds, "Second")]
        container.set_chapters(
            [
                {
                    "id": number,
                    "start": round(start * 1000),
                    "end": round(end * 1000),
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": title},
                }
                for number, (start, end, title) in enumerate(marks)
            ]
        )
        frame = av.AudioFrame.from_ndarray(audio.samples[None], format="fltp", layout="mono")
        frame.rate = audio.rate
        for packet in (*track.encode(frame), *track.encode(None)):
            container.mux(packet)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The openings of two chapters of the book, with a chapter mark right behind the speech before a pause."""
    info = probe_source(DEMO / "book.m4b")
    whole = read_audio(DEMO / "book.m4b")
    size = round(EXCERPT_SECONDS * whole.rate)
    starts = [round(chapter.start * whole.rate) for chapter in info.chapters[:2]]
    joined = Audio(np.concatenate([whole.samples[start : start + size] for start in starts]), whole.rate)
    probabilities, seconds = speech_probabilities([joined.at(RATE).samples])
    spans = speech_spans(probabilities, seconds, [], SpeechOptions())
    border = next(left.end for left, right in pairwise(spans) if left.end > 8 and right.start - left.end > 0.3) + 0.08
    path = tmp_path_factory.mktemp("source") / "Two Chapters.m4b"
    write_m4b(path, joined, border)
    return path


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("built") / "voice"
    return out, ingest_book(
        source, "kumo", out, card=DEMO / "dataset.yaml", options=OPTIONS, threads=2, max_rejected=0.5
    )


@pytest.fixture
def copy(built: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    shutil.copytree(built[0], tmp_path / "copy")
    return tmp_path / "copy"


def again(source: Path, out: Path, **changes: Any) -> dict[str, Any]:
    return ingest_book(source, "kumo", out, options=OPTIONS, threads=2, **{"max_rejected": 0.5, **changes})


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def everything(out: Path) -> dict[str, bytes]:
    """Bytes of all the files that are promised to be reproducible."""
    return {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.suffix in {".jsonl", ".flac"}
    }


class Deaf:
    """A recogniser that never hears a word, and counts how often it was asked."""

    asked = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        """As ears(): asked for once per part."""

    def detect_language(self, _: Audio) -> tuple[str, float]:
        return "en", 0.5

    def hear_all(self, audios: list[Audio]) -> list[Heard]:
        Deaf.asked += len(audios)
        return [Heard("", 0.0, 1.0, 0.0) for _ in audios]


def test_no_clip_crosses_the_chapter_border(source: Path, built: tuple[Path, dict[str, Any]]) -> None:
    out, result = built
    border = probe_source(source).chapters[1].start
    placed = rows(out / parts.MANIFEST) + rows(out / parts.REJECTIONS)

    assert result["chapters"] == ["First", "Second"]
    assert all(item["end"] <= border or item["start"] >= border for item in placed)
    assert min(border - item["end"] for item in placed if item["end"] <= border) < 0.1
    for clip in rows(out / parts.MANIFEST):
        assert clip["chapter"] == ("First" if clip["start"] < border else "Second")
        assert clip["measures"]["source_rate"] == probe_source(source).rate


def test_all_speech_is_in_the_manifest_or_rejected(built: tuple[Path, dict[str, Any]]) -> None:
    out, result = built
    spans = json.loads((out / "parts/speech-00000.json").read_text())["spans"]
    placed = rows(out / parts.MANIFEST) + rows(out / parts.REJECTIONS)
    ticks = np.zeros(round(2 * EXCERPT_SECONDS * 1000) + 1000, bool)
    for item in placed:
        ticks[round(item["start"] * 1000) : round(item["end"] * 1000)] = True

    lost = sum((~ticks[round(start * 1000) : round(end * 1000)]).sum() for start, end, _ in spans)

    assert lost <= 2 * len(spans)
    assert result["coverage"] > 0.999
    assert result["speech_seconds"] > 18
    assert result["accounted_seconds"] == pytest.approx(result["speech_seconds"], abs=0.05)


def test_texts_and_audio_belong_together(built: tuple[Path, dict[str, Any]]) -> None:
    """Against the true text up to where the excerpts stop, and each clip's length against its place."""
    out, result = built
    clips = load_manifest(out / parts.MANIFEST)
    truth = (DEMO / "book.txt").read_text().split("# ")[1:3]
    # A heading alone may be too short for a clip; its text is known all the same.
    placed = sorted([*rows(out / parts.MANIFEST), *rows(out / parts.REJECTIONS)], key=lambda row: row["start"])
    first = [row["text"] for row in placed if row["start"] < EXCERPT_SECONDS]
    second = [row["text"] for row in placed if row["start"] >= EXCERPT_SECONDS]

    assert result["clips"] == len(clips) >= 4
    for words, text in zip((first, second), truth, strict=True):
        said = " ".join(words)
        excerpt = " ".join(text.split()[: len(said.split())])
        assert word_errors(excerpt, said).wer < 0.25
    for clip in clips:
        audio = read_audio(out / clip.audio_file)
        assert audio.rate == 24000
        assert audio.seconds == pytest.approx(clip.end - clip.start, abs=0.002)
        assert 1.5 <= audio.seconds <= 10.5
        # A clip opens and closes in a pause: its first and last 20 ms are far below its speech.
        edges = np.concatenate([audio.samples[:480], audio.samples[-480:]])
        assert np.sqrt(np.mean(edges**2)) < 0.1 * np.abs(audio.samples).max()


def test_an_interrupted_build_resumes_to_the_same_bytes(
    source: Path, built: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "voice"
    saved = parts.save_part
    calls = iter(range(10))

    def stop_at_second(*arguments: Any) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt
        saved(*arguments)

    monkeypatch.setattr(parts, "save_part", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        again(source, out, card=DEMO / "dataset.yaml")
    assert not (out / parts.MANIFEST).exists()
    monkeypatch.setattr(parts, "save_part", saved)

    result = again(source, out)

    assert result["parts"]["worked_now"] == result["parts"]["all"] - 1
    assert everything(out) == everything(built[0])


def test_a_finished_build_has_nothing_left_to_do(source: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_pass, "ears", None)
    before = everything(copy)

    result = again(source, copy)

    assert result["text"].startswith("nothing left to do")
    assert everything(copy) == before


@pytest.mark.parametrize("damage", ["receipt", "clip"])
def test_only_the_damaged_part_is_made_again(
    source: Path, copy: Path, damage: str, built: tuple[Path, dict[str, Any]]
) -> None:
    if damage == "receipt":
        (copy / "parts/part-00001.json").unlink()
    else:
        clip = max((copy / "clips").iterdir())
        clip.write_bytes(clip.read_bytes()[:-100])
    (copy / "clips/.tmp-left.flac.1").write_bytes(b"torn")

    result = again(source, copy)

    assert result["parts"]["worked_now"] == 1
    assert everything(copy) == everything(built[0])


def test_too_many_rejections_fail_with_everything_kept(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_pass, "ears", Deaf)
    monkeypatch.setattr(Deaf, "asked", 0)
    out = tmp_path / "voice"

    with pytest.raises(InputUnusable, match="no clip is left") as caught:
        again(source, out, card=DEMO / "dataset.yaml")

    assert caught.value.exit_code == 65
    rejected = rows(out / parts.REJECTIONS)
    assert len(rejected) > 3
    assert {item["reason"] for item in rejected} == {"no-speech-text"}
    assert len(rejected) == Deaf.asked
    assert all(read_audio(out / item["audio_file"]).seconds > 0 for item in rejected)


def test_another_option_makes_the_parts_again_and_leaves_nothing_behind(
    source: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_pass, "ears", Deaf)

    with pytest.raises(InputUnusable):
        ingest_book(source, "kumo", copy, options=IngestOptions(part_seconds=20.0))

    named = {item["audio_file"] for item in rows(copy / parts.REJECTIONS)}
    assert {f"rejected/{path.name}" for path in (copy / "rejected").iterdir()} == named
    assert not list((copy / "clips").iterdir())


def test_a_folder_of_another_source_and_a_missing_card_are_refused(source: Path, copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was built from"):
        again(DEMO / "book.m4b", copy)
    with pytest.raises(ConfigError, match=r"dataset\.yaml"):
        again(source, tmp_path / "bare")


def test_a_cut_file_is_refused_before_any_work(source: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.flac"
    write_audio(torn, read_audio(source))
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])

    with pytest.raises(InputUnusable):
        again(torn, tmp_path / "out", card=DEMO / "dataset.yaml")
    assert not (tmp_path / "out" / parts.MANIFEST).exists()


def test_dry_run_writes_nothing(source: Path, tmp_path: Path) -> None:
    plan = again(source, tmp_path / "out", dry_run=True)

    assert plan["chapters"] == ["First", "Second"]
    assert [(row["number"], row["title"]) for row in plan["sources"][0]["chapters"]] == [(1, "First"), (2, "Second")]
    assert "Second" in plan["text"]
    assert not (tmp_path / "out").exists()


def test_speech_does_not_depend_on_the_block_size(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blocks(seconds: float) -> Iterator[np.ndarray]:
        return stream(source, RATE, seconds)

    whole, seconds = speech_probabilities(blocks(600.0))
    monkeypatch.setattr(speech, "_BLOCK_WINDOWS", 50)
    pieces, same = speech_probabilities(blocks(0.7))

    assert seconds == same == pytest.approx(2 * EXCERPT_SECONDS, abs=0.1)
    np.testing.assert_allclose(whole, pieces, atol=1e-5)


def test_texts_do_not_depend_on_the_number_of_threads(built: tuple[Path, dict[str, Any]]) -> None:
    out, _ = built
    clips = [read_audio(out / clip.audio_file) for clip in load_manifest(out / parts.MANIFEST)[:2]]

    alone, both = (Recogniser(resolve_model(), "en", threads=threads).hear_all(clips) for threads in (1, 2))

    assert alone == both


def test_two_processes_make_the_same_dataset_as_one(
    source: Path, built: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    result = again(source, tmp_path / "voice", card=DEMO / "dataset.yaml", jobs=2)

    assert result["parts"]["worked_now"] == result["parts"]["all"] > 2
    assert everything(tmp_path / "voice") == everything(built[0])


def test_windows_are_slices_of_the_source(source: Path) -> None:
    whole = read_audio(source)
    ranges = [(0.5, 3.0), (2.5, 11.0), (11.5, 12.0), (25.0, 99.0)]

    for (start, end), window in zip(ranges, cut.windows(source, ranges, whole.rate), strict=True):
        expected = whole.samples[round(start * whole.rate) : round(end * whole.rate)]
        np.testing.assert_array_equal(window.samples, expected)
