"""`align`: words for a manifest, what cannot be aligned, and which aligner does it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tts_train.align import align_manifest, choose_aligner
from tts_train.align import manifest as work
from tts_train.audio import Audio, write_audio
from tts_train.clip import Clip, Rejection
from tts_train.dataset import write_manifest, write_rejections
from tts_train.errors import InputUnusable, Unavailable, UsageError
from tts_train.workspace import skill_root

Readings = dict[str, tuple[Audio, str]]
ITEMS = ("bus", "coffee", "hat", "park", "smoke", "ticket")


@pytest.fixture
def manifest(tmp_path: Path, readings: Readings) -> Path:
    """Six clips, one ("park") with the text of another, and one older rejection of ingest."""
    clips = []
    for name in ITEMS:
        audio, text = readings[name]
        write_audio(tmp_path / f"clips/{name}.flac", audio)
        wrong = readings["hook"][1]
        clips.append(
            Clip(
                name,
                f"clips/{name}.flac",
                wrong if name == "park" else text,
                "kumo",
                "en-GB",
                round(audio.seconds, 4),
                "book",
                0.0,
                audio.seconds,
            )
        )
    write_manifest(tmp_path / "train_manifest.jsonl", clips)
    write_rejections(
        tmp_path / "rejections.jsonl", [Rejection("old", "too-short", "", "book", 0.0, 0.5, "", {"step": "ingest"})]
    )
    return tmp_path / "train_manifest.jsonl"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_words_are_added_and_the_wrong_text_is_rejected(manifest: Path, readings: Readings) -> None:
    result = align_manifest(manifest)

    aligned = {row["id"]: row for row in rows(manifest.with_name("train_aligned.jsonl"))}
    assert sorted(aligned) == sorted(set(ITEMS) - {"park"})
    assert [word["word"] for word in aligned["bus"]["words"]] == readings["bus"][1].replace(",", "").rstrip(".").split()
    assert aligned["bus"]["text"] == readings["bus"][1]
    assert {"word", "start", "end", "score"} == set(aligned["bus"]["words"][0])
    rejected = {row["id"]: row["reason"] for row in rows(manifest.with_name("rejections.jsonl"))}
    assert rejected["old"] == "too-short"
    assert rejected["park"] in {"text-does-not-fit", "alignment-failed"}
    assert (result["clips"], result["aligner"], sum(result["rejected"].values())) == (5, "pocketsphinx", 1)


def test_the_command_renews_the_page(manifest: Path) -> None:
    script = skill_root() / "scripts/align.py"
    ended = subprocess.run([sys.executable, "-P", script, manifest.parent], capture_output=True, text=True, check=False)

    answer = json.loads(ended.stdout)
    assert answer["ok"], answer
    page = Path(answer["result"]["report"]).read_text()
    assert "text-does-not-fit" in page or "alignment-failed" in page


def test_it_resumes_and_ends_with_nothing_left_to_do(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PART_CLIPS", 2)
    align_manifest(manifest)
    results = [manifest.with_name(name) for name in ("train_aligned.jsonl", "rejections.jsonl")]
    before = [path.read_bytes() for path in results]
    (manifest.parent / "parts/align-00001.json").unlink()
    results[0].unlink()

    align_manifest(manifest)
    monkeypatch.setattr(work, "load_aligner", None)
    result = align_manifest(manifest)

    assert [path.read_bytes() for path in results] == before
    assert result["text"].startswith("nothing left to do")


def test_a_folder_and_several_jobs_give_the_same_bytes(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PART_CLIPS", 2)
    outputs = []
    for jobs, given in ((1, manifest), (2, manifest.parent)):
        align_manifest(given, jobs=jobs)
        named = sorted(manifest.parent.rglob("*.json*"))
        outputs.append({path.name: path.read_bytes() for path in named})
        for path in named:
            if path.name.startswith(("align-", "train_aligned")):
                path.unlink()

    assert outputs[0].keys() >= {"align-00002.json", "train_aligned.jsonl", "rejections.jsonl"}
    assert outputs[0] == outputs[1]


def test_rows_of_other_steps_stay(manifest: Path) -> None:
    screened = Rejection("loud", "clipped", "", "book", 1.0, 2.0, "", {"step": "screen"})
    place = manifest.with_name("rejections.jsonl")
    write_rejections(place, [*work.rejections_of(place, "ingest"), screened])

    align_manifest(manifest)

    assert {"old", "loud", "park"} == {row["id"] for row in rows(place)}


def test_too_much_rejected_fails_with_everything_written(manifest: Path) -> None:
    with pytest.raises(InputUnusable):
        align_manifest(manifest, max_rejected=0.05)

    assert len(rows(manifest.with_name("train_aligned.jsonl"))) == 5


def test_the_choice_of_aligner() -> None:
    assert choose_aligner("auto", None, "en-GB").name == "pocketsphinx"
    assert choose_aligner("auto", "some/model", "en").name == "whisperx"
    with pytest.raises(Unavailable, match="English only"):
        choose_aligner("auto", None, "de")
    with pytest.raises(UsageError, match="--model"):
        choose_aligner("whisperx", None, "en")
    with pytest.raises(UsageError):
        choose_aligner("pocketsphinx", "some/model", "en")


def test_output_elsewhere_is_refused(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="beside"):
        align_manifest(manifest, tmp_path / "other" / "aligned.jsonl")
