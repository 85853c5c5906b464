"""Lines of a transcript list: every bad one is named, none is fatal, none reaches outside."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tts_train.ingest.lines import BadLine, Line, checked_line, parsed
from tts_train.ingest.lists import read_list

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


def read_line(number: int, raw: bytes) -> Line:
    row = parsed(number, raw)
    return checked_line(number, row.get("audio_file"), row.get("text"))


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


GOOD = [json.dumps({"audio_file": f"clip-{number}.wav", "text": "Hello there."}).encode() for number in range(20)]
bad_lines = st.one_of(
    st.binary(min_size=1, max_size=40).filter(
        lambda raw: b"\n" not in raw and raw.strip() and not raw.startswith(b"{")
    ),
    st.sampled_from([b"{", b"[]", b"null", b"7", b'"text"', b"\xff\xfe", b"[" * 2000, b"9" * 5000, b'{"a": NaN}']),
    st.builds(lambda value: json.dumps({"audio_file": value, "text": "hi"}).encode(), st.none() | st.integers()),
    st.builds(
        lambda value: json.dumps({"audio_file": "a.wav", "text": value}).encode(), st.sampled_from(["", "...", 1])
    ),
    st.builds(lambda value: json.dumps({"audio_file": f"{value}\0", "text": "hi"}).encode(), st.text(max_size=5)),
    st.sampled_from(GOOD),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(bad_lines, min_size=200, max_size=200), st.randoms(use_true_random=False))
def test_two_hundred_bad_lines_give_as_many_reasons_and_cost_no_good_one(
    tmp_path_factory: pytest.TempPathFactory, junk: list[bytes], random: Random
) -> None:
    places = sorted(random.sample(range(1, 221), 20))
    # A good line is good once: its copies are bad, wherever they stand, so the first of each is what counts.
    told = iter(junk)
    lines = dict(zip(places, GOOD, strict=True))
    content = [lines.get(number) or next(told) for number in range(1, 221)]
    path = tmp_path_factory.mktemp("list") / "transcripts.jsonl"
    path.write_bytes(b"\n".join(content))

    found = read_list(path, path.parent)

    assert sorted(line.audio_file for line in found.lines) == sorted(f"clip-{number}.wav" for number in range(20))
    assert len(found.bad) == 200
    assert sorted([line.number for line in found.lines] + [error.number for error in found.bad]) == list(range(1, 221))
    assert all(error.reason and error.message for error in found.bad)
    json.dumps([error.message for error in found.bad]).encode()


def test_white_space_is_folded_and_a_second_use_of_a_file_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    row = json.dumps({"audio_file": "a.wav", "text": " Two\n words "})
    path.write_text(f"{row}\n{row}\n")

    found = read_list(path, tmp_path)

    assert found.lines == [Line(1, "a.wav", "Two words")]
    assert [(error.number, error.reason) for error in found.bad] == [(2, "duplicate")]


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
