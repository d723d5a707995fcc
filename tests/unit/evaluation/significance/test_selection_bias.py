"""Selection bias: effective trials, the best of noise, and the Sharpe ratio that it takes, by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingbot_exp.evaluation.significance.deflated import effective_trials
from tradingbot_exp.evaluation.significance.selection_bias import (
    LEVEL,
    needed_bars,
    needed_ratio,
    noise_maximum,
    outlook,
    rounded_bars,
)


def alike(correlation, columns, n=2_000):
    rng = np.random.default_rng(0)
    common = rng.standard_normal((n, 1))
    return math.sqrt(correlation) * common + math.sqrt(1 - correlation) * rng.standard_normal((n, columns))


@pytest.mark.parametrize(("correlation", "wanted"), [(0.0, 100), (0.5, 50.5), (0.9, 10.9)])
def test_correlated_trials_count_as_fewer(correlation, wanted):
    x = alike(correlation, 100)
    pairs = np.corrcoef(x.T)[np.triu_indices(100, 1)]
    mean = max(pairs.mean(), 0)
    assert effective_trials(x).value == pytest.approx(mean + (1 - mean) * 100, rel=1e-9)
    assert effective_trials(x).value == pytest.approx(wanted, rel=0.05)


def test_effective_trials_are_defined_for_one_for_a_thousand_and_among_constants():
    assert effective_trials(alike(0.5, 1)).value == 1.0
    assert effective_trials(alike(0.0, 1000, n=484)).value == pytest.approx(1000, rel=0.01)
    same = np.repeat(alike(0.0, 1), 20, axis=1)
    assert effective_trials(same).value == pytest.approx(1.0)
    # Constant columns have no correlation, but were tried.
    some = np.column_stack([alike(0.5, 10), np.full((2_000, 5), 0.1)])
    assert effective_trials(some).value == pytest.approx(0.5 + 0.5 * 15, rel=0.05)
    # Those outside the matrix are taken to be as alike.
    assert effective_trials(alike(0.5, 10), tried=200).value == pytest.approx(100.5, rel=0.05)


@pytest.mark.parametrize("x", [np.full((50, 3), 0.1), np.column_stack([np.arange(50.0), np.zeros(50)])])
def test_effective_trials_without_a_correlation_say_so(x):
    found = effective_trials(x)
    assert found.value is None and "no correlation to measure" in found.problem


@given(st.integers(2, 8), st.integers(0, 100))
def test_effective_trials_lie_between_one_and_all(columns, seed):
    x = np.random.default_rng(seed).standard_normal((30, columns))
    assert 1 <= effective_trials(x).value <= columns


def test_the_best_of_noise_is_what_simulated_searches_reach():
    rng = np.random.default_rng(1)
    best = []
    for _ in range(1_500):
        x = rng.standard_normal((250, 30))
        best.append((x.mean(axis=0) / x.std(axis=0, ddof=1)).max() * math.sqrt(252))
    expected, high = noise_maximum(30, 250, 252)
    assert expected.value == pytest.approx(np.mean(best), rel=0.03)
    assert high.value == pytest.approx(np.quantile(best, 0.95), rel=0.03)


def test_what_is_needed_is_what_the_best_of_noise_exceeds_once_in_forty_searches():
    rng = np.random.default_rng(1)
    for trials, bars in ((1, 400), (30, 250)):
        best = []
        for _ in range(2_000):
            x = rng.standard_normal((bars, trials))
            best.append((x.mean(axis=0) / x.std(axis=0, ddof=1)).max())
        assert needed_ratio(trials, bars).value == pytest.approx(np.quantile(best, 1 - LEVEL), rel=0.06)


@given(st.integers(1, 5_000), st.floats(0.01, 0.5), st.sampled_from([1, 5, 20]))
def test_the_bars_that_are_needed_make_the_ratio_enough(trials, ratio, horizon):
    bars = needed_bars(ratio, trials, horizon)
    enough, short = (needed_ratio(trials, each, horizon).value for each in (bars, bars - horizon))
    assert enough <= ratio and (short is None or short > ratio)


def test_bars_are_said_with_two_digits():
    assert needed_bars(0.08, 100) == 1891 and rounded_bars(1891) == "1,900"
    assert [rounded_bars(bars) for bars in (7, 61, 484, 12_301)] == ["7", "61", "490", "13,000"]
    with pytest.raises(ValueError, match="ratio is 0; expected a number above 0"):
        needed_bars(0, 10)


def test_the_outlook_is_one_line_with_what_noise_shows_and_what_is_needed():
    assert outlook(484, 100, 212, year=252) == (
        "484 validation bars; with 100 trials planned and 212 tried before, the best of pure noise is expected to show "
        "an alpha with a Sharpe ratio of 2.1; about 2.7 would be needed"
    )
    assert outlook(484, 24, 0) == (
        "484 validation bars; with 24 trials planned, the best of pure noise is expected to show an information "
        "coefficient of 0.09; about 0.14 would be needed (one of 0.07 would take some 2,000 bars)"
    )
    assert outlook(2_000, 1, 0).startswith("2,000 validation bars; with 1 trial planned, the best of pure noise is")
    assert outlook(484, 24, 0, horizon=5) != outlook(484, 24, 0)
    assert "about 0.17 would be needed" in outlook(484, 48, 0, directions=6)  # a sampler that climbs over six keys
    for line in (outlook(2, 10, 0), outlook(2, 10, 0, year=252), outlook(20, 10, 0, horizon=5)):
        assert "nothing can be told" in line


def test_too_few_bars_bear_nothing():
    for found in noise_maximum(10, 2, 252):
        assert found.value is None and "there are 2 bars, and it takes at least 3" in found.problem
    assert "there are 20 bars with a horizon of 10, which tell nothing" in needed_ratio(10, 20, 10).problem
