"""Intervals of counted answers against scipy, exact coverage by enumeration, and published numbers of trials."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from tts_train.review.statistics.intervals import (
    MIN_DECISIVE,
    Interval,
    clopper_pearson,
    decides,
    needed,
    needed_below,
    power,
    tie_probability,
    wilson,
)


@given(st.integers(1, 200), st.data())
def test_whole_numbers_give_what_scipy_gives(n, data):
    k = data.draw(st.integers(0, n))
    test = binomtest(k, n)
    exact, score = test.proportion_ci(), test.proportion_ci(method="wilson")
    assert clopper_pearson(k, n) == Interval(pytest.approx(exact.low), pytest.approx(exact.high))
    assert wilson(k, n) == Interval(pytest.approx(score.low, abs=1e-12), pytest.approx(score.high))
    assert tie_probability(k, n) == pytest.approx(test.pvalue)


@given(st.floats(1, 200), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_test_and_the_interval_agree_also_for_fractions(n, share, level):
    interval, p = clopper_pearson(share * n, n, level), tie_probability(share * n, n)
    assert 0.0 <= interval.low <= share + 1e-9
    assert share - 1e-9 <= interval.high <= 1.0
    if abs(p - (1.0 - level)) > 1e-9:
        assert interval.excludes(0.5) == (p < 1.0 - level)


def test_without_trials_everything_is_possible():
    assert clopper_pearson(0, 0) == wilson(0, 0) == Interval(0.0, 1.0)
    assert tie_probability(0, 0) == 1.0


@pytest.mark.parametrize("n", [*range(5, 21), 30, 50])
def test_clopper_pearson_covers_at_every_n_and_share(n):
    shares = np.linspace(0.01, 0.99, 99)
    bounds = [clopper_pearson(k, n) for k in range(n + 1)]
    for share in shares:
        covered = sum(binom.pmf(k, n, share) for k, found in enumerate(bounds) if not found.excludes(share))
        assert covered >= 0.95 - 1e-9, (n, share)


@pytest.mark.parametrize("n", [20, 30, 50])
def test_wilson_covers_on_average(n):
    shares = np.linspace(0.05, 0.95, 91)
    bounds = [wilson(k, n) for k in range(n + 1)]
    covered = [
        sum(binom.pmf(k, n, share) for k, found in enumerate(bounds) if not found.excludes(share)) for share in shares
    ]
    assert 0.945 <= np.mean(covered) <= 0.965
    assert min(covered) >= 0.9


def test_the_numbers_of_the_research_page():
    """One-sided 5 %, as research/rivals.md section 4.6 has them; we decide at a two-sided 5 %."""
    sizes = [5, 8, 10, 12, 15, 20, 30, 50]
    assert [decides(n, 0.9) for n in sizes] == [5, 7, 9, 10, 12, 15, 20, 32]
    assert [round(power(n, 0.75, 0.9), 2) for n in sizes] == [0.24, 0.37, 0.24, 0.39, 0.46, 0.62, 0.89, 0.97]
    assert [decides(n) for n in sizes] == [None, 8, 9, 10, 12, 15, 21, 33]


def test_needed_is_the_first_that_has_the_power():
    assert [needed(share) for share in (0.6, 0.7, 0.75, 0.8, 0.9)] == [199, 49, 30, 20, 12]
    assert power(30, 0.75) >= 0.8 > power(29, 0.75)
    assert needed(0.25) == needed(0.75)
    assert needed(1.0) == MIN_DECISIVE
    assert needed(0.5) is None
    assert needed(0.52) is None


def test_needed_below_is_the_first_that_shows_it():
    n = needed_below(0.5, 0.75)

    def shown(trials):
        return sum(binom.pmf(k, trials, 0.5) for k in range(trials + 1) if clopper_pearson(k, trials).high < 0.75)

    assert shown(n) >= 0.8 > max(shown(fewer) for fewer in range(8, n))
    assert needed_below(0.74, 0.75) is None
