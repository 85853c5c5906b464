"""Lines of a transcript list: every bad one is named, none is fatal, none reaches outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts_train.ingest.transcript import BadLine, Line, read_line, read_lines

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["audio_file", "text", "other"])
lines = (
    st.binary(max_size=60)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(names, json_values, max_size=3).map(lambda value: json.dumps(value).encode())
)


@given(lines)
def test_any_line_is_a_line_or_a_bad_line(raw: bytes) -> None:
    try:
        line = read_line(7, raw)
    except BadLine as error:
        told = (error.number, bool(error.reason), bool(error.message))
    else:
        json.dumps([line.audio_file, line.text], ensure_ascii=False).encode()
        told = (line.number, bool(line.audio_file.strip()), bool(line.text.strip()))

    assert told == (7, True, True)


@given(st.lists(lines.filter(lambda raw: b"\n" not in raw and raw.strip()), max_size=30))
def test_bad_lines_cost_no_good_one(tmp_path_factory: pytest.TempPathFactory, junk: list[bytes]) -> None:
    good = [json.dumps({"audio_file": f"clip-{number}.wav", "text": "Hello there."}).encode() for number in range(3)]
    path = tmp_path_factory.mktemp("list") / "transcripts.jsonl"
    path.write_bytes(b"\n".join([good[0], *junk, good[1], b"", good[2]]))

    found, bad = read_lines(path)

    assert {"clip-0.wav", "clip-1.wav", "clip-2.wav"} <= {line.audio_file for line in found}
    assert len(found) + len(bad) == len(junk) + 3
    assert [line.number for line in found if line.audio_file == "clip-2.wav"] == [len(junk) + 4]


def test_white_space_is_folded_and_a_second_use_of_a_file_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    row = json.dumps({"audio_file": "a.wav", "text": " Two\n words "})
    path.write_text(f"{row}\n{row}\n")

    found, bad = read_lines(path)

    assert found == [Line(1, "a.wav", "Two words")]
    assert [(error.number, error.reason) for error in bad] == [(2, "duplicate")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"audio_file": "a.wav"}, "bad-line"),
        ({"audio_file": "a.wav", "text": "..."}, "no-words"),
        ({"audio_file": "a\u0000.wav", "text": "hi"}, "outside-folder"),
        ({"audio_file": "a.wav", "text": "\ud800 hi"}, "bad-line"),
        ([1], "bad-line"),
    ],
)
def test_reasons(row: object, reason: str) -> None:
    with pytest.raises(BadLine) as caught:
        read_line(1, json.dumps(row).encode())

    assert caught.value.reason == reason


@pytest.mark.parametrize("raw", [b"[" * 200_000, b"9" * 5_000, b"\xff", b'{"audio_file": "a", "text": NaN}'])
def test_lines_that_break_parsers(raw: bytes) -> None:
    with pytest.raises(BadLine) as caught:
        read_line(3, raw)

    assert (caught.value.number, caught.value.reason) == (3, "bad-line")
