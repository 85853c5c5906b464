"""Krippendorff's alpha against the GPL package that we may not ship, and what one listener gets instead."""

from __future__ import annotations

import krippendorff
import numpy as np
import pytest

from simulated_listeners import answered, judgement
from tts_train.errors import InputUnusable
from tts_train.review.statistics.agreement import MARKS_IN_ORDER, krippendorff_alpha, mark_agreement, trial_agreement
from tts_train.review.statistics.listening import controls

# Krippendorff (2011), example C: four observers, twelve units, some missing.
EXAMPLE = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""


def ratings_of(rows):
    """Unit → listener → value, from one row of values per listener."""
    return {
        unit: {f"listener-{who}": str(row[unit]) for who, row in enumerate(rows) if row[unit] not in (".", None)}
        for unit in range(len(rows[0]))
    }


@pytest.mark.parametrize(("scale", "value"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_the_published_example(scale, value):
    rows = [line.split() for line in EXAMPLE.split("\n") if line]
    found = krippendorff_alpha(ratings_of(rows), scale, "12345")
    assert found.value == pytest.approx(value, abs=5e-4)
    assert found.units == 11
    assert found.low < found.value < found.high


@pytest.mark.parametrize("scale", ["nominal", "ordinal"])
def test_random_ratings_agree_with_the_package(scale):
    rng = np.random.default_rng(4)
    for _ in range(30):
        listeners, units, values = rng.integers(2, 6), rng.integers(3, 30), rng.integers(2, 6)
        data = rng.integers(0, values, (listeners, units)).astype(float)
        data[1] = np.where(rng.random(units) < 0.7, data[0], data[1])
        data[rng.random(data.shape) < 0.2] = np.nan
        pairable = data[:, np.isfinite(data).sum(0) >= 2]
        if len(np.unique(pairable[np.isfinite(pairable)])) < 2:
            continue
        expected = krippendorff.alpha(reliability_data=data, level_of_measurement=scale)
        rows = [[None if np.isnan(value) else int(value) for value in row] for row in data]
        found = krippendorff_alpha(ratings_of(rows), scale, [str(value) for value in range(values)])
        assert found.value == pytest.approx(expected, abs=1e-9)


def test_one_listener_has_no_alpha():
    with pytest.raises(InputUnusable, match="needs two of them, not 1") as refused:
        krippendorff_alpha({1: {"ann": "a"}, 2: {"ann": "b"}}, "nominal")
    assert refused.value.exit_code == 65
    assert "repeats" in refused.value.hint


def test_listeners_with_nothing_in_common_have_no_alpha():
    with pytest.raises(InputUnusable, match="no two listeners judged the same"):
        krippendorff_alpha({1: {"ann": "a"}, 2: {"bob": "b"}}, "nominal")


def test_unanimity_is_undefined_not_perfect():
    assert krippendorff_alpha({unit: {"ann": "a", "bob": "a"} for unit in range(9)}, "nominal").value is None


def test_few_units_carry_no_interval():
    found = krippendorff_alpha({unit: {"ann": "ab"[unit % 2], "bob": "ab"[unit % 2]} for unit in range(4)}, "nominal")
    assert (found.value, found.low) == (1.0, None)


def test_one_listener_is_held_against_their_own_repeats():
    first = answered(1, 0, 10, 2)
    again = [
        judgement(20 + number, item.second, item.first, "second" if item.answer == "first" else "first",
                  item=item.item, role="repeat", repeat_of=item.number)
        for number, item in enumerate(first[:4])
    ]  # fmt: skip
    found = trial_agreement(first, controls([*first, *again]))
    assert (found["measure"], found["value"], found["n"]) == ("test-retest", 1.0, 4)
    assert found["low"] < 0.6
    assert trial_agreement(first, controls(first))["measure"] is None


def test_two_listeners_on_the_same_trials():
    ann, bob = answered(1, 0, 10, 6), answered(1, 0, 10, 6, listener="bob")
    # Each trial its own unit: the seed tells them apart.
    both = [type(item)(**{**vars(item), "seed": item.number}) for item in (*ann, *bob)]
    assert trial_agreement(both, controls(both))["value"] == 1.0


def test_marks_lie_on_one_line():
    far = {(epoch, "BATH"): {"ann": mark, "bob": mark} for epoch, mark in enumerate(MARKS_IN_ORDER * 2)}
    assert mark_agreement(far)["value"] == 1.0
    opposed = {unit: {"ann": "baseline", "bob": "overshot"} if unit[0] == 1 else told for unit, told in far.items()}
    near = {unit: {"ann": "target", "bob": "overshot"} if unit[0] == 1 else told for unit, told in far.items()}
    assert mark_agreement(opposed)["value"] < mark_agreement(near)["value"] < 1.0
    assert mark_agreement({(1, "BATH"): {"ann": "not-heard", "bob": "mangled"}})["measure"] is None
