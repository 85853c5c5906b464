"""Which phone of a marker word is measured, what stands for it, and that both engines find the same formants."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tts_train.align.words import AlignedWord, Phone
from tts_train.audio import Audio
from tts_train.errors import Unavailable
from tts_train.probe.formants import FormantTracker, VowelTrack, marked_vowel, praat, praatfan

RATE = 22050
SPOKEN = (0.1, 0.5)
"""Where the made vowel moves, in seconds."""


def _word(phones: str) -> AlignedWord:
    names = phones.split()
    return AlignedWord(
        "w", 0.0, len(names) / 10, 0.2, tuple(Phone(n, i / 10, (i + 1) / 10) for i, n in enumerate(names))
    )


@pytest.mark.parametrize(
    ("lexical_set", "phones", "index"),
    [
        ("STRUT", "S AH M ER", 1),
        ("BATH", "B AE S K AH T", 1),
        ("BATH", "AH F AE T ER N UW N", 2),
        ("PALM", "HH ER AA", 2),
        ("happY", "S T AO R IY", 4),
        ("happY", "R EH D IY", 3),
        ("lettER", "M AH DH ER", 3),
        ("FOOT", "P AH T UW", 1),
        ("own set", "K IH CH AH N", 1),
    ],
)
def test_the_vowel_of_the_set_is_found_in_longer_words(lexical_set: str, phones: str, index: int) -> None:
    phone = marked_vowel(_word(phones), lexical_set)
    assert phone is not None
    assert (phone.name, phone.start) == (phones.split()[index], index / 10)


def test_a_word_without_phones_is_left_out() -> None:
    assert marked_vowel(AlignedWord("w", 0.0, 1.0, 0.2), "KIT") is None


def test_the_centre_of_the_vowel_stands_for_it_and_one_stray_point_does_not_matter() -> None:
    track = VowelTrack(0.0, 0.1, (900.0, 410.0, 800.0, 400.0, 100.0), (1.0, 1500.0, 1510.0, 900.0, 9.0))
    vowel = track.as_vowel("FOOT", "look")
    assert (vowel.f1, vowel.f2) == (410.0, 1500.0)


def test_an_end_that_is_a_tracking_error_gives_no_glide() -> None:
    track = VowelTrack(0.0, 0.1, (400.0, 410.0, 420.0, 430.0, 440.0), (1500.0, 1510.0, 1520.0, 1530.0, 3500.0))
    vowel = track.as_vowel("FACE", "day")
    assert (vowel.onset, vowel.offset) == ((400.0, 1500.0), None)


def _diphthong() -> Audio:
    """A voice of 110 Hz through two moving resonances: F1 700 to 400 Hz, F2 1200 to 2000 Hz; then silence."""
    time = np.arange(int(RATE * 0.6)) / RATE
    share = np.clip((time - SPOKEN[0]) / (SPOKEN[1] - SPOKEN[0]), 0, 1)
    samples = np.zeros(len(time))
    samples[:: RATE // 110] = 1.0
    tilt = 0.985 ** np.arange(400)  # of the voice, which pre-emphasis takes out
    samples = np.convolve(samples, tilt)[: len(time)]
    tracks = [(700 - 300 * share, 80.0), (1200 + 800 * share, 110.0)]
    tracks += [(np.full(len(time), f), 150.0) for f in (2700.0, 3600.0, 4500.0)]
    for frequency, bandwidth in tracks:
        radius = np.exp(-np.pi * bandwidth / RATE)
        first = 2 * radius * np.cos(2 * np.pi * frequency / RATE)
        out = np.zeros(len(samples) + 2)
        for index, value in enumerate(samples):
            out[index + 2] = value + first[index] * out[index + 1] - radius**2 * out[index]
        samples = out[2:]
    return Audio((0.5 * samples / np.abs(samples).max()).astype(np.float32), RATE)


def test_both_engines_find_formants_that_are_known_and_name_themselves() -> None:
    audio, found = _diphthong(), {}
    for engine in (praat, praatfan):
        tracker = FormantTracker(5000, [engine])
        (track,) = tracker.vowels(audio, [SPOKEN])
        assert track is not None
        found[tracker.engine["engine"]] = np.array([track.f1, track.f2])
        assert tracker.engine["ceiling_hz"] == 5000
        assert tracker.vowels(audio, [(0.2, 0.24), (9.0, 9.5)]) == [None, None], "too short; not in the clip"
    names = sorted(found)
    assert [name.split()[0] for name in names] == ["praat", "praatfan"]
    truth = np.array([[640, 595, 550, 505, 460], [1360, 1480, 1600, 1720, 1840]])
    for name, values in found.items():
        assert np.abs(values - truth).max() < 60, (name, values)
    assert np.abs(found[names[0]] - found[names[1]]).max() < 3


def test_the_free_engine_steps_in_for_praat_and_without_both_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FormantTracker(5000).engine["engine"].startswith("praat 6.")
    monkeypatch.setitem(sys.modules, "parselmouth", None)
    assert FormantTracker(5500).engine["engine"].startswith("praatfan ")
    monkeypatch.setitem(sys.modules, "praatfan", None)
    with pytest.raises(Unavailable, match="neither is installed") as caught:
        FormantTracker(5000)
    assert "run.sh setup project" in caught.value.hint
