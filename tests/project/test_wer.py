"""Word errors by name."""

from __future__ import annotations

from tts_train.quality.wer import total, word_errors


def test_errors_are_named() -> None:
    found = word_errors("My dad's boat was here on Sunday.", "dad's boat is here on a sunday")

    assert (found.dropped, found.mangled, found.inserted) == (("my",), (("was", "is"),), ("a",))
    assert (found.errors, found.words) == (3, 7)
    assert found.wer == 3 / 7


def test_spelling_and_numbers_are_no_errors() -> None:
    reference = "The grey boathouse by the harbour cost £5, and ‘Grandad’ rowed 2 miles."
    heard = "the gray boat house by the harbor cost five pounds and grandad rowed two miles"

    assert word_errors(reference, heard).errors == 0


def test_two_words_that_are_in_the_reference_stay_two() -> None:
    assert word_errors("a boat house and a boathouse", "a boat house and a boathouse").errors == 0
    assert word_errors("the boat house", "the boats house").errors == 1


def test_words_said_again_are_named_wherever_they_stand() -> None:
    stutter = word_errors("put the kettle on", "put the put the kettle on on")
    assert stutter.repeated == ("put", "the", "on")
    assert stutter.inserted == ("put", "the", "on")
    loop = word_errors("a red hen slept in the shed", "a red hen a red hen a red")
    assert loop.repeated[:3] == ("a", "red", "hen"), "a loop in the place of the text is heard as mangled words"
    assert word_errors("he had had that that day", "he had had that that day").repeated == ()
    assert word_errors("the old, old dog", "the old old old dog").repeated == ("old",)
    assert total([stutter, loop]).repeated == stutter.repeated + loop.repeated
    assert stutter.as_dict()["repeated"] == ["put", "the", "on"]


def test_empty_texts() -> None:
    assert word_errors("", "").wer == 0
    assert word_errors("two words", "").dropped == ("two", "words")
    assert word_errors("", "two words").errors == 2


def test_a_total_weighs_by_words() -> None:
    parts = [word_errors("one", "won"), word_errors("a b c d e f g h i", "a b c d e f g h i")]

    assert total(parts).wer == 0.1
