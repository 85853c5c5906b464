"""`ingest-transcript`: good lines become clips, every bad one is named, nothing outside is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tts_train.audio import Audio, read_audio, write_audio
from tts_train.dataset import load_manifest
from tts_train.errors import InputUnusable, UsageError
from tts_train.ingest.transcript import ingest_transcript

CARD = Path(__file__).resolve().parents[2] / "datasets/demo/dataset.yaml"
Readings = dict[str, tuple[Audio, str]]


@pytest.fixture
def folder(tmp_path: Path, readings: Readings) -> Path:
    """Three good clips in two folders, and a secret beside them."""
    clips = tmp_path / "clips"
    for name, item in (("a/one.wav", "bus"), ("b/one.wav", "hat"), ("b/two.flac", "park")):
        (clips / name).parent.mkdir(parents=True, exist_ok=True)
        write_audio(clips / name, readings[item][0])
    write_audio(tmp_path / "secret.wav", readings["smoke"][0])
    return clips


GOOD = [
    {"audio_file": "a/one.wav", "text": "The first."},
    {"audio_file": "b/one.wav", "text": "The second."},
    {"audio_file": "b/two.flac", "text": "The third."},
]


def ingest(folder: Path, lines: list[Any], **changes: Any) -> tuple[dict[str, Any], Path]:
    listed = folder.parent / "transcripts.jsonl"
    listed.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    out = folder.parent / "out"
    return ingest_transcript(folder, listed, out, voice="kumo", card=CARD, **{"max_rejected": 1.0, **changes}), out


def rejections(out: Path) -> dict[int, str]:
    rows = [json.loads(line) for line in (out / "rejections.jsonl").read_text().splitlines()]
    return {row["numbers"]["line"]: row["reason"] for row in rows}


def test_good_clips_are_taken_at_24_khz(folder: Path) -> None:
    result, out = ingest(folder, GOOD)

    clips = load_manifest(out / "train_manifest.jsonl")
    assert [(clip.id, clip.text, clip.language) for clip in clips] == [
        ("a-one", "The first.", "en-GB"),
        ("b-one", "The second.", "en-GB"),
        ("b-two", "The third.", "en-GB"),
    ]
    assert read_audio(out / clips[0].audio_file).rate == 24000
    assert (result["clips"], result["rejected"]) == (3, {})


def test_every_bad_line_has_its_number_and_reason(folder: Path, tmp_path: Path) -> None:
    (folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    (folder / "text.wav").write_text("this is no audio")
    write_audio(folder / "short.wav", Audio(np.full(4000, 0.1, np.float32), 16000))
    write_audio(folder / "silent.wav", Audio(np.zeros(40000, np.float32), 16000))
    tone = np.sin(np.linspace(0, 3000, 40000)).astype(np.float32)
    write_audio(folder / "loud.wav", Audio(np.clip(3 * tone, -1, 1), 16000))
    torn = (folder / "b/two.flac").read_bytes()
    (folder / "torn.flac").write_bytes(torn[: len(torn) // 2])
    (folder / "empty.wav").write_bytes(b"")
    bad = [
        ("not json", "bad-line"),
        ({"audio_file": "a/one.wav"}, "bad-line"),
        ({"audio_file": "../secret.wav", "text": "x y"}, "outside-folder"),
        ({"audio_file": str(tmp_path / "secret.wav"), "text": "x y"}, "outside-folder"),
        ({"audio_file": str(folder / "a/one.wav"), "text": "x y"}, "outside-folder"),
        ({"audio_file": "link.wav", "text": "x y"}, "outside-folder"),
        ({"audio_file": "a", "text": "x y"}, "outside-folder"),
        ({"audio_file": "missing.wav", "text": "x y"}, "outside-folder"),
        ({"audio_file": "text.wav", "text": "x y"}, "unreadable-audio"),
        ({"audio_file": "torn.flac", "text": "x y"}, "unreadable-audio"),
        ({"audio_file": "empty.wav", "text": "x y"}, "unreadable-audio"),
        ({"audio_file": "short.wav", "text": "x y"}, "too-short"),
        ({"audio_file": "silent.wav", "text": "x y"}, "silent"),
        ({"audio_file": "loud.wav", "text": "x y"}, "clipped"),
    ]

    result, out = ingest(folder, [*GOOD, *(line for line, _ in bad)])

    assert result["clips"] == 3
    assert rejections(out) == dict(enumerate((reason for _, reason in bad), 4))
    assert [item["line"] for item in result["bad_lines"]] == [4, 5]


def test_a_corrected_list_is_ingested_into_the_same_folder(folder: Path) -> None:
    ingest(folder, [*GOOD[:2], "oops"])
    result, out = ingest(folder, GOOD)

    assert result["clips"] == 3
    assert rejections(out) == {}
    assert ingest(folder, GOOD)[0]["text"].startswith("nothing left to do")


def test_a_clip_that_is_dropped_from_the_list_leaves_the_folder(folder: Path) -> None:
    ingest(folder, GOOD)
    _, out = ingest(folder, GOOD[:1])

    assert [path.name for path in (out / "clips").iterdir()] == ["a-one.flac"]


def test_only_bad_lines_fail_and_are_still_listed(folder: Path) -> None:
    with pytest.raises(InputUnusable, match="no clip is left"):
        ingest(folder, ["{", "[]"])

    assert rejections(folder.parent / "out") == {1: "bad-line", 2: "bad-line"}


def test_too_many_bad_lines_fail(folder: Path) -> None:
    with pytest.raises(InputUnusable, match="1 of 4 lines"):
        ingest(folder, [*GOOD, "{"], max_rejected=0.2)


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        ingest_transcript(tmp_path / "nowhere", tmp_path / "list.jsonl", tmp_path / "out")
