"""The merge rule, as properties of any speech."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tts_train.ingest.merge import MergeRule, Span, merge

lengths = st.floats(0.1, 14.0).map(lambda value: round(value, 3))
pauses = st.floats(0.0, 1.5).map(lambda value: round(value, 3))
pieces = st.lists(st.tuples(pauses, lengths, st.booleans()), max_size=40)
rules = st.builds(
    MergeRule,
    max_gap=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    min_seconds=st.sampled_from([0.5, 2.0, 4.0]),
    max_seconds=st.sampled_from([6.0, 10.0]),
)


def spans_of(drawn: list[tuple[float, float, bool]]) -> list[Span]:
    """Sorted spans; a True opens the next chapter."""
    spans: list[Span] = []
    now, chapter = 0.0, 1
    for pause, length, opens in drawn:
        chapter += opens
        start = round(now + pause, 3)
        now = round(start + length, 3)
        spans.append(Span(start, now, chapter))
    return spans


@given(pieces, rules)
def test_each_span_is_in_exactly_one_utterance_in_order(drawn: list, rule: MergeRule) -> None:
    spans = spans_of(drawn)

    assert [span for utterance in merge(spans, rule) for span in utterance.spans] == spans


@given(pieces, rules)
def test_no_utterance_crosses_a_chapter_or_a_long_pause(drawn: list, rule: MergeRule) -> None:
    for utterance in merge(spans_of(drawn), rule):
        assert len({span.chapter for span in utterance.spans}) == 1
        for left, right in pairwise(utterance.spans):
            assert right.start - left.end <= rule.max_gap


@given(pieces, rules)
def test_joined_utterances_keep_to_the_maximum(drawn: list, rule: MergeRule) -> None:
    for utterance in merge(spans_of(drawn), rule):
        assert len(utterance.spans) == 1 or utterance.seconds <= rule.max_seconds


@given(pieces, rules)
def test_neighbours_that_could_be_one_are_one(drawn: list, rule: MergeRule) -> None:
    utterances = merge(spans_of(drawn), rule)

    for left, right in pairwise(utterances):
        joinable = left.chapter == right.chapter and right.start - left.end <= rule.max_gap
        assert not joinable or right.end - left.start > rule.max_seconds


def test_the_cut_falls_into_the_longest_pause() -> None:
    spans = [Span(0.0, 4.0, 1), Span(4.1, 7.0, 1), Span(7.45, 11.0, 1)]

    utterances = merge(spans, MergeRule())

    assert [(item.start, item.end) for item in utterances] == [(0.0, 7.0), (7.45, 11.0)]


def test_a_short_rest_is_not_left_alone_when_another_cut_avoids_it() -> None:
    """Cutting at the longer pause would leave one second alone."""
    spans = [Span(0.0, 5.0, 1), Span(5.2, 9.5, 1), Span(9.8, 10.8, 1)]

    assert [len(item.spans) for item in merge(spans, MergeRule())] == [1, 2]
