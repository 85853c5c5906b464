"""The probe's schema: every fault at once, with its line, and tokens that match the aligner's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tts_train.errors import ConfigError
from tts_train.probe.probe import Probe, Token, load_probe

GOOD = """\
name: small
language: en
items:
  - {id: one, text: "Look, the path is long; the cat can't look."}
  - {id: two, text: "Good luck on the path."}
markers:
  - {set: FOOT, words: [look, good], expected: "[ʊ]"}
  - {set: STRUT, words: [luck]}
  - {set: BATH, words: [path]}
  - {set: KIT, words: [is], role: control}
contrasts:
  - {name: foot_strut, sets: [FOOT, STRUT], expected: smaller}
pairs: [[look, luck]]
sites: [{kind: join, item: two, words: [luck, "on"]}]
"""


def _load(folder: Path, text: str) -> Probe:
    path = folder / "probe.yaml"
    path.write_text(text, encoding="utf-8")
    return load_probe(path)


def _problems(folder: Path, text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(ConfigError) as caught:
        _load(folder, text)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_tokens_are_every_occurrence_with_its_place_among_the_spoken_words(tmp_path: Path) -> None:
    probe = _load(tmp_path, GOOD)
    assert probe.tokens("FOOT") == [Token("one", "look", 0), Token("one", "look", 8), Token("two", "good", 0)]
    assert [
        item.words[token.index].lower()
        for item in probe.items
        for token in probe.tokens("BATH")
        if token.item == item.id
    ] == [
        "path",
        "path",
    ]
    assert probe.controls == ["KIT"]
    with pytest.raises(ConfigError, match="no set 'GOAT'"):
        probe.tokens("GOAT")


def test_every_fault_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    broken = (
        GOOD.replace("words: [luck]}", "words: [luk, Path]}")
        .replace("sets: [FOOT, STRUT]", "sets: [FOOT, STRUTT]")
        .replace("[[look, luck]]", "[[look, lucky]]")
        .replace("id: two", "id: one")
        .replace('item: two, words: [luck, "on"]', "item: one, words: [cat, look]")
    )
    assert _problems(tmp_path, broken) == [
        (5, "the id 'one' is given twice in items"),
        (8, "STRUT word 'luk' is in no item's text; did you mean 'luck'?"),
        (9, "'path' stands in STRUT already: a word is a token of one set"),
        (12, "contrast 'foot_strut': no marker has the set 'STRUTT'; did you mean 'STRUT'?"),
        (13, "pair word 'lucky' is in no item's text; did you mean 'luck'?"),
        (14, "join: 'cat look' is not in the text of 'one'"),
    ]


def test_a_glide_needs_a_set_and_a_name_of_its_own(tmp_path: Path) -> None:
    wrong = GOOD + "glides: [{name: foot_strut, set: FOOT, expected: smaller}, {name: g, set: FOT, expected: larger}]\n"
    line = wrong.count("\n")
    assert _problems(tmp_path, wrong) == [
        (line, "the name 'foot_strut' is a contrast's already"),
        (line, "glide 'g': no marker has the set 'FOT'; did you mean 'FOOT'?"),
    ]
    glide = "glides: [{name: foot_glide, set: FOOT, expected: smaller}]\n"
    assert _load(tmp_path, GOOD + glide).marks_sha256 == _load(tmp_path, GOOD).marks_sha256, "measured all the same"


def test_a_marker_word_inside_another_word_is_not_a_token(tmp_path: Path) -> None:
    assert _problems(tmp_path, GOOD.replace("words: [is]", "words: [an]")) == [
        (10, "KIT word 'an' is in no item's text"),
    ]


def test_digits_and_unknown_keys_are_refused(tmp_path: Path) -> None:
    assert _problems(tmp_path, GOOD.replace("Good luck", "Good luck 2"))[0] == (
        5,
        "item 'two' holds digits or currency signs: write numbers as words",
    )
    assert "did you mean 'markers'?" in _problems(tmp_path, GOOD.replace("markers:", "marker:"))[0][1]


def test_hash_of_marks_follows_markers_only(tmp_path: Path) -> None:
    marks = _load(tmp_path, GOOD).marks_sha256
    assert _load(tmp_path, GOOD + "gates: {max_silence_ratio: 0.4}\n").marks_sha256 == marks
    assert _load(tmp_path, GOOD.replace("[look, good]", "[good, look]")).marks_sha256 == marks
    assert _load(tmp_path, GOOD.replace("[look, good]", "[look]")).marks_sha256 != marks


def test_the_shipped_probes_are_sound_and_rich_enough() -> None:
    paths = sorted((Path(__file__).parents[2] / "configs/probes").glob("*.yaml"))
    assert paths
    for path in paths:
        probe = load_probe(path)
        assert probe.controls
        for contrast in probe.contrasts:
            for name in contrast.sets:
                assert len(probe.tokens(name)) >= 10, (path.name, name)
        for glide in probe.glides:
            assert len(probe.tokens(glide.set)) >= 8, (path.name, glide.name)


def test_seeds_may_be_left_out_but_not_be_given_twice(tmp_path: Path) -> None:
    assert _load(tmp_path, GOOD).seeds == []
    assert _load(tmp_path, GOOD + "seeds: [4, 7]\n").seeds == [4, 7]
    assert _problems(tmp_path, GOOD + "seeds: [4, 4]\n") == [(15, "a seed stands there twice")]
    [(line, message)] = _problems(tmp_path, GOOD + "seeds: [-1]\n")
    assert line == 15
    assert "greater than or equal to 0" in message
