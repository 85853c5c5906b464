"""Plot data of a vowel space: means over words, spread, trajectories, in Hz and in z."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tts_train.probe.vowel_space import vowel_space

ROLES = {"FOOT": "marker", "STRUT": "marker", "KIT": "control", "GOAT": "marker"}


def _vowel(name: str, word: str, f1: float, f2: float, glide: float = 0.0) -> dict[str, Any]:
    shares = np.array([-1, -0.5, 0, 0.5, 1])
    return {"set": name, "word": word, "f1": [*(f1 + 0 * shares)], "f2": [*(f2 + glide * shares)]}


VOWELS = [
    _vowel("FOOT", "look", 400, 1000), _vowel("FOOT", "look", 420, 1040), _vowel("FOOT", "put", 430, 1100),
    _vowel("FOOT", "good", 390, 1060), _vowel("STRUT", "luck", 600, 1200), _vowel("STRUT", "bus", 640, 1260),
    _vowel("KIT", "six", 400, 1900, 80),
]  # fmt: skip


def test_a_set_is_the_mean_of_its_words_not_of_its_tokens() -> None:
    space = vowel_space(VOWELS, ROLES)
    foot = space["sets"]["FOOT"]
    assert (foot["role"], foot["words"], foot["tokens"]) == ("marker", 3, 4)
    words = np.array([[410, 1020], [430, 1100], [390, 1060]])
    assert foot["hz"]["mean"] == pytest.approx(words.mean(0), abs=1e-3)
    assert np.array(foot["hz"]["covariance"]) == pytest.approx(np.cov(words.T), abs=1e-3)
    assert list(space["sets"]) == ["FOOT", "STRUT", "KIT"], "in the probe's order, without what was not measured"
    assert space["sets"]["STRUT"]["hz"]["covariance"] is None, "two words have no spread"


def test_trajectories_have_the_five_points_and_keep_their_movement() -> None:
    space = vowel_space(VOWELS, ROLES)
    assert space["points"] == [0.2, 0.35, 0.5, 0.65, 0.8]
    track = np.array(space["sets"]["KIT"]["hz"]["trajectory"])
    assert track.shape == (5, 2)
    assert track[:, 1] == pytest.approx([1820, 1860, 1900, 1940, 1980])


def test_z_is_lobanov_over_the_sets_and_does_not_see_the_voice() -> None:
    sets = vowel_space(VOWELS, ROLES)["sets"]
    means = np.array([part["z"]["mean"] for part in sets.values()])
    assert means.mean(0) == pytest.approx([0, 0], abs=1e-3)
    assert means.std(0, ddof=1) == pytest.approx([1, 1], abs=1e-3)
    other = [{**one, "f1": [1.2 * f - 50 for f in one["f1"]], "f2": [1.1 * f for f in one["f2"]]} for one in VOWELS]
    for name, part in vowel_space(other, ROLES)["sets"].items():
        for what in ("mean", "trajectory"):
            assert np.array(part["z"][what]) == pytest.approx(np.array(sets[name]["z"][what]), abs=1e-3)


def test_too_few_sets_are_not_normalised_and_none_is_no_error() -> None:
    few = vowel_space(VOWELS[:6], ROLES)
    assert few["normaliser"] is None
    assert few["sets"]["FOOT"]["z"] is None
    assert vowel_space([], ROLES)["sets"] == {}
