"""Accent statistics on numbers whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tts_train.probe import accent
from tts_train.probe.accent import Vowel, change, contrast, distance, progress_to_target, word_means
from tts_train.probe.bootstrap import Estimate, Means, Way

# Mean F1, F2 in Hz of a man's vowels; FOOT and STRUT apart, as in the South.
HERTZ = {
    "FLEECE": (280, 2250), "KIT": (400, 1900), "DRESS": (560, 1750), "TRAP": (740, 1500), "PALM": (680, 1080),
    "GOAT": (480, 1150), "FACE": (460, 1950), "FOOT": (420, 1050), "STRUT": (600, 1200), "BATH": (680, 1100),
}  # fmt: skip
# How far a diphthong moves between 20 and 80 % of its length; the other vowels stay where they are.
GLIDES = {"FACE": (-120, 280), "GOAT": (-80, -150)}
CONTROLS = ["KIT", "DRESS", "FLEECE"]
FS = ("FOOT", "STRUT")
WORD_SD, NOISE_SD = (40.0, 110.0), (22.0, 60.0)
WORLDS = 100
Move = Callable[[str, tuple[float, float]], tuple[float, float]]


@pytest.fixture(autouse=True)
def _fewer_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tts_train.probe.bootstrap.REPLICATES", 300)


class World:
    """Words of one speaker: a context effect per word stays, measuring noise is drawn anew for each condition."""

    def __init__(self, seed: int, words: int = 10) -> None:
        self.rng = np.random.default_rng(seed)
        self.context = {
            (name, f"{name}{index}"): self.rng.normal(0, WORD_SD) for name in HERTZ for index in range(words)
        }

    def speak(self, move: Move = lambda _name, hertz: hertz, noise: float = 1.0, glide: float = 1.0) -> Means:
        def vowel(name: str, word: str, context: np.ndarray) -> Vowel:
            centre = np.array(move(name, HERTZ[name])) + context
            half = glide * np.array(GLIDES.get(name, (0, 0))) / 2
            points = (centre, centre - half, centre + half)
            (f1, f2), onset, offset = (point + noise * self.rng.normal(0, NOISE_SD) for point in points)
            return Vowel(name, word, float(f1), float(f2), tuple(onset), tuple(offset))

        return word_means(vowel(name, word, context) for (name, word), context in self.context.items())


def _merge(share: float) -> Move:
    """Move STRUT towards FOOT by `share` of the way."""
    (f1, f2), (s1, s2) = HERTZ["FOOT"], HERTZ["STRUT"]
    return lambda name, hertz: (s1 + share * (f1 - s1), s2 + share * (f2 - s2)) if name == "STRUT" else hertz


def _true_distance(share: float) -> float:
    means = np.array([_merge(share)(name, HERTZ[name]) for name in HERTZ], float)
    names = list(HERTZ)
    step = (means[names.index("STRUT")] - means[names.index("FOOT")]) / means.std(0, ddof=1)
    return float(np.linalg.norm(step))


def _value(estimate: Estimate | None) -> float:
    assert estimate is not None
    return estimate.value


def _covers(estimate: Estimate | None, truth: float) -> bool:
    assert estimate is not None
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low - 1e-9 <= truth <= estimate.high + 1e-9


@pytest.mark.parametrize(
    "voice",
    [
        lambda _name, hertz: (hertz[0] - 60, hertz[1] + 150),
        lambda _name, hertz: (hertz[0] * 1.15, hertz[1] * 1.15),
        lambda _name, hertz: (hertz[0] * 0.9 + 50, hertz[1] * 1.1 - 80),
    ],
    ids=["shift", "vocal tract", "both"],
)
def test_a_change_of_the_whole_voice_is_no_change_of_accent(voice: Move) -> None:
    # Applied to what is measured, as a vocal tract does: word effects are scaled too.
    base = World(1).speak()
    other = {
        name: {word: np.array([voice(name, tuple(point)) for point in points]) for word, points in words.items()}
        for name, words in base.items()
    }
    for way in (FS, "FACE"):
        assert _value(change(way, other, base)) == pytest.approx(0, abs=1e-9)
        for expected in ("smaller", "larger"):
            assert contrast(way, expected, CONTROLS, other, base, None)["verdict"] == "not shown"


def test_t_is_0_for_the_base_and_1_for_the_target_by_construction() -> None:
    world = World(2)
    base, target = world.speak(), world.speak(_merge(0.9))
    for epoch, expected in ((base, 0.0), (target, 1.0)):
        progress = progress_to_target(FS, epoch, base, target)
        assert progress is not None
        for estimate, value in ((progress.t, expected), (progress.off_axis, 0.0)):
            assert (estimate.value, estimate.low, estimate.high) == pytest.approx((value, value, value), abs=1e-9)
    half = progress_to_target(FS, world.speak(_merge(0.45), noise=0.2), base, target)
    assert half is not None
    assert 0.25 < half.t.value < 0.75
    assert half.off_axis.low < 0 < half.off_axis.high


def test_t_is_not_given_where_base_and_target_do_not_differ() -> None:
    world = World(3)
    assert progress_to_target(FS, world.speak(_merge(0.5)), world.speak(), world.speak()) is None


@pytest.mark.parametrize(("share", "overshot"), [(0.5, False), (1.0, False), (2.0, True)])
def test_an_epoch_that_has_gone_past_the_target_is_called_overshot(share: float, overshot: bool) -> None:
    world = World(20)
    base, target, epoch = world.speak(), world.speak(_merge(0.5)), world.speak(_merge(0.5 * share), noise=0.3)
    evidence = contrast(FS, "smaller", CONTROLS, epoch, base, target)
    assert evidence["overshot"] is overshot
    assert (evidence["t_low"] > 1.2) is overshot


def test_a_change_beside_the_line_to_the_target_is_told() -> None:
    """STRUT goes forward instead of up: nearer to nothing, and with an interval that says so."""
    world = World(21)
    base, target = world.speak(), world.speak(_merge(0.9))
    aside = world.speak(lambda name, hertz: (hertz[0], hertz[1] + 450) if name == "STRUT" else hertz)
    evidence = contrast(FS, "smaller", CONTROLS, aside, base, target)
    assert abs(evidence["off_axis"]) > 0.5
    assert evidence["off_axis_low"] * evidence["off_axis_high"] > 0
    assert evidence["verdict"] == "not shown"


def test_a_diphthong_that_becomes_a_monophthong_is_shown() -> None:
    world = World(22)
    base, target, epoch = world.speak(), world.speak(glide=0.1), world.speak(glide=0.3)
    evidence = contrast("FACE", "smaller", CONTROLS, epoch, base, target)
    assert evidence["kind"] == "glide"
    assert evidence["verdict"] == "shown", evidence
    assert evidence["n"] == {"FACE": 10}
    assert 0.5 < evidence["t"] < 1.1
    assert contrast("FACE", "larger", CONTROLS, epoch, base, target)["verdict"] == "not shown"
    still = [_value(distance("KIT", World(seed).speak())) for seed in range(20)]
    assert np.median(still) < 0.25, "a vowel that does not move has no glide beyond noise"


def test_a_glide_no_larger_than_the_controls_change_is_not_shown() -> None:
    world = World(23)
    base, slow = world.speak(), world.speak(glide=0.4)
    slow["KIT"] = {word: points + np.array([[0, 0], [150, -400], [-150, 400]]) for word, points in slow["KIT"].items()}
    evidence = contrast("FACE", "smaller", CONTROLS, slow, base, None)
    assert evidence["verdict"] == "not shown"
    assert "control sets" in evidence["why"]


def test_a_word_whose_ends_were_not_tracked_has_a_centre_but_no_glide() -> None:
    means = World(24).speak()
    lost = dict(means, FACE=dict(means["FACE"]))
    lost["FACE"]["FACE0"] = np.array([means["FACE"]["FACE0"][0], [np.nan] * 2, [np.nan] * 2])
    assert contrast("FACE", "smaller", CONTROLS, lost, means, None)["n"] == {"FACE": 9}
    assert contrast(("KIT", "FACE"), "smaller", CONTROLS, lost, means, None)["n"] == {"KIT": 10, "FACE": 10}


def test_a_merger_is_shown_in_the_expected_direction_only() -> None:
    world = World(4)
    base, merged = world.speak(), world.speak(_merge(0.9))
    closer = contrast(FS, "smaller", CONTROLS, merged, base, merged)
    assert closer["verdict"] == "shown", closer
    assert closer["change"] < -0.4
    assert closer["change_high"] < 0
    assert closer["n"] == {"FOOT": 10, "STRUT": 10}
    against = contrast(FS, "larger", CONTROLS, merged, base, merged)
    assert against["verdict"] == "not shown"
    assert "against what is expected" in against["why"]


def test_a_change_no_larger_than_the_controls_is_not_shown() -> None:
    world = World(5)
    (f1, f2), merge = HERTZ["KIT"], _merge(0.9)
    wandering = world.speak(lambda name, hertz: (f1 + 180, f2 - 500) if name == "KIT" else merge(name, hertz))
    evidence = contrast(FS, "smaller", CONTROLS, wandering, world.speak(), None)
    assert evidence["verdict"] == "not shown"
    assert "control sets" in evidence["why"]


def test_intervals_of_a_glide_cover_the_truth() -> None:
    covered = 0
    means = np.array([*HERTZ.values()], float)
    truth = float(np.linalg.norm(np.array(GLIDES["FACE"]) / means.std(0, ddof=1)))
    for seed in range(WORLDS):
        world = World(900 + seed)
        base, epoch = world.speak(), world.speak(glide=0.3)
        covered += _covers(change("FACE", epoch, base), (0.3 - 1.0) * truth)
    assert covered > 0.88 * WORLDS


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0], ids=["apart", "closer", "merged"])
def test_intervals_cover_the_truth(share: float) -> None:
    """A binomial of 100 and 0.95 stays above 88 with probability 0.996."""
    covered = {"distance": 0, "change": 0}
    truth, moved = _true_distance(share), _true_distance(share) - _true_distance(0.0)
    for seed in range(WORLDS):
        world = World(100 + seed)
        base, epoch = world.speak(), world.speak(_merge(share))
        covered["distance"] += _covers(distance(FS, epoch), truth)
        covered["change"] += _covers(change(FS, epoch, base), moved)
    assert min(covered.values()) > 0.88 * WORLDS, covered


@pytest.mark.parametrize("way", [FS, "FACE"], ids=["contrast", "glide"])
def test_the_same_voice_spoken_again_is_rarely_called_changed(way: Way) -> None:
    """About 1 % in longer simulations; a binomial of 100 and 0.01 stays under 5 with probability 0.997."""
    shown = 0
    for seed in range(WORLDS):
        world = World(500 + seed)
        shown += contrast(way, "smaller", CONTROLS, world.speak(), world.speak(), None)["verdict"] == "shown"
    assert shown < 5


def test_merged_sets_have_distance_0_not_the_distance_of_their_noise() -> None:
    values = [_value(distance(FS, World(seed).speak(_merge(1.0)))) for seed in range(20)]
    assert np.median(values) < 0.1


def test_tokens_of_a_word_are_averaged_and_count_once() -> None:
    vowels = [Vowel("FOOT", "look", 390, 1010), Vowel("FOOT", "look", 410, 990), Vowel("FOOT", "put", 500, 1200)]
    means = word_means(vowels)["FOOT"]
    assert {word: tuple(points[0]) for word, points in means.items()} == {"look": (400, 1000), "put": (500, 1200)}
    ends = [Vowel("FACE", "day", 1, 2, (400, 1800), (340, 2100)), Vowel("FACE", "day", 1, 2)]
    assert word_means(ends)["FACE"]["day"].tolist() == [[1, 2], [400, 1800], [340, 2100]]


@pytest.mark.parametrize(
    ("z", "in_bark", "floor", "why"),
    [
        (Estimate(-0.5, -0.8, -0.2), Estimate(-0.4, -0.7, -0.1), 0.2, ""),
        (Estimate(-0.5, -1.1, 0.1), Estimate(-0.4, -0.7, -0.1), 0.2, "the interval of the change holds 0"),
        (Estimate(-0.5, -0.8, -0.2), Estimate(-0.4, -0.9, 0.1), 0.2, "the interval of the change holds 0 in Bark"),
        (Estimate(-0.5, -0.8, -0.2), Estimate(-0.4, -0.7, -0.1), 0.6, "control sets"),
        (Estimate(-0.1, -0.14, -0.06), Estimate(-0.4, -0.7, -0.1), 0.0, "the change is below 0.15 z"),
        (Estimate(0.5, 0.2, 0.8), Estimate(0.4, 0.1, 0.7), 0.2, "the distance grew larger"),
        (Estimate(-0.5, None, None), Estimate(-0.4, None, None), None, "fewer than 5 words"),
    ],
)
def test_each_condition_of_a_claim_is_asked_for(z: Estimate, in_bark: Estimate, floor: float, why: str) -> None:
    lacking = accent._lacking(FS, z, in_bark, "smaller", floor)
    assert lacking.startswith(why)
    assert bool(lacking) is bool(why)


def test_too_few_words_give_a_number_without_an_interval_and_no_claim() -> None:
    world = World(6, words=3)
    evidence = contrast(FS, "smaller", CONTROLS, world.speak(_merge(1.0)), world.speak(), None)
    assert evidence["low"] is None
    assert evidence["change_low"] is None
    assert evidence["verdict"] == "not shown"
    assert "fewer than 5" in evidence["why"]


def test_an_unmeasured_set_is_not_shown_and_does_not_break() -> None:
    base = World(7).speak()
    without = {name: words for name, words in base.items() if name != "STRUT"}
    assert contrast(FS, "smaller", CONTROLS, without, base, None)["verdict"] == "not shown"
    assert distance(FS, without) is None
    assert contrast("STRUT", "smaller", CONTROLS, without, base, None)["why"] == "STRUT was not measured"


def test_the_same_seed_gives_the_same_interval() -> None:
    base = World(8).speak()
    assert distance(FS, base, seed=3) == distance(FS, base, seed=3)
    assert distance(FS, base, seed=3) != distance(FS, base, seed=4)
