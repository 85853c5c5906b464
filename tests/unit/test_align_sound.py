"""Word edges beside pauses follow the sound; nothing else moves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts_train.align.sound import snap_to_sound
from tts_train.align.words import AlignedWord, Phone
from tts_train.audio import Audio

RATE = 16000
EXACT = 0.011
"""Frames are 10 ms long."""


def sounding(*stretches: tuple[float, float], seconds: float = 2.0, noise: float = 0.0) -> Audio:
    """Tones at these seconds over `noise` (standard deviation)."""
    time = np.arange(round(seconds * RATE)) / RATE
    samples = np.random.default_rng(0).normal(0.0, max(noise, 1e-5), len(time))
    for start, end in stretches:
        inside = (time >= start) & (time < end)
        samples[inside] += 0.3 * np.sin(2 * np.pi * 220 * time[inside])
    return Audio(samples.astype(np.float32), RATE)


def word(start: float, end: float, first_phone: float = 0.0) -> AlignedWord:
    """A word of two phones; the first one ends at `first_phone`, or in the middle."""
    border = first_phone or (start + end) / 2
    return AlignedWord("papa", start, end, 0.5, (Phone("P", start, border), Phone("AA", border, end)))


def test_a_pause_taken_for_a_closure_is_given_back() -> None:
    audio = sounding((0.2, 0.6), (0.9, 1.4))

    before, after = snap_to_sound(audio, [word(0.2, 0.62), word(0.62, 1.4, first_phone=0.95)])

    assert after.start == pytest.approx(0.9, abs=EXACT)
    assert after.phones[0] == Phone("P", after.start, 0.95)
    assert (before.start, before.end) == pytest.approx((0.2, 0.62), abs=EXACT)


def test_a_real_closure_stays_in_its_word() -> None:
    audio = sounding((0.2, 0.6), (0.67, 1.4))
    words = [word(0.2, 0.6), word(0.6, 1.4, first_phone=0.72)]

    assert snap_to_sound(audio, words)[1].start == 0.6


def test_sound_that_was_taken_for_silence_joins_its_word() -> None:
    audio = sounding((0.2, 0.6), (0.9, 1.4))

    before, after = snap_to_sound(audio, [word(0.2, 0.5), word(1.02, 1.3)])

    assert after.start == pytest.approx(0.9, abs=EXACT)
    assert after.end == pytest.approx(1.4, abs=EXACT)
    assert before.end == pytest.approx(0.6, abs=EXACT)
    assert (after.phones[0].start, after.phones[-1].end) == (after.start, after.end)


def test_more_sound_than_a_word_can_have_missed_is_no_part_of_it() -> None:
    audio = sounding((0.2, 1.4))
    words = [word(0.8, 1.0)]

    assert snap_to_sound(audio, words) == tuple(words)


def test_words_without_a_pause_between_them_stay() -> None:
    audio = sounding((0.2, 1.4))

    before, after = snap_to_sound(audio, [word(0.2, 0.8), word(0.8, 1.4)])

    assert before.end == after.start == 0.8


def test_in_noise_nothing_is_known_better() -> None:
    audio = sounding((0.2, 0.6), (0.9, 1.4), noise=0.03)
    words = [word(0.2, 0.62), word(0.62, 1.4, first_phone=0.95)]

    assert snap_to_sound(audio, words) == tuple(words)


def test_no_sound_and_no_words() -> None:
    assert snap_to_sound(Audio(np.zeros(0, np.float32), RATE), [word(0.0, 0.1)]) == (word(0.0, 0.1),)
    assert snap_to_sound(sounding(), []) == ()


@given(
    st.lists(st.integers(0, 190), min_size=2, max_size=12, unique=True).map(sorted),
    st.lists(st.integers(0, 190), max_size=12, unique=True).map(sorted),
)
def test_order_is_kept_and_nothing_overlaps(edges: list[int], sounds: list[int]) -> None:
    stretches = [(start / 100, end / 100) for start, end in zip(sounds[::2], sounds[1::2], strict=False)]
    words = [word(start / 100, end / 100) for start, end in zip(edges[::2], edges[1::2], strict=False)]

    found = snap_to_sound(sounding(*stretches), words)

    assert all(0 <= item.start < item.end <= 2.0 for item in found)
    assert all(left.end <= right.start for left, right in pairwise(found))
    assert all(item.phones[0].start < item.phones[0].end <= item.phones[-1].end for item in found)
    assert [item.word for item in found] == [item.word for item in words]
