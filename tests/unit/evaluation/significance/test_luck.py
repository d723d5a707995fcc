"""What luck can do: effective trials, the best of noise, and the Sharpe ratio that it takes, by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingbot_exp.evaluation.significance.deflated import deflated_sharpe
from tradingbot_exp.evaluation.significance.luck import effective_trials, needed_sharpe, noise_maximum, outlook


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
    found = noise_maximum(30, 250, 252)
    assert found.expected == pytest.approx(np.mean(best), rel=0.03)
    assert found.high == pytest.approx(np.quantile(best, 0.95), rel=0.03)


@given(st.integers(1, 5_000), st.integers(10, 100_000), st.sampled_from([12.0, 252.0, 8760.0]))
def test_the_needed_sharpe_ratio_is_the_one_whose_deflated_one_is_enough(trials, bars, year):
    needed = needed_sharpe(trials, bars, year).value
    if trials == 1:
        return
    # The variance of the Sharpe ratios of noise is 1 / (bars - 1).
    found = deflated_sharpe(needed / math.sqrt(year), bars, trials, 1 / (bars - 1))
    assert found.value == pytest.approx(0.95, abs=1e-9)


def test_the_outlook_is_one_line_with_what_noise_shows_and_what_is_needed():
    assert outlook(484, 100, 212, 252) == (
        "484 validation bars; with 100 trials planned and 212 tried before, the best of pure noise is expected to show "
        "a Sharpe of 2.1; about 3.3 would be needed"
    )
    assert outlook(2_000, 1, 0, 252).startswith(
        "2,000 validation bars; with 1 trial planned, the best of pure noise is"
    )
    assert "too few" in outlook(2, 10, 0, 252)


def test_too_few_bars_bear_nothing():
    assert noise_maximum(10, 2, 252) == "there are 2 bars, and it takes at least 3"
    assert "no Sharpe ratio is beyond luck" in needed_sharpe(10, 2, 252).problem
    with pytest.raises(ValueError, match=r"confidence is 0\.4"):
        needed_sharpe(10, 100, 252, confidence=0.4)
