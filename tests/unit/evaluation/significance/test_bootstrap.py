"""The stationary bootstrap: its blocks, their length, and its intervals, which are arch's and skfolio's."""

import math

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap
from skfolio.utils.bootstrap import stationary_bootstrap

from tradingbot_exp.evaluation.metrics.backtest import sharpe, sharpe_ratios
from tradingbot_exp.evaluation.metrics.intervals import _alphas, _correlations
from tradingbot_exp.evaluation.significance.block_length import block_length
from tradingbot_exp.evaluation.significance.bootstrap import (
    bootstrap_intervals,
    draws_for,
    paired_differences,
    stationary_indices,
)


def mean(values):
    return values.mean(axis=-1)


def yearly_sharpe(values):
    return sharpe_ratios(values, 252)


def interval(series, statistic, **given):
    return bootstrap_intervals(series, [statistic], **given)[0]


def difference(first, second, statistic, **given):
    return paired_differences(first, second, [statistic], **given)[0]


def returns(seed=0, n=400):
    return 0.0005 + 0.01 * np.random.default_rng(seed).standard_t(4, n)


def autoregressive(n, rho, seed=0):
    rng = np.random.default_rng(seed)
    x = np.empty(n)
    x[0] = rng.normal() / math.sqrt(1 - rho**2)
    for t in range(1, n):
        x[t] = rho * x[t - 1] + rng.normal()
    return x


def test_blocks_of_one_bar_are_the_plain_bootstrap():
    drawn = stationary_indices(100, 1.0, 500, np.random.default_rng(0))
    follows = (np.diff(drawn, axis=1) % 100 == 1).mean()
    assert follows == pytest.approx(0.01, abs=0.005)


def test_the_block_length_of_an_autoregression_is_the_theoretical_one():
    # b = (G²/g²)^(1/3) n^(1/3) with g = Σ R(k) and G = Σ |k| R(k): for AR(1), G/g = 2ρ/(1−ρ²).
    rho, n = 0.6, 20_000
    wanted = ((2 * rho / (1 - rho**2)) ** 2 * n) ** (1 / 3)
    assert np.median([block_length(autoregressive(n, rho, seed)) for seed in range(9)]) == pytest.approx(
        wanted, rel=0.1
    )


@pytest.mark.parametrize("series", [np.zeros(100), np.full(100, 0.3), np.arange(5.0), np.empty(0)])
def test_the_block_length_of_nothing_to_measure_is_one(series):
    assert block_length(series) == 1.0


def test_an_interval_holds_the_true_mean_about_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        found = interval(autoregressive(300, 0.4, seed), mean, draws=300, seed=seed)
        hits += found.low <= 0.0 <= found.high
    assert 0.86 <= hits / 200 <= 0.98


def test_several_statistics_of_the_same_resamples_are_those_that_each_has_alone():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 120))

    def spread(values):
        return values.std(axis=-1)

    together = paired_differences(first, second, [mean, spread], draws=100, horizon=5)
    assert together == [difference(first, second, each, draws=100, horizon=5) for each in (mean, spread)]
    assert [each.block for each in together] == [together[0].block] * 2


def test_a_statistic_without_a_value_leaves_the_others_theirs():
    def nothing(values):
        return np.full(values.shape[:-1], math.nan)

    without, found = bootstrap_intervals(np.arange(50.0), [nothing, mean], draws=50)
    assert without.problem and math.isnan(without.low)
    assert found.estimate == 24.5 and found.low < found.high


@pytest.mark.parametrize(("bars", "draws"), [(10, 2_000), (10_000, 2_000), (20_000, 1_000), (10**7, 500)])
def test_of_long_series_there_are_fewer_draws(bars, draws):
    assert draws_for(bars) == draws


def test_a_paired_difference_sees_what_two_separate_intervals_would_not():
    rng = np.random.default_rng(0)
    market = rng.normal(0, 1, 400)
    first, second = market + 0.05, market + rng.normal(0, 0.1, 400)
    found = difference(first, second, mean)
    assert 0 < found.low < found.estimate < found.high
    assert found.p_value == pytest.approx(1 / 2001)
    alone = interval(first, mean)
    assert alone.low < 0 < alone.high


def test_noise_against_noise_has_p_values_that_are_spread_evenly():
    values = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        first, second = rng.normal(size=(2, 200))
        values.append(difference(first, second, mean, draws=300, seed=seed).p_value)
    assert 0.01 <= np.mean(np.array(values) < 0.05) <= 0.1
    assert np.mean(values) == pytest.approx(0.5, abs=0.07)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    series = autoregressive(200, 0.3)
    first, again, other = (interval(series, mean, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_draws_where_the_statistic_is_not_defined_are_left_out():
    rare = np.zeros(50)
    rare[3] = 1.0
    found = interval(rare, yearly_sharpe, block=1.0)
    assert found.low < found.estimate < found.high


def test_sharpe_ratios_of_many_series_are_those_of_each():
    series = np.random.default_rng(0).normal(0.001, 0.01, (3, 4, 100))
    series[1, 2] = 0.1
    found = sharpe_ratios(series, 252)
    assert found.shape == (3, 4) and math.isnan(found[1, 2])
    assert found[0, 0] == pytest.approx(sharpe(series[0, 0], 252), rel=1e-12)


@pytest.mark.parametrize(
    ("statistic", "series"),
    [
        (mean, [returns()]),
        (yearly_sharpe, [returns()]),
        (mean, [returns(1) ** 2]),
        (_correlations, [returns(2) + 0.2 * returns(3), returns(3)]),
        (_alphas, [returns(2) + 0.2 * returns(3), returns(3)]),
    ],
    ids=["mean", "sharpe", "mse", "ic", "alpha"],
)
def test_intervals_agree_with_arch_and_skfolio(statistic, series):
    def of(*parts):
        return np.atleast_1d(statistic(np.stack(parts) if len(parts) > 1 else parts[0]))

    found = interval(np.squeeze(np.stack(series)), statistic, block=5, draws=4_000)
    others = [StationaryBootstrap(5, *series, seed=1).conf_int(of, reps=4_000, method="percentile").ravel()]
    if len(series) == 1:
        drawn = stationary_bootstrap(series[0][:, None], 4_000, block_size=5, seed=1)[:, :, 0]
        others.append(np.quantile(statistic(drawn), [0.025, 0.975]))
    for low, high in others:
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))


def test_an_interval_of_the_sharpe_ratio_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(100):
        found = interval(returns(seed, n=250), yearly_sharpe, draws=200, seed=seed)
        hits += found.low <= 0.0005 / (0.01 * math.sqrt(2)) * math.sqrt(252) <= found.high
    assert 0.89 <= hits / 100 <= 0.99


def test_blocks_are_at_least_as_long_as_the_horizon():
    assert interval(returns(), mean, draws=10).block < 5
    assert interval(returns(), mean, draws=10, horizon=20).block == 20


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        (returns(n=29), "there are 29 bars, and a bootstrap takes at least 30"),
        (np.full(100, 0.01), "the statistic has no value on these bars"),
    ],
)
def test_what_has_no_interval_says_why(series, reason):
    found = interval(series, yearly_sharpe)
    assert math.isnan(found.low) and found.problem == f"not defined, because {reason}"


def test_nan_and_an_impossible_level_are_refused():
    with pytest.raises(ValueError, match="series holds values that are NaN"):
        interval(np.full(50, math.nan), mean)
    with pytest.raises(ValueError, match="level is 95"):
        interval(returns(), mean, level=95)
