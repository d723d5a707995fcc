"""Intervals of metrics: as wide as theory says, wider for what persists, absent where there is nothing to say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tradingbot_exp.data.panel import Layout
from tradingbot_exp.evaluation.metrics.backtest import alpha, sharpe
from tradingbot_exp.evaluation.metrics.evaluate import validation_metrics
from tradingbot_exp.evaluation.metrics.forecast import ic
from tradingbot_exp.evaluation.metrics.intervals import (
    Intervals,
    alpha_interval,
    ic_interval,
    metric_intervals,
    sharpe_interval,
)
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.evaluation.significance.bootstrap import stationary_indices

RULES = Rules(periods=252.0)


def found(
    actual: np.ndarray, forecast: np.ndarray, returns: np.ndarray | None = None, horizon: int = 1, draws: int = 1000
) -> Intervals:
    rules, layout = replace(RULES, horizon=horizon), Layout.of_one(len(actual))
    judged = validation_metrics(actual, forecast, returns, 0.1, rules, layout=layout)
    return metric_intervals({"": judged, "rival_": judged}, draws=draws)


def test_of_independent_bars_they_are_those_of_the_normal_theory() -> None:
    rng = np.random.default_rng(0)
    actual, forecast = rng.normal(size=(2, 2000))
    bounds = found(actual, forecast).bounds
    errors = (actual - forecast) ** 2
    half = 1.96 * errors.std() / np.sqrt(len(errors))
    assert bounds["mse"] == pytest.approx((errors.mean() - half, errors.mean() + half), abs=0.2 * half)
    assert bounds["ic"][1] - bounds["ic"][0] == pytest.approx(2 * 1.96 / np.sqrt(2000), rel=0.15)
    assert bounds["hit_rate"][1] - bounds["hit_rate"][0] == pytest.approx(1.96 / np.sqrt(2000), rel=0.15)


def test_each_is_the_percentile_of_the_metric_on_resampled_bars_whose_positions_are_kept() -> None:
    rng = np.random.default_rng(1)
    actual, forecast = 0.01 * rng.normal(size=(2, 400))
    judged = validation_metrics(actual, forecast, actual, 0.1, RULES, layout=Layout.of_one(len(actual)))
    intervals = found(actual, forecast, actual, draws=500)
    assert judged.returns is not None
    index = stationary_indices(400, intervals.block, 500, np.random.default_rng(0))
    drawn = [sharpe(judged.returns[rows], 252.0) for rows in index]
    assert intervals.bounds["sharpe"] == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), rel=1e-9)
    changes = np.abs(np.diff(judged.position, prepend=0.0))
    drawn = [changes[rows].mean() for rows in index]
    assert intervals.bounds["turnover"] == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), rel=1e-9)
    assert intervals.bounds["rival_sharpe"] == intervals.bounds["sharpe"]
    drawn = [np.mean((actual[rows] - 0.1) ** 2) for rows in index]
    assert intervals.bounds["train_mean_mse"] == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), rel=1e-9)


def test_they_widen_where_errors_persist_and_blocks_are_as_long_as_the_horizon() -> None:
    rng = np.random.default_rng(2)
    level = np.repeat(rng.normal(size=50), 20)
    forecast = np.zeros(1000)
    persistent, shuffled = found(level, forecast), found(rng.permutation(level), forecast)
    widths = [each.bounds["mse"][1] - each.bounds["mse"][0] for each in (persistent, shuffled)]
    assert persistent.block > 5 > 2 > shuffled.block
    assert widths[0] > 2 * widths[1]
    assert found(rng.normal(size=300), forecast[:300], horizon=40, draws=50).block == 40


def test_what_is_not_defined_has_none_and_few_bars_say_why() -> None:
    rng = np.random.default_rng(3)
    actual = rng.normal(size=100)
    bounds = found(actual, np.zeros(100), actual, draws=200).bounds
    assert not {"ic", "rank_ic", "sharpe", "sortino"} & set(bounds)
    assert {"mse", "mae", "zero_mse", "buy_hold_sharpe"} <= set(bounds)
    assert "sharpe" not in found(actual, actual).bounds
    none = found(actual[:29], actual[:29])
    assert none.bounds == {} and none.problem == (
        "not defined, because there are 29 bars, and a bootstrap takes at least 30"
    )


def test_long_series_are_drawn_less_often() -> None:
    rng = np.random.default_rng(4)
    actual, forecast = rng.normal(size=(2, 30_000))
    judged = validation_metrics(actual, forecast, None, 0.0, RULES, layout=Layout.of_one(len(actual)))
    alone = replace(judged, samples={"mse": judged.samples["mse"]})
    assert metric_intervals({"": alone}).draws == 666


def test_what_says_most_has_the_percentiles_of_the_plain_metric_on_resampled_bars() -> None:
    rng = np.random.default_rng(3)
    actual, market = 0.01 * rng.normal(size=(2, 300))
    forecast, net = 0.3 * actual + 0.01 * rng.normal(size=300), 0.5 * market + 0.001 + 0.01 * rng.normal(size=300)
    rules = replace(RULES, horizon=5)
    made = {
        "ic": (ic_interval(actual, forecast, 5), lambda i: ic(actual[i], forecast[i])),
        "sharpe": (sharpe_interval(net, rules), lambda i: sharpe(net[i], 252)),
        "alpha": (alpha_interval(net, market, rules), lambda i: alpha(net[i], market[i], 252)),
    }
    for interval, plain in made.values():
        assert interval.estimate == pytest.approx(plain(np.arange(300))) and interval.block == 5
        drawn = [plain(rows) for rows in stationary_indices(300, 5, 2000, np.random.default_rng(0))]
        assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), rel=1e-9)


def test_few_bars_a_constant_forecast_and_a_market_that_stands_still_have_none() -> None:
    actual = 0.01 * np.random.default_rng(4).normal(size=100)
    for interval in (
        ic_interval(actual[:20], actual[:20], 1),
        ic_interval(actual, np.ones(100), 1),
        alpha_interval(actual, np.zeros(100), RULES),
        sharpe_interval(np.zeros(100), RULES),
    ):
        assert interval.problem and np.isnan([interval.low, interval.high]).all()
