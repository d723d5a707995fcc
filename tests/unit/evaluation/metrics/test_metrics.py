"""The whole evaluation: which numbers come out, and why the others do not."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tradingbot_exp.config.metrics import BACKTEST_METRICS, METRICS, TABLE
from tradingbot_exp.data.panel import Layout
from tradingbot_exp.evaluation.metrics.evaluate import validation_metrics
from tradingbot_exp.evaluation.rules import Rules

ERRORS = {"mse", "mae", "r2", "ic", "rank_ic", "hit_rate", "zero_mse"}
LAGGED = {"sharpe_lag0", "sharpe_lag1", "cagr_lag0", "cagr_lag1"}
MARKET = {"buy_hold_sharpe", "buy_hold_cagr"}
NAMES = ERRORS | LAGGED | MARKET | {"sharpe", "sortino", "max_drawdown", "turnover", "cagr", "calmar", "alpha", "beta"}
ALONE = [name for name in METRICS if not TABLE[name].panel]  # of one instrument
RULES = Rules(cost_bps=10.0, periods=252.0)
ACTUAL = np.log([1.01, 0.98, 1.03, 0.99, 1.02])
FORECAST = np.array([0.01, -0.02, 0.01, 0.02, -0.01])


def evaluate(actual=ACTUAL, forecast=FORECAST, next_return=ACTUAL, train_mean=0.001, **options):
    layout = Layout.of_one(len(actual))
    return validation_metrics(actual, forecast, next_return, train_mean, replace(RULES, **options), layout=layout)


def test_every_metric_is_there_under_its_contracted_name():
    found = evaluate()
    assert set(found.metrics) == set(ALONE) == NAMES
    assert found.undefined == {}


def test_those_that_are_wanted_are_the_same_by_themselves():
    wanted = ("mse", "sharpe", "calmar")
    layout = Layout.of_one(len(ACTUAL))
    found, whole = (
        validation_metrics(ACTUAL, -ACTUAL, ACTUAL, 0.0, RULES, layout=layout, names=names)
        for names in (wanted, METRICS)
    )
    assert found.metrics | found.undefined == {name: (whole.metrics | whole.undefined)[name] for name in wanted}


def test_strategy_holds_yesterdays_sign_after_costs():
    found = evaluate()
    assert found.position.tolist() == [0, 1, -1, 1, 1]
    assert found.returns == pytest.approx([0, -0.02 - 0.001, -0.03 - 0.002, -0.01 - 0.002, 0.02])
    assert found.metrics["turnover"] == 1.0
    assert found.metrics["max_drawdown"] == pytest.approx(0.979 * 0.968 * 0.988 - 1)
    assert found.metrics["zero_mse"] == pytest.approx(np.mean(ACTUAL**2))


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_both_lags_stand_beside_the_lag_that_was_asked_for(lag):
    found = evaluate(lag=lag)
    for other in (0, 1):
        alone = evaluate(lag=other).metrics
        for name in ("sharpe", "cagr"):
            assert found.metrics[f"{name}_lag{other}"] == alone[name]
    held = np.concatenate([np.zeros(lag), np.sign(FORECAST)])[:5]
    net = held * np.expm1(ACTUAL) - 1e-3 * np.abs(np.diff(held, prepend=0))
    assert found.metrics["sharpe"] == pytest.approx(net.mean() / net.std(ddof=1) * np.sqrt(252))
    assert found.metrics["cagr"] == pytest.approx(np.prod(1 + net) ** (252 / 5) - 1)


def test_buy_and_hold_grows_as_the_market_does():
    assert evaluate().metrics["buy_hold_cagr"] == pytest.approx(np.exp(ACTUAL.sum() * 252 / 5) - 1)


def test_direction_targets_are_judged_around_one_half():
    found = evaluate(np.array([1, 0, 1, 0, 1]), np.array([0.6, 0.4, 0.4, 0.3, 0.9]), neutral=0.5, train_mean=0.52)
    assert found.metrics["zero_mse"] == 0.25
    assert found.metrics["hit_rate"] == 0.8
    assert found.position.tolist() == [0, 1, -1, -1, -1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"next_return": None},
            dict.fromkeys(BACKTEST_METRICS, "no one-bar returns were given (with data=table, data.returns"),
        ),
        (
            {"forecast": np.zeros(5)},
            {
                "ic": "the forecast is constant",
                "rank_ic": "the forecast is constant",
                "sharpe": "the strategy never takes a position",
                "sharpe_lag0": "the strategy never takes a position",
                "sharpe_lag1": "the strategy never takes a position",
                "sortino": "the strategy never takes a position",
                "calmar": "the strategy never takes a position",
            },
        ),
        (
            {"forecast": [0.0, 0.0, 0.0, 0.0, -1.0]},
            {
                "sharpe": "the strategy never takes a position",
                "sharpe_lag1": "the strategy never takes a position",
                "sortino": "the strategy never takes a position",
                "calmar": "the strategy never takes a position",
            },
        ),
        (
            {"actual": np.full(5, 0.001)},
            {
                "r2": "every actual value equals the train mean",
                "ic": "the actual values are constant",
                "rank_ic": "the actual values are constant",
            },
        ),
        (
            {"actual": np.zeros(5)},
            {"hit_rate": "no actual value lies", "ic": "the act", "rank_ic": "the act"},
        ),
        (
            {"next_return": np.zeros(5), "cost_bps": 0.0},
            {
                "sharpe": "the strategy returns the same",
                "sharpe_lag0": "the strategy returns the same",
                "sharpe_lag1": "the strategy returns the same",
                "sortino": "the strategy loses on no bar",
                "calmar": "the strategy never falls below",
                "buy_hold_sharpe": "the market returns the same",
                "alpha": "the market returns the same",
                "beta": "the market returns the same",
            },
        ),
        ({"forecast": FORECAST * 1e200}, {"mse": "it is too large", "r2": "it is too large"}),
        (
            {"actual": [0.1], "forecast": [0.2], "next_return": [0.1]},
            dict.fromkeys(
                ("ic", "rank_ic", "sharpe", "sharpe_lag0", "sharpe_lag1", "sortino", "buy_hold_sharpe"),
                "it takes at least 2 bars",
            )
            | {"calmar": "the strategy never takes a position"}
            | dict.fromkeys(("alpha", "beta"), "the market returns the same"),
        ),
        (
            {"actual": [], "forecast": [], "next_return": []},
            dict.fromkeys(ALONE, "there are no bars"),
        ),
    ],
    ids=[
        "no returns",
        "zero forecast",
        "a position at once alone",
        "constant",
        "no move",
        "flat market",
        "overflow",
        "one bar",
        "no bars",
    ],
)
def test_what_is_not_defined_is_left_out_and_explained(changes, expected):
    found = evaluate(**changes)
    assert set(found.undefined) == set(expected)
    assert (found.returns is None) == ("next_return" in changes and changes["next_return"] is None)
    for name, reason in expected.items():
        assert found.undefined[name].startswith(f"not defined, because {reason}")
    assert set(found.metrics) == NAMES - set(expected)
    assert all(math.isfinite(value) for value in found.metrics.values())
