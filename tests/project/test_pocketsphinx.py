"""Forced alignment of known text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tts_train.align import AlignmentFailed, align_known_text
from tts_train.align.pocketsphinx import align
from tts_train.audio import Audio

Readings = dict[str, tuple[Audio, str]]
GAP = 0.6


def test_words_come_in_order_with_their_phones(readings: Readings) -> None:
    audio, text = readings["bus"]

    words = align_known_text(audio, text)

    assert [word.word for word in words] == text.replace(",", "").replace(".", "").split()
    assert all(0 <= word.start < word.end <= audio.seconds for word in words)
    assert all(left.end <= right.start + 1e-6 for left, right in pairwise(words))
    bus = next(word for word in words if word.word == "bus")
    assert [phone.name for phone in bus.phones] == ["B", "AH", "S"]
    assert (bus.phones[0].start, bus.phones[-1].end) == (bus.start, bus.end)


def test_word_times_against_known_silences(readings: Readings) -> None:
    """Three readings joined with silence: the text of all, and each first and last word at its place."""
    chosen = [readings[name] for name in ("bus", "ticket", "hat")]
    rate = chosen[0][0].rate
    samples: list[np.ndarray] = []
    places: list[tuple[float, float]] = []
    now = 0.0
    for audio, _ in chosen:
        voiced = np.flatnonzero(np.abs(audio.samples) > 0.03 * np.abs(audio.samples).max())
        body = audio.samples[voiced[0] : voiced[-1] + 1]
        samples += [np.zeros(round(GAP * rate), np.float32), body]
        places.append((now + GAP, now + GAP + len(body) / rate))
        now = places[-1][1]

    words = list(align_known_text(Audio(np.concatenate(samples), rate), " ".join(text for _, text in chosen)))

    for (start, end), (_, text) in zip(places, chosen, strict=True):
        own = [words.pop(0) for _ in text.split()]
        assert abs(own[0].start - start) < 0.06
        assert abs(own[-1].end - end) < 0.12


def test_unknown_words_and_numbers_are_not_lost(readings: Readings) -> None:
    """A number written as a digit, and a word with a spelling no dictionary has, align like the plain words."""
    audio, text = readings["coffee"]
    true = align_known_text(audio, text)

    odd = align(audio, text.replace("six", "6").replace("fresh", "phresh"))

    assert "six" in [word.word for word in odd.words]
    assert odd.numbers["guessed_words"] == ["phresh"]
    assert len(odd.words) == len(true)
    assert max(abs(one.start - two.start) for one, two in zip(odd.words, true, strict=True)) < 0.1


@pytest.mark.parametrize("other", ["smoke", "hook"])
def test_a_wrong_text_is_refused(readings: Readings, other: str) -> None:
    with pytest.raises(AlignmentFailed) as caught:
        align(readings["coffee"][0], readings[other][1])

    assert caught.value.reason in {"text-does-not-fit", "alignment-failed"}


def test_speech_that_the_text_lacks_is_noticed(readings: Readings) -> None:
    audio, text = readings["coffee"]

    with pytest.raises(AlignmentFailed) as caught:
        align(audio, text.partition(",")[0])

    assert caught.value.reason == "speech-without-text"


def test_silence_and_empty_text_are_refused(readings: Readings) -> None:
    with pytest.raises(AlignmentFailed) as silent:
        align(Audio(np.zeros(32000, np.float32), 16000), "hello")
    with pytest.raises(AlignmentFailed) as empty:
        align(readings["bus"][0], "…")

    assert (silent.value.reason, empty.value.reason) == ("silent", "no-words")
