"""Rejections listed and taken back, in the core environment: from receipts, without audio."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tts_train.clip import Clip, Rejection
from tts_train.errors import ConfigError, UsageError
from tts_train.files import sha256_file
from tts_train.ingest import parts
from tts_train.ingest.finish import Screened, finalise, save_screened
from tts_train.ingest.screen.options import Filter, ScreenOptions
from tts_train.ingest.take_back import list_rejections, take_back

CARD = "source: s\nlicence: CC0-1.0\nspeaker: Ann\nconsent_basis: own voice\nlanguage: en\n"


def clip(name: str, **measures: Any) -> Clip:
    return Clip(name, f"clips/{name}.flac", f"text of {name}", "ann", "en", 3.0, "book.m4b", 0.0, 3.0, "One", measures)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two good clips, a noisy one; a station's rejection with audio and text, one without text, and a bad line."""
    out = tmp_path / "ann"
    (out / "clips").mkdir(parents=True)
    (out / "rejected").mkdir()
    (out / "dataset.yaml").write_text(CARD)
    part = parts.Part([clip("a", snr_db=40), clip("b", snr_db=40), clip("noise", snr_db=9)])
    doubted = {"step": "ingest", "chapter": "One", "log_probability": -1.4}
    rows = [
        ("doubt", "low-confidence", "what was said in 1984", "rejected/doubt.flac", doubted),
        ("mute", "no-speech-text", "", "rejected/mute.flac", {"step": "ingest"}),
        ("line-000007", "bad-line", "", "", {"step": "ingest", "line": 7}),
    ]
    for name, reason, text, file, numbers in rows:
        part.rejections.append(Rejection(name, reason, text, "book.m4b", 3.0, 5.5, file, numbers))
    for file in [item.audio_file for item in [*part.clips, *part.rejections] if item.audio_file]:
        (out / file).write_bytes(b"sound")
        part.files[file] = sha256_file(out / file)
    parts.save_part(out, "part-00000", "key", part)
    screened = Screened(ScreenOptions((Filter("snr", 15.0, None),)), {"a": {"mos": 4.2}}, [])
    save_screened(out, screened)
    finalise(out, parts.all_parts(out), screened)
    return out


def manifest(dataset: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in map(json.loads, (dataset / "train_manifest.jsonl").read_text().splitlines())}


def test_rejections_are_listed_with_their_reasons(dataset: Path) -> None:
    found = list_rejections(dataset)
    assert found["reasons"] == {"bad-line": 1, "low-confidence": 1, "no-speech-text": 1, "noisy": 1}
    only = list_rejections(dataset, "noisy")
    assert [row["id"] for row in only["rejections"]] == ["noise"]
    assert "snr 9" in only["text"]
    with pytest.raises(UsageError, match="nothing was rejected as 'loud'"):
        list_rejections(dataset, "loud")


def test_a_filtered_clip_and_a_doubted_text_come_back_whole(dataset: Path) -> None:
    take_back(dataset, ["noise", "doubt"])
    kept = manifest(dataset)
    assert kept.keys() == {"a", "b", "noise", "doubt"}
    assert kept["a"]["measures"]["mos"] == 4.2
    assert kept["noise"]["measures"]["restored"] == "noisy"
    doubt = kept["doubt"]
    assert (doubt["text"], doubt["audio_file"]) == ("what was said in 1984", "rejected/doubt.flac")
    assert (doubt["speaker"], doubt["language"], doubt["chapter"]) == ("ann", "en", "One")
    assert (doubt["audio_seconds"], doubt["start"], doubt["end"]) == (2.5, 3.0, 5.5)
    assert doubt["measures"]["log_probability"] == -1.4
    assert doubt["measures"]["restored"] == "low-confidence"
    assert "step" not in doubt["measures"]
    assert list_rejections(dataset)["reasons"] == {"bad-line": 1, "no-speech-text": 1}


def test_undo_leaves_it_to_the_filters_again(dataset: Path) -> None:
    before = (dataset / "train_manifest.jsonl").read_bytes()
    take_back(dataset, ["noise"])
    take_back(dataset, ["noise"], undo=True)
    assert (dataset / "train_manifest.jsonl").read_bytes() == before
    with pytest.raises(UsageError, match="'noise' was not taken back"):
        take_back(dataset, ["noise"], undo=True)


def test_twice_is_once(dataset: Path) -> None:
    take_back(dataset, ["noise"])
    assert take_back(dataset, ["noise"])["changed"] is False


def test_what_cannot_come_back_is_named_all_at_once_and_nothing_changes(dataset: Path) -> None:
    rows = (dataset / "rejections.jsonl").read_bytes()
    aligned = Rejection("a", "words-missing", "text of a", "book.m4b", 0.0, 3.0, "clips/a.flac", {"step": "align"})
    (dataset / "rejections.jsonl").write_bytes(rows + (json.dumps(aligned.as_row()) + "\n").encode())
    before = (dataset / "train_manifest.jsonl").read_bytes()
    with pytest.raises(UsageError) as caught:
        take_back(dataset, ["noise", "mute", "line-000007", "nobody", "a"])
    told = [problem.message for problem in caught.value.problems]
    assert len(told) == 4
    assert "no text" in told[0]
    assert "no audio" in told[1]
    assert "was not rejected" in told[2]
    assert "could not be aligned" in told[3]
    assert (dataset / "train_manifest.jsonl").read_bytes() == before
    assert not (dataset / "parts/restored.json").exists()


def test_aligns_rows_stay_for_clips_that_stay(dataset: Path) -> None:
    place = dataset / "rejections.jsonl"
    for name in ("b", "gone"):
        row = Rejection(name, "words-missing", "text", "book.m4b", 0.0, 3.0, f"clips/{name}.flac", {"step": "align"})
        place.write_text(place.read_text() + json.dumps(row.as_row()) + "\n")
    take_back(dataset, ["noise"])
    assert [row["id"] for row in list_rejections(dataset, "words-missing")["rejections"]] == ["b"]


def test_a_folder_that_is_no_dataset_gets_no_lock_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no receipts"):
        take_back(tmp_path / "nothing", ["a"])
    assert not (tmp_path / "nothing").exists()


def test_taking_back_loads_no_heavy_library(dataset: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tts_train.ingest.take_back import take_back;"
        f"take_back(Path({str(dataset)!r}), ['noise']);"
        "print([name for name in ('av','torch','scipy','soundfile','librosa','faster_whisper') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
