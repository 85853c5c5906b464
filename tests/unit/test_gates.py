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
        "runaway", "wer", "too-long", "too-short", "silence", "clipping", "pace", "speaker",
    ]  # fmt: skip
    assert _failed(GOOD) == []


@pytest.mark.parametrize(
    ("numbers", "gate"),
    [
        (replace(GOOD, wer=0.061), "wer"),
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


def test_the_worst_item_is_named_and_wer_is_relative_to_the_target() -> None:
    gates = {gate.name: gate for gate in judge(_with_item(silence_ratio=0.7), STRICT)}
    assert gates["silence"].detail.startswith("b ")
    assert gates["silence"].value == 0.7
    assert gates["wer"].limit == pytest.approx(0.06)
    assert _failed(replace(GOOD, wer=0.3, reference_wer=0.28)) == []


def test_gates_that_are_off_or_cannot_know_do_not_fail() -> None:
    off = Gates(
        max_wer_above_target=None,
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
