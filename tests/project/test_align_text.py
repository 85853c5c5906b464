"""Numbers and currency as words."""

from __future__ import annotations

import pytest

from tts_train.align.text import spoken_words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It cost £13.60.", "It cost thirteen pounds sixty pence"),
        ("$5 million", "five million dollars"),
        ("£1 and £0.50 and $1.01", "one pound and fifty pence and one dollar one cent"),
        ("1,234 people", "one thousand two hundred and thirty four people"),
        ("at 10:05", "at ten oh five"),
        ("on the 3rd", "on the third"),
        ("in 1999, in the 1990s", "in nineteen ninety nine in the nineteen nineties"),
        ("3.5 or 50%", "three point five or fifty percent"),
        ("No. 5? No. Yes", "number five No Yes"),
        ("007", "seven"),
    ],
)
def test_spoken_words(text: str, said: str) -> None:
    assert spoken_words(text) == said.split()


def test_another_language() -> None:
    assert spoken_words("21 Bücher", "de-DE") == ["einundzwanzig", "Bücher"]
