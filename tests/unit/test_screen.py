"""Filters from the command line, and the judgement over measures: no audio here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts_train.clip import Clip
from tts_train.errors import Unavailable, UsageError
from tts_train.ingest.screen.judge import first_failed, judged
from tts_train.ingest.screen.options import KINDS, Filter, ScreenOptions, Station, options_from, screen_options


def options(*filters: str, measure: tuple[str, ...] = (), model: str | None = None, station: Station = "transcript"):
    return screen_options(filters, measure, model, station=station, min_seconds=1.0, max_seconds=20.0)


def clip(name: str = "a", seconds: float = 3.0, **measures: Any) -> Clip:
    return Clip(name, f"clips/{name}.flac", "text", "ann", "en", seconds, measures=measures)


def limits(found: ScreenOptions) -> dict[str, tuple[float | None, float | None]]:
    return {item.name: (item.low, item.high) for item in found.filters}


def test_a_filter_replaces_the_default_of_its_name_and_two_colons_switch_it_off() -> None:
    assert limits(options())["duration"] == (1.0, 20.0)
    assert limits(options("duration:0.5:"))["duration"] == (0.5, None)
    assert "duration" not in limits(options("duration::"))
    assert limits(options("snr-db:20:", "MOS:3:"))["snr"] == (20.0, None) if _has_mos() else True


def _has_mos() -> bool:
    try:
        options(measure=("mos",))
    except Unavailable:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense:1:2", "no measure 'nonsense'"),
        ("snr", "NAME:MIN:MAX"),
        ("snr:1", "NAME:MIN:MAX"),
        ("snr:1:2:3", "NAME:MIN:MAX"),
        ("snr:loud:", "'loud' is not a number"),
        ("snr:nan:", "'nan' is not a number"),
        ("snr:3:2", "3 is more than 2"),
    ],
)
def test_a_filter_that_cannot_be_is_a_usage_error_that_says_why(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        options(text)


def test_an_unknown_name_lists_all_that_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        options("loudnes::-10")
    assert all(kind.name in caught.value.hint for kind in KINDS)


def test_wer_of_a_book_needs_another_model_and_of_transcripts_none() -> None:
    with pytest.raises(UsageError, match="--check-model"):
        options("wer::0.3", station="book")
    assert options("wer::0.3", model="small", station="book").scorers >= {"wer"}
    assert "language" in options("wer::0.3").scorers
    assert "language" not in options().scorers
    with pytest.raises(UsageError, match="nothing to check"):
        options(model="small")


def test_mos_without_its_package_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="distillmos"):
        options("mos:3:")


@given(
    st.lists(
        st.tuples(
            st.sampled_from([kind.name for kind in KINDS if kind.name not in {"mos", "wer"}]),
            st.none() | st.integers(-50, 0),
            st.none() | st.integers(0, 50),
        )
    )
)
def test_options_survive_the_file(rows: list[tuple[str, int | None, int | None]]) -> None:
    texts = [f"{name}:{'' if low is None else low}:{'' if high is None else high}" for name, low, high in rows]
    found = options(*texts)
    assert options_from(found.as_json()) == found


def test_the_reason_is_the_first_filter_that_a_clip_fails() -> None:
    filters = options("mos::").filters
    assert first_failed(clip(seconds=0.5, clipped_ratio=0.5), filters).reason == "too-short"
    assert first_failed(clip(seconds=30), filters).reason == "too-long"
    assert first_failed(clip(clipped_ratio=0.5, snr_db=3), filters).reason == "clipped"
    assert first_failed(clip(snr_db=3), filters).reason == "noisy"
    assert first_failed(clip(speaker_outlier=9.0, two_speakers=8.0), filters).reason == "two-speakers"
    assert first_failed(clip(snr_db=40, speaker_outlier=5.9), filters) is None


def test_what_was_not_measured_fails_nothing_and_a_limit_itself_passes() -> None:
    filters = options().filters
    assert first_failed(clip(snr_db=None, loudness_lufs=None), filters) is None
    assert first_failed(clip(seconds=1.0, snr_db=15.0), filters) is None
    assert first_failed(clip(seconds=20.0, clipped_ratio=0.001), filters) is None


def test_of_copies_the_best_stays_and_the_others_name_it() -> None:
    clips = [clip("a", snr_db=20), clip("b", snr_db=40), clip("c", snr_db=40), clip("d", snr_db=40)]
    pairs = [("a", "b", 0.99), ("a", "c", 0.99), ("b", "c", 0.98), ("c", "d", 0.8)]
    kept, rejections = judged(clips, [Filter("duplicate", None, 0.94)], pairs, {})
    assert [item.id for item in kept] == ["b", "d"]
    assert {item.id: item.numbers["duplicate_of"] for item in rejections} == {"a": "b", "c": "b"}
    assert {item.reason for item in rejections} == {"duplicate"}


def test_a_copy_of_a_rejected_clip_is_no_duplicate() -> None:
    clips = [clip("a", snr_db=50, clipped_ratio=0.5), clip("b", snr_db=20)]
    filters = [Filter("clipping", None, 0.001), Filter("duplicate", None, 0.94)]
    kept, rejections = judged(clips, filters, [("a", "b", 1.0)], {})
    assert [item.id for item in kept] == ["b"]
    assert [item.reason for item in rejections] == ["clipped"]


def test_what_was_taken_back_stays_and_puts_nothing_else_out() -> None:
    clips = [clip("a", snr_db=10), clip("b", snr_db=20), clip("c", snr_db=40)]
    filters = [Filter("snr", 15.0, None), Filter("duplicate", None, 0.94)]
    pairs = [("a", "b", 1.0), ("b", "c", 0.99)]
    kept, rejections = judged(clips, filters, pairs, {"a": "noisy", "c": "duplicate"})
    # a was noisy, c a copy of b: both stay now, and so does b.
    assert [item.id for item in kept] == ["a", "b", "c"]
    assert rejections == []
    assert [item.measures.get("restored") for item in kept] == ["noisy", None, "duplicate"]


def test_a_rejection_tells_the_filter_the_value_and_the_limits() -> None:
    _, rejections = judged([clip(snr_db=3.5, bandwidth_hz=9000)], [Filter("snr", 15.0, None)], [], {})
    (found,) = rejections
    assert found.numbers["step"] == "screen"
    assert (found.numbers["filter"], found.numbers["value"]) == ("snr", 3.5)
    assert (found.numbers["min"], found.numbers["max"]) == (15.0, None)
    assert found.numbers["bandwidth_hz"] == 9000
    assert found.audio_file == "clips/a.flac"
