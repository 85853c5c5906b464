"""Which phone of a marker word is measured, and what stands for it."""

from __future__ import annotations

import pytest

from tts_train.align.words import AlignedWord, Phone
from tts_train.probe.formants import VowelTrack, marked_vowel


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
