"""Lists of other tools: LJSpeech's metadata.csv and lhotse's manifests, read line by line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tts_train.errors import InputUnusable, UsageError
from tts_train.ingest.lines import Line
from tts_train.ingest.lists import read_list


def reasons(path: Path, folder: Path) -> list[tuple[int, str]]:
    return [(error.number, error.reason) for error in read_list(path, folder).bad]


def write(path: Path, *rows: Any) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def recording(name: str, seconds: float = 10.0, **changes: Any) -> dict[str, Any]:
    source = {"type": "file", "channels": [0], "source": f"{name}.flac"}
    rate = 24000
    row = {"id": name, "sources": [source], "sampling_rate": rate, "num_samples": round(seconds * rate)}
    return {**row, "duration": seconds, "channel_ids": [0], **changes}


def supervision(name: str, of: str, start: float, seconds: float, **changes: Any) -> dict[str, Any]:
    row = {"id": name, "recording_id": of, "start": start, "duration": seconds, "channel": 0, "text": "Good day."}
    return {**row, "language": "English", "speaker": "ann", **changes}


def test_ljspeech_takes_the_normalised_text_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs/LJ-3.flac").touch()
    listed = write(
        tmp_path / "metadata.csv",
        '\ufeffLJ-1|He paid £5, "at once".|He paid five pounds, "at once".',
        "LJ-2|Plain.|",
        "LJ-3|Two cells.",
        "LJ-4|a|b|c",
        "|no name",
        "LJ-6",
        "LJ-1|again|again",
        "",
        "LJ-8|...|...",
    )

    found = read_list(listed, tmp_path)

    assert found.kind == "ljspeech"
    assert [(line.number, line.audio_file, line.text) for line in found.lines] == [
        (1, "wavs/LJ-1.wav", 'He paid five pounds, "at once".'),
        (2, "wavs/LJ-2.wav", "Plain."),
        (3, "wavs/LJ-3.flac", "Two cells."),
    ]
    assert reasons(listed, tmp_path) == [
        (4, "bad-line"),
        (5, "bad-line"),
        (6, "bad-line"),
        (7, "duplicate"),
        (9, "no-words"),
    ]


def test_ljspeech_without_a_wavs_folder(tmp_path: Path) -> None:
    listed = write(tmp_path / "metadata.csv", "a|Hello.", "sub/b.mp3|Hello again.")

    assert [line.audio_file for line in read_list(listed, tmp_path).lines] == ["a.wav", "sub/b.mp3"]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_supervisions_are_recordings_or_pieces_of_them(tmp_path: Path, ending: str) -> None:
    whole = recording("talk", sources=[{"type": "file", "channels": [0], "source": str(tmp_path / "in/talk.flac")}])
    write(tmp_path / f"ann_recordings_all.{ending}", whole, recording("one", 2.0), "junk")
    listed = write(
        tmp_path / f"ann_supervisions_all.{ending}",
        supervision("talk-1", "talk", 1.5, 2.25),
        supervision("talk-2", "talk", 4.0, 3.0, text="Good  night."),
        supervision("one", "one", 0.0, 2.0),
    )

    found = read_list(listed, tmp_path)

    assert found.kind == "lhotse-supervisions"
    assert found.lines == [
        Line(1, "in/talk.flac", "Good day.", 1.5, 3.75, "talk-1", "ann"),
        Line(2, "in/talk.flac", "Good night.", 4.0, 7.0, "talk-2", "ann"),
        Line(3, "one.flac", "Good day.", None, None, "one", "ann"),
    ]


def test_cuts_bring_their_recordings(tmp_path: Path) -> None:
    cut = {"id": "cut", "start": 5.0, "duration": 4.0, "channel": 0, "type": "MonoCut", "recording": recording("talk")}
    spoken = [supervision("a", "talk", -0.5, 2.0), supervision("b", "talk", 2.0, 2.0)]
    mixed = {"id": "mix", "type": "MixedCut", "tracks": []}
    listed = write(tmp_path / "cuts.jsonl.gz", {**cut, "supervisions": spoken}, mixed, {**cut, "supervisions": []})

    found = read_list(listed, tmp_path)

    assert [(line.number, line.start, line.end, line.name) for line in found.lines] == [
        (1, 4.5, 6.5, "a"),
        (1, 7.0, 9.0, "b"),
    ]
    assert reasons(listed, tmp_path) == [(2, "bad-line"), (3, "bad-line")]


BAD = {
    "no recording": (supervision("x", "nobody", 0, 1), "bad-line"),
    "no text": (supervision("x", "talk", 0, 1, text=None), "bad-line"),
    "no letters": (supervision("x", "talk", 0, 1, text="?!"), "no-words"),
    "backwards": (supervision("x", "talk", 3, -1), "bad-line"),
    "not a number": (supervision("x", "talk", "3", 1), "bad-line"),
    "NaN": (json.dumps(supervision("x", "talk", 0, 1)).replace('"start": 0', '"start": NaN'), "bad-line"),
    "huge": (json.dumps(supervision("x", "talk", 0, 1)).replace('"start": 0', '"start": ' + "9" * 400), "bad-line"),
    "a command": (supervision("x", "sox", 0, 1), "bad-line"),
    "a channel of two": (supervision("x", "stereo", 0, 1), "one-channel"),
    "a transform": (supervision("x", "fast", 0, 1), "bad-line"),
    "an object": ([1], "bad-line"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_supervisions(tmp_path: Path, name: str) -> None:
    row, reason = BAD[name]
    write(
        tmp_path / "recordings.jsonl",
        recording("talk"),
        recording("sox", sources=[{"type": "command", "channels": [0], "source": "sox x"}]),
        recording("stereo", sources=[{"type": "file", "channels": [0, 1], "source": "s.flac"}]),
        recording("fast", transforms=[{"name": "Resample", "kwargs": {}}, {"name": "Speed", "kwargs": {}}]),
        recording("resampled", transforms=[{"name": "Resample", "kwargs": {"target_sampling_rate": 16000}}]),
    )
    listed = write(tmp_path / "supervisions.jsonl", supervision("ok", "resampled", 0, 1), row)

    assert reasons(listed, tmp_path) == [(2, reason)]


def test_one_speaker_of_several(tmp_path: Path) -> None:
    write(tmp_path / "recordings.jsonl", recording("talk"))
    rows = [supervision(str(at), "talk", at, 1, speaker="bob" if at > 3 else "ann") for at in range(6)]
    listed = write(tmp_path / "supervisions.jsonl", *rows)

    with pytest.raises(UsageError, match="2 speakers") as caught:
        read_list(listed, tmp_path)
    found = read_list(listed, tmp_path, "bob")

    assert "ann (4), bob (2)" in caught.value.hint
    assert [line.name for line in found.lines] == ["4", "5"]
    assert found.skipped == {"other-speaker": 4}
    with pytest.raises(UsageError, match="no speaker 'eve'"):
        read_list(listed, tmp_path, "eve")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    lonely = write(tmp_path / "a_supervisions.jsonl", supervision("x", "talk", 0, 1))
    with pytest.raises(InputUnusable, match="not beside it") as caught:
        read_list(lonely, tmp_path)
    assert "a_recordings.jsonl" in caught.value.hint
    with pytest.raises(InputUnusable, match="without texts"):
        read_list(write(tmp_path / "recordings.jsonl", recording("talk")), tmp_path)
    torn = tmp_path / "cuts.jsonl.gz"
    torn.write_bytes(gzip.compress(b"{}\n" * 1000)[:-12])
    with pytest.raises(InputUnusable, match="does not unpack"):
        read_list(torn, tmp_path)
    with pytest.raises(InputUnusable, match="not a file"):
        read_list(tmp_path / "none.jsonl", tmp_path)


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=4,
)
keys = st.sampled_from(["start", "duration", "channel", "text", "id", "speaker", "recording_id", "recording", "type"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(keys, values, max_size=4), max_size=20))
def test_any_supervision_is_a_line_or_a_bad_line(
    tmp_path_factory: pytest.TempPathFactory, changes: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("lhotse")
    write(folder / "recordings.jsonl", recording("talk"))
    rows = [{**supervision(f"s{at}", "talk", at, 1), **change} for at, change in enumerate(changes)]
    cuts = [{"id": "c", "start": 0, "duration": 1, "recording": recording("talk"), "supervisions": rows}, *rows]
    for listed in (write(folder / "supervisions.jsonl", *rows), write(folder / "cuts.jsonl", *cuts)):
        try:
            found = read_list(listed, folder, "ann")
        except UsageError:
            continue
        json.dumps([[line.audio_file, line.text, line.name] for line in found.lines], ensure_ascii=False).encode()
        assert all(line.end is None or line.start < line.end for line in found.lines)
