"""Gates: each fault fails its own gate, limits are inclusive, switched-off gates are silent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tts_train.probe.gates import EpochNumbers, ItemNumbers, judge
from tts_train.probe.probe import Gates

ITEM = ItemNumbers("a", 4.0, 4.0, 0.2, 0.0, "duration-predictor")
GOOD = EpochNumbers(0.05, "target", 0.03, 3.0, 3.0, 0.8, [ITEM, replace(ITEM, id="b")])
STRICT = Gates(min_speaker_similarity=0.7, max_pace_ratio=1.5)


def _failed(numbers: EpochNumbers, limits: Gates = STRICT) -> list[str]:
    return [gate.name for gate in judge(numbers, limits) if not gate.passed]


def _with_item(**changes: Any) -> EpochNumbers:
    return replace(GOOD, items=[ITEM, replace(ITEM, id="b", **changes)])


def test_a_sound_epoch_passes_all() -> None:
    assert [gate.name for gate in judge(GOOD, STRICT)] == [
        "runaway", "wer", "dropped", "repeated", "too-long", "too-short", "silence", "clipping", "pace", "speaker",
    ]  # fmt: skip
    assert _failed(GOOD) == []


@pytest.mark.parametrize(
    ("numbers", "gate"),
    [
        (replace(GOOD, wer=0.061), "wer"),
        (_with_item(dropped=["the", "old", "dog"]), "dropped"),
        (_with_item(repeated=["the", "the"]), "repeated"),
        (_with_item(seconds=8.1), "too-long"),
        (_with_item(seconds=1.9), "too-short"),
        (_with_item(silence_ratio=0.51), "silence"),
        (_with_item(clipped_ratio=0.0011), "clipping"),
        (_with_item(stopped_by="runaway-guard"), "runaway"),
        (replace(GOOD, pace=1.9), "pace"),
        (replace(GOOD, pace=4.6), "pace"),
        (replace(GOOD, speaker_similarity=0.69), "speaker"),
    ],
)
def test_each_fault_fails_its_own_gate_only(numbers: EpochNumbers, gate: str) -> None:
    assert _failed(numbers) == [gate]


def test_a_value_on_its_limit_passes() -> None:
    assert _failed(replace(GOOD, wer=0.06)) == []
    assert _failed(_with_item(seconds=8.0)) == []
    assert _failed(_with_item(dropped=["old", "dog"], repeated=["the"])) == []


def test_the_worst_item_is_named_and_wer_is_relative_to_the_target() -> None:
    gates = {gate.name: gate for gate in judge(_with_item(silence_ratio=0.7), STRICT)}
    assert gates["silence"].detail.startswith("b ")
    assert gates["silence"].value == 0.7
    assert gates["wer"].limit == pytest.approx(0.06)
    assert _failed(replace(GOOD, wer=0.3, reference_wer=0.28)) == []


def test_gates_that_are_off_or_cannot_know_do_not_fail() -> None:
    off = Gates(
        max_wer_above_target=None,
        max_dropped_words=None,
        max_repeated_words=None,
        max_silence_ratio=None,
        max_duration_ratio=None,
        min_duration_ratio=None,
        max_clipped_ratio=None,
    )
    assert [gate.name for gate in judge(replace(GOOD, wer=1.0), off)] == ["runaway"]
    blind = replace(GOOD, items=[replace(ITEM, expected_seconds=None)], speaker_similarity=None)
    assert _failed(blind) == []


def test_silence_for_an_answer_fails_the_pace_gate_without_dividing_by_zero() -> None:
    assert _failed(replace(GOOD, pace=0.0)) == ["pace"]


def test_words_are_named_with_their_reading_and_long_lists_are_cut() -> None:
    many = [(f"w{index}", "x") for index in range(11)]
    gates = {gate.name: gate for gate in judge(_with_item(dropped=["old", "dog"], mangled=many), STRICT)}
    assert gates["dropped"].detail == "dropped: old dog in b"
    assert gates["dropped"].value == 2
    assert "w0 → x, w1 → x" in gates["wer"].detail
    assert gates["wer"].detail.endswith("and 3 more")
    assert gates["repeated"].detail == "no word repeated that the target has not"


def test_two_seeds_of_an_item_are_two_readings() -> None:
    """The long one and the short one both fail and are told apart; neither hides the other."""
    seeds = [replace(ITEM, seconds=8.4, stopped_by="runaway-guard"), replace(ITEM, seed=1, seconds=1.0)]
    gates = {gate.name: gate for gate in judge(replace(GOOD, items=seeds), STRICT)}
    assert [name for name, gate in gates.items() if not gate.passed] == ["runaway", "too-long", "too-short"]
    assert gates["runaway"].detail == "a (seed 0) stopped by runaway-guard"
    assert gates["too-long"].detail.startswith("a (seed 0) takes 2.10")
    assert gates["too-short"].detail.startswith("a (seed 1) takes 0.25")


def test_words_are_counted_per_seed_and_the_worst_seed_is_held_against_the_limit() -> None:
    two = [replace(ITEM, dropped=["a", "b"]), replace(ITEM, seed=1, dropped=["c", "d"])]
    assert _failed(replace(GOOD, items=two)) == [], "two of each reading, not four of one"
    worse = replace(GOOD, items=[*two, replace(ITEM, id="b", seed=1, dropped=["e"])])
    gate = next(gate for gate in judge(worse, STRICT) if gate.name == "dropped")
    assert (gate.passed, gate.value) == (False, 3)
    assert gate.detail == "dropped: a b in a (seed 0); c d in a (seed 1); e in b (seed 1)"
