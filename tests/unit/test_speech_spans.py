"""From probabilities to spans, and from spans to cuts."""

from __future__ import annotations

import numpy as np
import pytest

from tts_train.audio import Chapter
from tts_train.ingest.cut import cut_ends, cut_limits
from tts_train.ingest.merge import Span, Utterance
from tts_train.ingest.speech import WINDOW_SECONDS, SpeechOptions, speech_spans

TIGHT = SpeechOptions(pad=0.0)


def probabilities(*runs: tuple[float, int]) -> np.ndarray:
    return np.concatenate([np.full(count, value, np.float32) for value, count in runs])


def windows(count: float) -> float:
    return pytest.approx(count * WINDOW_SECONDS, abs=1e-3)


def test_a_pause_ends_a_span_and_a_flicker_does_not() -> None:
    found = speech_spans(
        probabilities((0.0, 10), (0.9, 20), (0.1, 2), (0.9, 20), (0.1, 10)), 62 * WINDOW_SECONDS, [], TIGHT
    )

    assert [(span.start, span.end) for span in found] == [(windows(10), windows(52))]


def test_speech_between_the_thresholds_goes_on_but_does_not_begin() -> None:
    found = speech_spans(probabilities((0.4, 20), (0.9, 10), (0.4, 10), (0.0, 9)), 49 * WINDOW_SECONDS, [], TIGHT)

    assert [(span.start, span.end) for span in found] == [(windows(20), windows(40))]


def test_padding_never_overlaps_and_speech_may_end_with_the_file() -> None:
    options = SpeechOptions(pad=5.0)

    first, second = speech_spans(probabilities((0.9, 10), (0.0, 8), (0.9, 10)), 28 * WINDOW_SECONDS, [], options)

    assert (first.start, first.end, second.start, second.end) == (0.0, windows(14), windows(14), windows(28))


def test_a_chapter_border_splits_speech() -> None:
    chapters = [Chapter(1, "One", 0.0, 1.0), Chapter(2, "Two", 1.0, 9.0)]

    found = speech_spans(probabilities((0.9, 60)), 60 * WINDOW_SECONDS, chapters, TIGHT)

    assert [(span.start, span.end, span.chapter) for span in found] == [(0.0, 1.0, 1), (1.0, windows(60), 2)]


def test_sound_without_a_pause_is_split_where_speech_is_least_likely() -> None:
    endless = probabilities((0.9, 5000))
    endless[1300], endless[2400] = 0.4, 0.38

    found = speech_spans(endless, 5000 * WINDOW_SECONDS, [], SpeechOptions(pad=0.05, longest=100.0))

    assert [(span.start, span.end) for span in found] == [(0.0, windows(2400)), (windows(2400), windows(5000))]
    bounded = speech_spans(endless, 5000 * WINDOW_SECONDS, [], SpeechOptions())
    assert max(span.end - span.start for span in bounded) <= 30.0
    assert sum(span.end - span.start for span in bounded) == windows(5000)


def test_cuts_take_the_quietest_frame_within_their_limits() -> None:
    frames = np.full(400, -20.0)
    frames[85] = frames[90] = -70.0
    frames[315] = -60.0

    assert cut_ends((1.0, 3.0), (0.0, 4.0), frames, 0.0) == (0.855, 3.155)
    assert cut_ends((1.0, 3.0), (0.88, 3.1), frames, 0.0)[0] == 0.905


def test_limits_are_half_the_pause_and_the_chapter() -> None:
    spans = [Span(0.0, 1.0, 1), Span(1.2, 2.0, 1), Span(2.1, 3.0, 2)]

    assert cut_limits(spans, Utterance((spans[1],)), (0.0, 2.02)) == (1.1, 2.02)
    assert cut_limits(spans, Utterance((spans[2],)), (2.02, 9.0)) == (2.05, 9.0)
