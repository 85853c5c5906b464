"""Listeners with known preferences: how often the decision rule is wrong. The full table: benchmarks/listeners.py."""

from __future__ import annotations

import numpy as np
import pytest

from simulated_listeners import World, answered, logit, trials, two
from tts_train.review.statistics.bradley_terry import Strength
from tts_train.review.statistics.intervals import MIN_DECISIVE, Interval
from tts_train.review.statistics.preference import holm, prefer

FEW = 60
"""Bootstrap replicates here: enough for thousands of simulated sessions in seconds."""


def winners(world, n, simulations, seed=0):
    rng = np.random.default_rng(seed)
    return [prefer("ab", trials(world, n, rng), FEW).winner for _ in range(simulations)]


def wrong(found, right=()):
    return sum(name is not None and name not in right for name in found)


@pytest.mark.parametrize("n", [1, 3, 5, 7])
@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_never_a_winner_below_eight(n, share):
    assert winners(two(share), n, 40) == [None] * 40


@pytest.mark.parametrize(("contenders", "n"), [(2, 10), (2, 30), (3, 40), (5, 60)])
def test_equal_epochs_have_no_winner(contenders, n):
    simulations = 200
    false = wrong(winners(World((0.0,) * contenders), n, simulations, seed=n))
    # The rule errs in 5 % at most; 200 simulations of exactly 5 % stay below 20 in 99.8 %.
    assert false <= 0.05 * simulations, false


def test_two_equal_ones_far_above_the_rest_have_no_winner():
    """The hardest case: only one test stands between the leader and a false win."""
    assert wrong(winners(World((3.0, 3.0, 0.0, 0.0)), 60, 200, seed=1)) <= 10


def test_texts_that_differ_do_not_make_a_winner():
    assert wrong(winners(two(0.5, text_spread=1.0), 50, 200, seed=2)) <= 12


def test_a_clear_preference_is_found():
    found = winners(two(0.9), 20, 100)
    assert found.count("epoch-000") >= 85
    assert wrong(found, ["epoch-000"]) == 0
    four = winners(World((logit(0.9), 0.0, 0.0, 0.0)), 60, 60)
    assert four.count("epoch-000") >= 40
    assert wrong(four, ["epoch-000"]) == 0


def test_eight_of_eight_wins_and_seven_does_not():
    assert prefer("ab", answered(1, 0, MIN_DECISIVE, 0)).winner == "epoch-001"
    seven = prefer("ab", answered(1, 0, 7, 0))
    assert (seven.winner, seven.more_trials) == (None, 1)
    assert "below 8" in seven.why


def test_the_leader_is_held_against_every_contender():
    """Beating the base is not enough: the other epoch was hardly heard."""
    found = prefer("ab", [*answered(3, 0, 20, 1), *answered(4, 0, 3, 0)])
    assert (found.leader, found.winner) == ("epoch-003", None)
    assert "epoch-004" in found.why
    assert found.more_trials > 8


def test_undecided_says_how_many_more():
    found = prefer("ab", answered(1, 0, 14, 6))
    assert found.winner is None
    assert 20 < found.more_trials < 60
    enough = prefer("ab", [item for _ in range(3) for item in answered(1, 0, 14, 6)])
    assert enough.winner == "epoch-001"


def test_equal_epochs_are_told_to_be_taken_as_equal():
    found = prefer("ab", answered(1, 0, 20, 20))
    assert (found.winner, found.more_trials) == (None, None)
    assert "take them as equal" in found.why
    early = prefer("ab", answered(1, 0, 5, 5))
    assert early.more_trials > 8
    assert "equal" not in early.why


def test_no_trials_say_how_many_to_begin_with():
    found = prefer("ab", [])
    assert (found.leader, found.winner, found.more_trials) == (None, None, 30)


def test_same_is_no_decisive_answer():
    ties = [type(item)(**{**vars(item), "answer": "same"}) for item in answered(1, 0, 40, 0)]
    assert prefer("ab", ties).winner is None
    assert prefer("ab", [*answered(1, 0, 7, 0), *ties]).winner is None


def test_listeners_who_disagree_are_a_conflict():
    ann, bob = answered(1, 0, 40, 2), answered(0, 1, 14, 1, listener="bob", session="t")
    found = prefer("ab", [*ann, *bob])
    assert found.winner is None
    assert "bob" in found.why
    (opposed,) = found.opposed
    assert opposed.quoted() == "bob prefers epoch-000 to epoch-001, ann the other way round"
    alike = prefer("ab", [*ann, *answered(1, 0, 14, 1, listener="bob", session="t")])
    assert (alike.winner, alike.opposed) == ("epoch-001", [])


def test_a_second_round_needs_more():
    """15 of 20 decides once; the same answers over two sessions of one listener are a second look."""
    once = answered(1, 0, 15, 5)
    twice = [type(item)(**{**vars(item), "session": "a" if item.number % 2 else "b"}) for item in once]
    assert prefer("ab", once).winner == "epoch-001"
    assert prefer("ab", twice).winner is None
    assert prefer("ab", twice).rounds == 2
    others = [type(item)(**{**vars(item), "listener": item.session}) for item in twice]
    assert prefer("ab", others).rounds == 1


def test_looking_again_does_not_make_winners_of_equals():
    rng = np.random.default_rng(8)
    false = 0
    for _ in range(100):
        given = []
        for session in "abc":
            given += trials(two(0.5), 16, rng, session)
            if prefer("ab", given, FEW).winner:
                false += 1
                break
    assert false <= 8


def test_holm():
    def strength(p):
        return Strength(1.0, 0.7, Interval(0.5, 0.9), 20.0, p)

    found = holm({"a": strength(0.03), "b": strength(0.01), "c": strength(0.02), "d": strength(0.9)})
    assert [(rival.name, round(rival.p, 3)) for rival in found] == [("b", 0.04), ("c", 0.06), ("a", 0.06), ("d", 0.9)]
