"""Pronunciations of words the dictionary lacks."""

from __future__ import annotations

import pytest

from tts_train.align.pronounce import pronounce
from tts_train.align.text import spoken_words

DICTIONARY = {
    "boat": "B OW T",
    "house": "HH AW S",
    "color": "K AH L ER",
    "hop": "HH AA P",
    "carry": "K EH R IY",
    "judge": "JH AH JH",
    "known": "N OW N",
}


def look_up(word: str) -> list[str] | None:
    return DICTIONARY[word].split() if word in DICTIONARY else None


@pytest.mark.parametrize(
    ("word", "phones", "method"),
    [
        ("Boat", "B OW T", "dictionary"),
        ("colour", "K AH L ER", "spelling"),
        ("boat's", "B OW T S", "affix"),
        ("judges", "JH AH JH AH Z", "affix"),
        ("hopping", "HH AA P IH NG", "affix"),
        ("carried", "K EH R IY D", "affix"),
        ("unknown", "AH N N OW N", "affix"),
        ("colourless", "K AH L ER L AH S", "affix"),
        ("boathouse", "B OW T HH AW S", "compound"),
        ("BBC", "B IY B IY S IY", "letters"),
        ("thick", "TH IH K", "rule"),
    ],
)
def test_words(word: str, phones: str, method: str) -> None:
    found = pronounce(word, look_up)

    assert (" ".join(found.phones), found.method) == (phones, method)


def test_no_word_is_without_phones() -> None:
    assert all(pronounce(word, look_up).phones for word in ("e", "'", "æ", "y'", "zzz", "éé"))


def test_punctuation_falls_away_and_spelling_stays() -> None:
    text = "“Don’t go,” said Mrs. Hall — the café-owner’s wife; St. Anne & Baker St."

    said = " ".join(spoken_words(text))

    assert said == "Don't go said Missus Hall the cafe owner's wife Saint Anne and Baker Street"
