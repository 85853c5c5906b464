"""Which blind trials count, what ABX says, and which listeners their own controls exclude."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulated_listeners import KEY, abx_answers, answered, judgement, named
from tts_train.review.statistics.intervals import clopper_pearson
from tts_train.review.statistics.listening import abx, abx_epochs, chosen, controls, counted


@pytest.mark.parametrize(
    ("correct", "wrong", "heard"),
    [
        (0, 0, "undecided"),
        (7, 0, "undecided"),  # below 8 nothing is decided
        (8, 0, "difference"),
        (7, 1, "undecided"),
        (15, 5, "difference"),
        (14, 6, "undecided"),
        (10, 10, "no-difference"),
        (11, 9, "undecided"),
        (0, 7, "undecided"),
        (120, 80, "difference"),  # heard, if only now and then
    ],
)
def test_abx(correct, wrong, heard):
    found = abx(abx_answers(3, correct, wrong), 3)
    assert (found.n, found.correct, found.heard) == (correct + wrong, correct, heard)
    assert (found.low, found.high) == (
        clopper_pearson(correct, found.n).low,
        clopper_pearson(correct, found.n).high,
    )
    assert (found.more_trials is None) == (heard != "undecided")


def test_abx_says_how_many_more():
    assert abx([], 3).more_trials == 30
    assert abx(abx_answers(3, 14, 6), 3).more_trials == 49 - 20
    assert abx(abx_answers(3, 6, 0), 3).more_trials == 24
    near_chance = abx(abx_answers(3, 11, 9), 3)
    assert 8 <= near_chance.more_trials <= 40  # soon enough to find that there is no difference
    assert "14/20 correct" in abx(abx_answers(3, 14, 6), 3).quoted()


def test_abx_takes_trials_of_these_two_epochs_only():
    given = [*abx_answers(3, 9, 0), *abx_answers(4, 0, 9), *answered(3, 0, 9, 0)]
    assert (abx(given, 3).n, abx(given, 4).correct) == (9, 0)
    assert abx(given, 4, against=3).n == 0
    assert abx_epochs(given) == [3, 4]


def test_only_closed_blind_answers_on_one_key_count():
    good = answered(1, 0, 10, 2)
    given = [
        *good,
        *answered(1, 0, 3, 0, session="b", blind=False),
        *answered(1, 0, 30, 0, session="e", blind=False, render_key="e" * 16),  # the most, but sighted
        *answered(1, 0, 4, 0, session="c", closed=False),
        *answered(1, 0, 5, 0, session="d", render_key="f" * 16),
    ]
    found = counted(given)
    assert list(found.judgements) == good
    assert found.left_out == {"sighted": 33, "session still open": 4, "other render key": 5}
    assert found.sessions == ("s",)
    assert len(counted(given, "f" * 16).judgements) == 5


def test_controls_and_repeats_are_no_evidence_on_epochs():
    roles = ("identical", "repeat", "anchor", "natural")
    given = [
        *answered(1, 0, 8, 0),
        *(judgement(90 + place, 1, 0, "first", role=role) for place, role in enumerate(roles)),
    ]
    assert len(counted(given).tests("ab")) == 8
    assert abx([*abx_answers(2, 8, 0), *abx_answers(2, 0, 3, role="repeat")], 2).n == 8


def test_controls_of_one_listener():
    test = answered(1, 0, 6, 0)
    given = [
        *test,
        judgement(20, 1, 1, "same", role="identical"),
        judgement(21, 1, 1, "first", role="identical"),
        judgement(22, 1, "anchor", "first", role="anchor"),
        judgement(23, "anchor", 1, "first", role="anchor"),
        judgement(24, "target", 1, "first", role="natural"),
        judgement(25, 1, "target", "same", role="natural"),
        judgement(26, 0, 1, "second", role="repeat", repeat_of=2),  # test 2 chose epoch 1 as first
        judgement(27, 1, 0, "second", role="repeat", repeat_of=1),  # test 1 chose epoch 1 as second
        judgement(28, 1, 0, "same", role="repeat", repeat_of=3),
        judgement(29, 1, 0, "same", role="repeat", repeat_of=99),  # its original was not answered
    ]
    assert [chosen(item) for item in test] == [named(1)] * 6
    (found,) = controls(given)
    assert (found.identical, found.false_alarms) == (2, 1)
    assert (found.anchors, found.anchor_hits) == (2, 1)
    assert (found.naturals, found.natural_hits) == (2, 1)
    assert (found.repeats, found.consistent, found.same_clip, found.same_side) == (3, 1, 1, 1)
    assert found.excluded is None


def test_controls_of_sighted_or_open_sessions_say_nothing():
    assert controls([judgement(1, 1, "anchor", "second", role="anchor", blind=False)]) == []
    assert controls([judgement(1, 1, "anchor", "second", role="anchor", closed=False)]) == []


@pytest.mark.parametrize(
    ("hits", "n", "excluded"), [(0, 1, False), (0, 2, True), (1, 3, False), (1, 4, True), (3, 6, True), (8, 10, False)]
)
def test_who_prefers_the_anchor_is_excluded(hits, n, excluded):
    given = answered(1, 0, 4, 4) + [
        judgement(50 + place, 1, "anchor", "first" if place < hits else "second", role="anchor") for place in range(n)
    ]
    (found,) = controls(given)
    assert (found.excluded is not None) == excluded
    sorted_out = counted([*given, *answered(1, 0, 3, 3, listener="bob", session="t")])
    assert sorted_out.left_out == ({"listener excluded": 8 + n} if excluded else {})
    assert {item.listener for item in sorted_out.judgements} == ({"bob"} if excluded else {"ann", "bob"})


def test_who_names_one_side_all_the_time_is_excluded():
    always = [judgement(number, number % 2, 1 - number % 2, "second") for number in range(16)]
    assert "follow the side" in controls(always)[0].excluded
    assert controls(always[:10])[0].excluded is None
    undecided = [replace(item, answer="same") for item in always]
    assert controls(undecided)[0].excluded is None


def test_who_follows_the_side_in_repeats_is_excluded():
    given = []
    for number in range(1, 8):
        side = "first" if number % 2 else "second"
        given += [
            judgement(number, 1, 0, side),
            judgement(50 + number, 0, 1, side, role="repeat", repeat_of=number),
        ]
    assert "named the same side again in 7 of 7" in controls(given)[0].excluded
    told_apart = [replace(item, answer="same") if item.role == "repeat" else item for item in given]
    assert controls(told_apart)[0].excluded is None


def test_false_alarms_and_missed_natural_clips_exclude_nobody():
    given = answered(1, 0, 5, 5) + [judgement(50 + n, 1, 1, "first", role="identical") for n in range(5)]
    given += [judgement(70 + n, 1, "target", "first", role="natural") for n in range(9)]
    (found,) = controls(given, KEY)
    assert (found.false_alarms, found.natural_hits, found.excluded) == (5, 0, None)
