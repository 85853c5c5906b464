"""Text before it is cut into tokens."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_qwen3 import LANGUAGES
from tts_train.backends.qwen3.text import language_name, normalise
from tts_train.errors import ConfigError

SPACES_AND_MARKS = st.text(
    st.sampled_from(" \t\n\r\x1c\x85\xa0\u1680\u2000\u2003\u2028\u3000\u0301\u0323ae\u00e9\u1100\u1161")
)


@given(st.one_of(st.text(), SPACES_AND_MARKS))
def test_normalising_twice_changes_nothing_more(text):
    once = normalise(text)

    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once.split(" ") == once.split() or not once


@given(st.text(), st.sampled_from([" ", "\n", "\u00a0", " \t "]))
def test_white_space_around_and_between_words_has_no_effect(text, space):
    assert normalise(f"{space}{text}{space}") == normalise(text)
    assert normalise(f"one{space}two") == "one two"


def test_composed_and_decomposed_letters_are_one_text():
    assert normalise("caf\u00e9") == normalise("cafe\u0301") == "caf\u00e9"


def test_case_and_punctuation_are_kept():
    assert normalise("Dr. O'Neil said: «No!»") == "Dr. O'Neil said: «No!»"


@pytest.mark.parametrize("tag", ["en", "EN", "English", " english ", "en-GB", "en_us"])
def test_a_language_has_many_tags(tag):
    assert language_name(tag, LANGUAGES) == "english"


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_language_of_the_published_models_has_a_code(name):
    codes = {"portuguese": "pt", "spanish": "es", "german": "de", "chinese": "zh", "japanese": "ja"}

    assert language_name(codes.get(name, name[:2]), LANGUAGES) == name


def test_auto_names_no_language():
    assert language_name("Auto", LANGUAGES) == "auto"


def test_a_base_s_own_tags_are_known_by_name():
    assert language_name("Beijing_Dialect", {**LANGUAGES, "beijing_dialect": 2074}) == "beijing_dialect"


@pytest.mark.parametrize("tag", ["cy", "", "englisch", "-"])
def test_a_language_that_the_base_does_not_know_is_refused_with_those_it_does(tag):
    with pytest.raises(ConfigError) as refused:
        language_name(tag, LANGUAGES)

    assert f"'{tag}'" in refused.value.message
    assert refused.value.hint.startswith("one of: auto, chinese, english")


def test_a_known_code_of_an_unknown_language_is_refused():
    with pytest.raises(ConfigError):
        language_name("de", {"english": 2050})
