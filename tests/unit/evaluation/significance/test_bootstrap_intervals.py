"""Intervals of what a sealed test set reports: against arch's and skfolio's, and where there are none."""

import math

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap
from skfolio.utils.bootstrap import stationary_bootstrap

from tradingbot_exp.evaluation.metrics.backtest import sharpe_ratios
from tradingbot_exp.evaluation.metrics.intervals import _alphas, _correlations
from tradingbot_exp.evaluation.significance.bootstrap import bootstrap_interval


def mean(values):
    return values.mean(axis=-1)


def yearly_sharpe(values):
    return sharpe_ratios(values, 252)


def returns(seed=0, n=400):
    return 0.0005 + 0.01 * np.random.default_rng(seed).standard_t(4, n)


@pytest.mark.parametrize(
    ("statistic", "series"),
    [(mean, returns()), (yearly_sharpe, returns()), (mean, returns(1) ** 2)],
    ids=["mean", "sharpe", "mse"],
)
def test_intervals_of_mean_sharpe_ratio_and_squared_error_agree_with_arch_and_skfolio(statistic, series):
    found = bootstrap_interval(series, statistic, block=5, draws=4_000)
    other = StationaryBootstrap(5, series, seed=1)
    of_arch = other.conf_int(lambda x: np.atleast_1d(statistic(x)), reps=4_000, method="percentile").ravel()
    drawn = stationary_bootstrap(series[:, None], 4_000, block_size=5, seed=1)[:, :, 0]
    for low, high in (of_arch, np.quantile(statistic(drawn), [0.025, 0.975])):
        assert found.low == pytest.approx(low, abs=0.05 * (high - low))
        assert found.high == pytest.approx(high, abs=0.05 * (high - low))


@pytest.mark.parametrize("statistic", [_correlations, _alphas], ids=["ic", "alpha"])
def test_intervals_of_information_coefficient_and_alpha_agree_with_arch(statistic):
    pair = np.stack([returns(2), returns(3)])
    pair[0] += 0.2 * pair[1]
    found = bootstrap_interval(pair, statistic, block=5, draws=4_000)
    other = StationaryBootstrap(5, *pair, seed=1)
    drawn = other.conf_int(lambda x, y: np.atleast_1d(statistic(np.stack([x, y]))), reps=4_000, method="percentile")
    low, high = drawn.ravel()
    assert found.low == pytest.approx(low, abs=0.05 * (high - low))
    assert found.high == pytest.approx(high, abs=0.05 * (high - low))


def test_an_interval_of_the_sharpe_ratio_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(100):
        found = bootstrap_interval(returns(seed, n=250), yearly_sharpe, draws=200, seed=seed)
        hits += found.low <= 0.0005 / (0.01 * math.sqrt(2)) * math.sqrt(252) <= found.high
    assert 0.89 <= hits / 100 <= 0.99


def test_blocks_are_at_least_as_long_as_the_horizon():
    assert bootstrap_interval(returns(), mean, draws=10).block < 5
    assert bootstrap_interval(returns(), mean, draws=10, horizon=20).block == 20


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        (returns(n=29), "there are 29 bars, and a bootstrap takes at least 30"),
        (np.full(100, 0.01), "the statistic has no value on these bars"),
    ],
)
def test_what_has_no_interval_says_why(series, reason):
    found = bootstrap_interval(series, yearly_sharpe)
    assert math.isnan(found.low) and found.problem == f"not defined, because {reason}"


def test_nan_and_an_impossible_level_are_refused():
    with pytest.raises(ValueError, match="series holds values that are NaN"):
        bootstrap_interval(np.full(50, math.nan), mean)
    with pytest.raises(ValueError, match="level is 95"):
        bootstrap_interval(returns(), mean, level=95)
