"""Sources, chapters, selections, segments and parts of a book, without any audio."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts_train.audio import Chapter, SourceInfo
from tts_train.errors import ConfigError, InputUnusable, UsageError
from tts_train.ingest import language, sources
from tts_train.ingest.first_pass import Found
from tts_train.ingest.merge import MergeRule, Span
from tts_train.ingest.plan import Plan, plan_parts
from tts_train.ingest.segments import read_segments
from tts_train.ingest.selection import Selection, chapter_numbers, select
from tts_train.ingest.sources import Source, claim_sources, find_sources, numbered_chapters

marks = st.lists(st.floats(0, 120).map(lambda value: round(value, 2)), max_size=8)


def info_of(starts: list[float], seconds: float = 100.0) -> SourceInfo:
    chapters = [Chapter(index, f"Mark {index}", start, start) for index, start in enumerate(starts, 1)]
    return SourceInfo(seconds, 24000, 1, "aac", tuple(chapters))


def found_in(starts: list[float], spans: list[tuple[float, float, int]], *, number: int = 0, first: int = 1) -> Found:
    info = info_of(starts)
    name = f"book{number}.m4b"
    source = Source(number, Path("shelf") / name, name, info, tuple(numbered_chapters(info, "book", first)))
    return Found(source, info.seconds, tuple(Span(*span) for span in spans))


def planned(found: list[Found], selection: Selection | None = None, **more: Any) -> Plan:
    digests = {item.source.number: f"digest {item.source.number}" for item in found}
    return plan_parts(found, selection or Selection(), MergeRule(), 20.0, key="k", digests=digests, **more)


TWO_CHAPTERS = [(1.0, 4.0, 1), (6.0, 9.0, 1), (30.0, 34.0, 1), (50.2, 53.0, 2), (60.0, 64.0, 2), (90.0, 98.0, 2)]


@given(marks, st.integers(1, 50))
def test_chapters_touch_cover_the_file_and_count_on(starts: list[float], first: int) -> None:
    chapters = list(numbered_chapters(info_of(starts), "the file", first))

    assert [chapter.index for chapter in chapters] == list(range(first, first + len(chapters)))
    assert chapters[0].start == 0.0
    assert chapters[-1].end == 100.0
    assert all(left.end == right.start > left.start for left, right in pairwise(chapters))
    assert len(chapters) <= len(set(starts)) + 1
    if not starts:
        assert [chapter.title for chapter in chapters] == ["the file"]


def test_what_comes_long_before_the_first_mark_is_front_matter() -> None:
    early, late = (list(numbered_chapters(info_of([start, 50.0]), "book", 1)) for start in (0.9, 30.0))

    assert [(chapter.title, chapter.start) for chapter in early] == [("Mark 1", 0.0), ("Mark 2", 50.0)]
    assert [(chapter.title, chapter.start) for chapter in late] == [
        ("Front matter", 0.0),
        ("Mark 1", 30.0),
        ("Mark 2", 50.0),
    ]


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for files that count as ten seconds of audio, unless "bad" stands in them."""

    def probe(path: Path) -> SourceInfo:
        if "bad" in path.read_text():
            raise InputUnusable(f"{path} is bad")
        return info_of([0.0, 5.0] if path.suffix == ".m4b" else [], 10.0)

    monkeypatch.setattr(sources, "probe_source", probe)
    return tmp_path


def put(shelf: Path, *names: str, text: str = "x") -> None:
    for name in names:
        (shelf / name).parent.mkdir(parents=True, exist_ok=True)
        (shelf / name).write_text(text)


def test_a_folder_is_read_in_natural_order_and_chapters_count_over_all_files(shelf: Path) -> None:
    put(shelf, "10 End.mp3", "2 Middle.MP3", "1 Start.m4b", "cover.jpg", "notes.txt", ".hidden.mp3")

    found, faults = find_sources([shelf])

    assert [source.name for source in found] == ["1 Start.m4b", "2 Middle.MP3", "10 End.mp3"]
    numbered = [(chapter.index, chapter.title) for source in found for chapter in source.chapters]
    assert numbered == [(1, "Mark 1"), (2, "Mark 2"), (3, "2 Middle"), (4, "10 End")]
    assert not faults


def test_an_audiobook_ingest_folder_is_its_book_and_discs_are_told_apart(shelf: Path) -> None:
    put(
        shelf, "book/audio.m4b", "book/sample.mp3", "discs/disc 2/01.mp3", "discs/disc 10/01.mp3", "discs/disc 2/02.mp3"
    )

    book, _ = find_sources([shelf / "book"])
    discs, _ = find_sources([shelf / "discs"])

    assert [source.name for source in book] == ["audio.m4b"]
    assert [source.name for source in discs] == ["disc 2/01.mp3", "02.mp3", "disc 10/01.mp3"]


def test_a_bad_file_among_good_ones_is_a_fault_and_alone_an_error(shelf: Path) -> None:
    put(shelf, "a/1.mp3", "a/3.mp3", "b/x.mp3")
    put(shelf, "a/2.mp3", "b/x.mp3", text="bad")

    found, faults = find_sources([shelf / "a"])

    assert [source.name for source in found] == ["1.mp3", "3.mp3"]
    assert [(fault.name, fault.reason) for fault in faults] == [("2.mp3", "unreadable-audio")]
    with pytest.raises(InputUnusable, match="is bad"):
        find_sources([shelf / "b"])
    with pytest.raises(InputUnusable, match="none of the 2"):
        find_sources([shelf / "b/x.mp3", shelf / "a/2.mp3"])


def test_what_is_not_there_empty_or_named_twice_is_a_usage_error(shelf: Path) -> None:
    put(shelf, "a/1.mp3", "texts/x.txt")

    for paths, told in (
        ([shelf / "nothing.mp3"], "is not there"),
        ([shelf / "texts"], "holds no audio"),
        ([shelf / "a", shelf / "a/1.mp3"], "named twice"),
    ):
        with pytest.raises(UsageError, match=told):
            find_sources(paths)


def test_a_dataset_may_grow_by_files_but_not_change_its_book(shelf: Path) -> None:
    put(shelf, "1.mp3", "2.mp3", "3.mp3")
    files, _ = find_sources([shelf])
    out = shelf / "out"

    claim_sources(out, files[:1], ["one"])
    claim_sources(out, files, ["one", "two", "three"])
    claim_sources(out, files, ["one", "two", "three"])
    with pytest.raises(ConfigError, match=r"was built from 1\.mp3 and 2 more"):
        claim_sources(out, files[:2], ["one", "two"])
    with pytest.raises(ConfigError, match="was built from"):
        claim_sources(out, files, ["one", "two", "another"])


def test_chapter_lists() -> None:
    assert chapter_numbers("1,3-5, 9") == {1, 3, 4, 5, 9}
    for wrong in ("", "a", "5-3", "1,,2", "-2", "1-", "1-999999"):
        with pytest.raises(UsageError):
            chapter_numbers(wrong)
    book = [found_in([0.0, 50.0], []).source]
    assert select(book, chapters="2").chapters == {2}
    with pytest.raises(UsageError, match="no chapter 3"):
        select(book, chapters="2-3")


def test_skipped_seconds_take_whole_spans() -> None:
    selection = Selection(None, skip_first=5.0, skip_last=3.0)

    reasons = [
        selection.skips(Span(start, end), 100.0) for start, end in [(1, 4), (4.9, 9), (5, 9), (90, 97), (96, 98)]
    ]

    assert reasons == ["first", "first", None, None, "last"]


def test_parts_keep_to_chapters_and_to_their_length() -> None:
    plan = planned([found_in([0.0, 50.0], TWO_CHAPTERS)])

    assert [[(item.start, item.end) for item in part.items] for part in plan.parts] == [
        [(1.0, 4.0), (6.0, 9.0)],
        [(30.0, 34.0)],
        [(50.2, 53.0), (60.0, 64.0)],
        [(90.0, 98.0)],
    ]
    assert [(part.chapter, part.title) for part in plan.parts] == [(1, "Mark 1")] * 2 + [(2, "Mark 2")] * 2
    # No cut crosses a chapter's border or the end of the file.
    assert plan.parts[2].items[0].limits[0] == 50.0
    assert plan.parts[3].items[0].limits[1] == 100.0
    assert not plan.skipped


def test_another_choice_of_chapters_keeps_the_receipts_of_the_others() -> None:
    book = [found_in([0.0, 50.0], TWO_CHAPTERS)]

    whole, second = planned(book), planned(book, Selection(frozenset({2})))

    assert second.parts == whole.parts[2:]
    assert second.skipped == {
        "book0.m4b": [(start, end, "chapter") for start, end, number in TWO_CHAPTERS if number == 1]
    }


def test_skipping_credits_changes_only_the_parts_they_are_in() -> None:
    book = [found_in([0.0, 50.0], TWO_CHAPTERS)]

    whole, shorter = planned(book), planned(book, Selection(None, skip_first=5.0))

    assert [item.start for item in shorter.parts[0].items] == [6.0]
    assert shorter.parts[1:] == whole.parts[1:]
    assert shorter.skipped == {"book0.m4b": [(1.0, 4.0, "first")]}


def test_a_gain_belongs_to_its_source_and_to_the_key() -> None:
    loud, silent = found_in([], [(1.0, 4.0, 1)]), found_in([], [(1.0, 4.0, 2)], number=1, first=2)
    loud = Found(loud.source, loud.seconds, loud.spans, lufs=-18.5)

    plain, changed = planned([loud, silent]), planned([loud, silent], lufs=-23.0)

    assert [part.gain_db for part in changed.parts] == [-4.5, None]
    assert [left.key == right.key for left, right in zip(plain.parts, changed.parts, strict=True)] == [False, True]


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_each_bad_segment_is_told_with_its_line_and_reason(tmp_path: Path) -> None:
    found = [found_in([0.0, 50.0], TWO_CHAPTERS)]
    good = [
        {"start": 1, "end": 4.04, "text": " One  two "},
        {"start": 49.97, "end": 53, "text": "Three.", "source": "book0.m4b"},
    ]
    bad = {
        "bad-line": [
            "{",
            "[]",
            '"x"',
            {"start": 1, "text": "x"},
            {"start": 1, "end": True, "text": "x"},
            {"start": 1, "end": 2, "text": 5},
            {"start": 9, "end": 9, "text": "x"},
            {"start": -1, "end": 2, "text": "x"},
            '{"start": NaN, "end": 2, "text": "x"}',
            '{"start": 1e999, "end": 2, "text": "x"}',
            f'{{"start": 1, "end": {"9" * 500}, "text": "x"}}',
        ],
        "no-words": [{"start": 10, "end": 12, "text": "..."}],
        "outside-source": [{"start": 99, "end": 100.2, "text": "x"}],
        "crosses-chapter": [{"start": 45, "end": 51, "text": "x"}],
        "unknown-source": [{"start": 20, "end": 22, "text": "x", "source": "other.m4b"}],
        "overlapping": [{"start": 3, "end": 6, "text": "x"}],
    }
    flat = [(reason, row) for reason, rows in bad.items() for row in rows]
    path = write_lines(tmp_path / "segments.jsonl", *[row for _, row in flat], *good, "")

    segments, rejections = read_segments(path, found)

    assert [(item.line, item.chapter, item.start, item.end, item.text) for item in segments] == [
        (len(flat) + 1, 1, 1.0, 4.04, "One two"),
        (len(flat) + 2, 2, 50.0, 53.0, "Three."),
    ]
    told = sorted((item.numbers["line"], item.reason) for item in rejections)
    assert told == [(number, reason) for number, (reason, _) in enumerate(flat, 1)]
    assert all(item.numbers["message"] and item.source == "segments.jsonl" for item in rejections)


def test_a_segment_of_minutes_is_no_sentence(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "s.jsonl", {"start": 0, "end": 61, "text": "x"}, {"start": 70, "end": 72, "text": "y"}
    )

    segments, rejections = read_segments(path, [found_in([], [])])

    assert [item.text for item in segments] == ["y"]
    assert [item.reason for item in rejections] == ["too-long"]


def test_with_several_files_a_segment_names_its_own(tmp_path: Path) -> None:
    found = [found_in([], []), found_in([], [], number=1, first=2)]
    rows = [{"start": 1, "end": 2, "text": name, "source": name} for name in ("book1.m4b", "elsewhere/book0.m4b")]

    segments, rejections = read_segments(
        write_lines(tmp_path / "s.jsonl", *rows, {"start": 5, "end": 6, "text": "x"}), found
    )

    assert [(item.source, item.chapter, item.text) for item in segments] == [
        (0, 1, "elsewhere/book0.m4b"),
        (1, 2, "book1.m4b"),
    ]
    assert [item.reason for item in rejections] == ["unknown-source"]


@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"\xff\xfe\n"])
def test_a_list_without_a_usable_line_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.jsonl").write_bytes(content)

    with pytest.raises(InputUnusable, match="no usable line"):
        read_segments(tmp_path / "s.jsonl", [found_in([], [])])


@given(st.lists(st.binary(max_size=60).filter(lambda raw: b"\n" not in raw and raw.strip()), min_size=1, max_size=20))
def test_no_line_of_bytes_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, raw: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("lines") / "s.jsonl"
    path.write_bytes(b"\n".join([*raw, b'{"start": 1, "end": 2, "text": "good"}']))

    segments, rejections = read_segments(path, [found_in([], [])])

    assert [item.text for item in segments] == ["good"]
    assert [item.numbers["line"] for item in rejections] == list(range(1, len(raw) + 1))


def test_segments_are_cut_between_their_neighbours_one_clip_each(tmp_path: Path) -> None:
    found = [found_in([0.0, 50.0], TWO_CHAPTERS)]
    rows = [
        {"start": 1, "end": 4, "text": "A"},
        {"start": 4.2, "end": 9, "text": "B"},
        {"start": 60, "end": 64, "text": "C"},
    ]
    segments, _ = read_segments(write_lines(tmp_path / "s.jsonl", *rows), found)

    plan = planned(found, Selection(frozenset({1})), segments=segments)

    assert [[(item.text, item.limits) for item in part.items] for part in plan.parts] == [
        [("A", (0.0, 4.1)), ("B", (4.1, 34.5))]
    ]


@pytest.mark.parametrize(
    ("codes", "card", "refused"),
    [
        (["en", "en", "en", "de", "de"], "en-GB", False),
        (["de", "de", "en", "en", "en"], "de", True),
        (["nb", "no", "no", "no", "no"], "nb", False),
        (["zh"] * 5, "cmn", False),
        (["en"] * 5, "fr", True),
    ],
)
def test_the_majority_decides_about_the_language(codes: list[str], card: str, refused: bool) -> None:
    heard = [["book", 9.0 * place, code, 0.9] for place, code in enumerate(codes)]
    unsure = [[*row[:3], 0.7] for row in heard]

    language._judge(unsure, card)
    if not refused:
        language._judge(heard, card)
        return
    with pytest.raises(InputUnusable, match="speak en") as caught:
        language._judge(heard, card)
    assert caught.value.exit_code == 65
    assert "--language en" in caught.value.hint


def test_places_to_listen_are_spread_over_the_speech() -> None:
    spans = [(10.0 * index, 10.0 * index + 4, 1) for index in range(10)]
    places = language._places(planned([found_in([], spans)]).parts)

    assert len(places) >= 5
    assert places == sorted(set(places))
    assert places[0][1] <= 20
    assert places[-1][1] >= 80
    assert len(language._places(planned([found_in([], spans[:2])]).parts)) == 2
