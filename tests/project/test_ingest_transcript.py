"""`ingest-transcript`: good lines become clips, every bad one is named, nothing outside is read."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tts_train.audio import Audio, read_audio, write_audio
from tts_train.dataset import load_manifest
from tts_train.errors import Busy, ConfigError, InputUnusable, UsageError
from tts_train.files import locked
from tts_train.ingest import batches
from tts_train.ingest.transcript import ingest_transcript

ROOT = Path(__file__).resolve().parents[2]
CARD = ROOT / "datasets/demo/dataset.yaml"
SCRIPT = ROOT / ".agent/skills/tts-train/scripts/ingest_transcript.py"
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
    {"audio_file": "a/one.wav", "text": "The first clip of the list."},
    {"audio_file": "b/one.wav", "text": "The second clip of the list."},
    {"audio_file": "b/two.flac", "text": "The third clip of the list."},
]


def ingest(folder: Path, lines: list[Any], **changes: Any) -> tuple[dict[str, Any], Path]:
    listed = folder.parent / "transcripts.jsonl"
    listed.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    out = folder.parent / "out"
    return ingest_transcript(folder, listed, out, voice="kumo", **{"card": CARD, "max_rejected": 1.0, **changes}), out


def rejections(out: Path) -> dict[int, str]:
    rows = [json.loads(line) for line in (out / "rejections.jsonl").read_text().splitlines()]
    return {row["numbers"]["line"]: row["reason"] for row in rows}


def test_good_clips_are_taken_at_24_khz(folder: Path) -> None:
    result, out = ingest(folder, GOOD)

    clips = load_manifest(out / "train_manifest.jsonl")
    assert [(clip.id, clip.text, clip.language) for clip in clips] == [
        ("a-one", "The first clip of the list.", "en-GB"),
        ("b-one", "The second clip of the list.", "en-GB"),
        ("b-two", "The third clip of the list.", "en-GB"),
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
    (folder / "half.wav").write_bytes((folder / "a/one.wav").read_bytes()[:-1000])
    (folder / "empty.wav").write_bytes(b"")
    soundfile.write(folder / "nan.wav", np.where(np.arange(40000) == 9, np.nan, 0.1), 16000, subtype="FLOAT")
    bad = [
        ("not json", "bad-line"),
        ({"audio_file": "a/one.wav"}, "bad-line"),
        ({"audio_file": "../secret.wav", "text": "x y"}, "outside-folder"),
        ({"audio_file": str(tmp_path / "secret.wav"), "text": "x y"}, "outside-folder"),
        ({"audio_file": str(folder / "a/one.wav"), "text": "x y"}, "outside-folder"),
        ({"audio_file": "link.wav", "text": "x y"}, "outside-folder"),
        ({"audio_file": "a", "text": "x y"}, "outside-folder"),
        ({"audio_file": "../gone.wav", "text": "x y"}, "outside-folder"),
        ({"audio_file": "missing.wav", "text": "x y"}, "missing-audio"),
        ({"audio_file": "text.wav", "text": "x y"}, "not-audio"),
        ({"audio_file": "torn.flac", "text": "x y"}, "truncated-audio"),
        ({"audio_file": "half.wav", "text": "x y"}, "truncated-audio"),
        ({"audio_file": "empty.wav", "text": "x y"}, "empty-file"),
        ({"audio_file": "nan.wav", "text": "x y"}, "not-finite"),
        ({"audio_file": "short.wav", "text": "x y"}, "too-short"),
        ({"audio_file": "silent.wav", "text": "x y"}, "silent"),
        ({"audio_file": "loud.wav", "text": "x y"}, "clipped"),
    ]

    result, out = ingest(folder, [*GOOD, *(line for line, _ in bad)])

    assert result["clips"] == 3
    assert rejections(out) == dict(enumerate((reason for _, reason in bad), 4))
    assert [item["line"] for item in result["bad_lines"]] == [4, 5]


def test_a_name_that_lies_is_told_and_the_clip_kept(folder: Path) -> None:
    (folder / "a/one.wav").rename(folder / "a/one.mp3")

    _, out = ingest(folder, [{**GOOD[0], "audio_file": "a/one.mp3"}, GOOD[1]])

    notes = [clip.measures.get("wrong_extension") for clip in load_manifest(out / "train_manifest.jsonl")]
    assert notes == ["wav", None]


def test_the_bytes_do_not_depend_on_the_number_of_jobs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_LINES", 1)
    lines = [*GOOD, "{", {"audio_file": "gone.wav", "text": "x"}]
    trees = []
    for jobs in (1, 2):
        out = folder.parent / "out"
        ingest(folder, lines, jobs=jobs)
        trees.append({path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()})
        shutil.rmtree(out)

    assert trees[0].keys() == trees[1].keys()
    assert [name for name in trees[0] if trees[0][name] != trees[1][name] and name.name != ".lock"] == []


def test_a_file_of_bad_lines_only_exits_65_with_numbered_reasons(folder: Path) -> None:
    listed, out = folder.parent / "bad.jsonl", folder.parent / "bad"
    junk = random.Random(7)
    listed.write_bytes(b"\n".join(junk.randbytes(30).replace(b"\n", b"") + b"!" for _ in range(200)))
    command = [sys.executable, "-P", str(SCRIPT), str(folder), str(listed), str(out), "--card", str(CARD)]

    told = subprocess.run(command, capture_output=True, text=True, check=False)

    assert told.returncode == 65
    assert "Traceback" not in told.stderr
    assert json.loads(told.stdout)["error"]["kind"] == "input-unusable"
    assert rejections(out) == dict.fromkeys(range(1, 201), "bad-line")


def test_two_hundred_bad_lines_cost_none_of_twenty_clips(folder: Path, readings: Readings) -> None:
    """The list's faults and the files', mixed; test_transcript_lines.py has the list's alone."""
    for number in range(20):
        audio = readings["bus"][0]
        write_audio(folder / f"g{number}.flac", Audio(audio.samples[number * 10 :], audio.rate))
    whole = (folder / "g0.flac").read_bytes()
    chance = random.Random(3)
    lines: list[Any] = [
        {"audio_file": f"g{number}.flac", "text": f"Good clip number {number} of twenty."} for number in range(20)
    ]
    for number in range(200):
        name = f"t{number}.flac"
        if number % 4 == 0:
            (folder / name).write_bytes(whole[: chance.randrange(len(whole) - 1)])
        elif number % 4 == 1:
            (folder / name).write_bytes(chance.randbytes(chance.randrange(400)))
        lines.append("{" if number % 4 == 2 else {"audio_file": name, "text": "Bad."})
    chance.shuffle(lines)

    result, out = ingest(folder, lines)

    assert result["clips"] == 20
    assert sum(result["rejected"].values()) == 200
    bad = [number for number, line in enumerate(lines, 1) if line == "{" or line["audio_file"].startswith("t")]
    assert sorted(rejections(out)) == bad


def supervised(name: str, **changes: Any) -> dict[str, Any]:
    row = {"id": name, "recording_id": "talk", "start": 0.0, "duration": 1.0, "channel": 0, "text": "Hello."}
    return {**row, "speaker": "ann", **changes}


def test_pieces_of_a_recording_are_cut_where_the_list_says(folder: Path, readings: Readings) -> None:
    audio = readings["bus"][0]
    long = Audio(np.tile(audio.samples, 5), audio.rate)
    write_audio(folder / "talk.flac", long)
    source = {"type": "file", "channels": [0], "source": str(folder / "talk.flac")}
    heard = {"id": "talk", "sources": [source], "sampling_rate": long.rate, "duration": long.seconds}
    (folder / "recordings.jsonl").write_text(json.dumps(heard) + "\n")
    late = long.seconds - 1.0
    rows = [
        supervised("second", start=3.25, duration=2.0, text="The second."),
        supervised("first", start=1.0, duration=2.5, text="The first, which the second overlaps."),
        supervised("last", start=late, duration=3.0, text="Beyond the end."),
        supervised("after", start=late + 100, duration=3.0, text="Long after the end."),
        supervised("short", start=1.0, duration=0.5, text="Too short."),
    ]
    listed = folder / "supervisions.jsonl"
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows))

    out = folder.parent / "out"
    result = ingest_transcript(folder, listed, out, voice="ann", card=CARD, max_rejected=1.0)

    clips = {clip.id: clip for clip in load_manifest(out / "train_manifest.jsonl")}
    assert result["list"]["kind"] == "lhotse-supervisions"
    assert {name: (clip.source, clip.start, clip.end) for name, clip in clips.items()} == {
        "first": ("talk.flac", 1.0, 3.5),
        "second": ("talk.flac", 3.25, 5.25),
    }
    assert rejections(out) == {3: "truncated-audio", 4: "truncated-audio", 5: "too-short"}
    cut = read_audio(out / clips["second"].audio_file)
    expected = Audio(long.samples[round(3.25 * long.rate) : round(5.25 * long.rate)], long.rate).at(24000).samples
    middle = slice(1000, -1000)
    assert np.abs(cut.samples[middle] - expected[middle]).max() < 2e-4


def test_a_torn_recording_costs_only_the_pieces_that_are_gone(folder: Path, readings: Readings) -> None:
    audio = readings["bus"][0]
    long = Audio(np.tile(audio.samples, 5), audio.rate)
    write_audio(folder / "talk.wav", long)
    whole = (folder / "talk.wav").read_bytes()
    (folder / "talk.wav").write_bytes(whole[: len(whole) // 2])
    source = {"type": "file", "channels": [0], "source": "talk.wav"}
    heard = {"id": "talk", "sources": [source], "sampling_rate": long.rate, "duration": long.seconds}
    (folder / "recordings.jsonl").write_text(json.dumps(heard) + "\n")
    listed = folder / "supervisions.jsonl"
    rows = [supervised(str(at), start=at * long.seconds / 5, duration=2.0, text=f"Piece {at}.") for at in range(5)]
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows))

    out = folder.parent / "out"
    ingest_transcript(folder, listed, out, voice="ann", card=CARD, max_rejected=1.0)

    assert [clip.id for clip in load_manifest(out / "train_manifest.jsonl")] == ["0", "1", "2"]
    assert set(rejections(out).values()) == {"truncated-audio"}


def test_ljspeech_as_it_comes(folder: Path) -> None:
    (folder / "wavs").mkdir()
    (folder / "a/one.wav").rename(folder / "wavs/LJ001-0001.wav")
    (folder / "b/two.flac").rename(folder / "wavs/LJ001-0002.flac")
    listed = folder / "metadata.csv"
    listed.write_text("LJ001-0001|It cost £5.|It cost five pounds.\nLJ001-0002|The third of them.|\nLJ001-0003|x|x\n")

    out = folder.parent / "out"
    result = ingest_transcript(folder, listed, out, voice="lj", card=CARD, max_rejected=0.5)

    texts = {clip.id: clip.text for clip in load_manifest(out / "train_manifest.jsonl")}
    assert texts == {"lj001-0001": "It cost five pounds.", "lj001-0002": "The third of them."}
    assert result["list"]["kind"] == "ljspeech"
    assert rejections(out) == {3: "missing-audio"}


def test_a_recording_that_is_not_there_or_no_audio_rejects_its_pieces_only(folder: Path) -> None:
    (folder / "noise.wav").write_text("no audio")
    rows = []
    for name, source in (("gone", "gone.wav"), ("noise", "noise.wav"), ("out", "../secret.wav"), ("ok", "a/one.wav")):
        rows.append({"id": name, "sources": [{"type": "file", "channels": [0], "source": source}]})
        rows[-1] |= {"sampling_rate": 24000, "duration": 99.0}
    (folder / "recordings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    listed = folder / "supervisions.jsonl"
    pieces = [
        supervised(f"{row['id']}-{at}", recording_id=row["id"], start=at, text=row["id"] + " piece")
        for row in rows
        for at in (0, 1)
    ]
    listed.write_text("".join(json.dumps(row) + "\n" for row in pieces))

    out = folder.parent / "out"
    found = ingest_transcript(folder, listed, out, voice="ann", card=CARD, max_rejected=1.0)

    assert [clip.id for clip in load_manifest(out / "train_manifest.jsonl")] == ["ok-0", "ok-1"]
    assert found["rejected"] == {"missing-audio": 2, "not-audio": 2, "outside-folder": 2}


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


def test_a_second_ingest_is_busy_and_leaves_the_card_alone(folder: Path, tmp_path: Path) -> None:
    _, out = ingest(folder, GOOD)
    before = (out / "dataset.yaml").read_bytes()
    other = tmp_path / "other.yaml"
    other.write_bytes(before + b"# another\n")
    with locked(out / ".lock"), pytest.raises(Busy):
        ingest(folder, GOOD, card=other)
    assert (out / "dataset.yaml").read_bytes() == before


def test_a_card_is_needed_whether_or_not_the_language_is_told(folder: Path, tmp_path: Path) -> None:
    for language in (None, "en"):
        with pytest.raises(ConfigError, match=r"has no dataset\.yaml"):
            ingest(folder, GOOD, card=None, language=language)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_dataset_keeps_its_card(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "parts").mkdir(parents=True)
    (out / "parts/source.json").write_text('{"name": "a book", "identity": "of a book"}')
    (out / "dataset.yaml").write_text("a book's\n")
    with pytest.raises(ConfigError, match="was built from a book"):
        ingest(folder, GOOD)
    assert (out / "dataset.yaml").read_text() == "a book's\n"
