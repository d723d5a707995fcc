"""Positions, costs and ratios, worked by hand and against two packages, and what they may and may not depend on."""

import math

import empyrical
import numpy as np
import pytest
import skfolio.measures as measures
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tradingbot_exp.data.panel import Layout
from tradingbot_exp.evaluation.metrics.backtest import (
    alpha,
    beta,
    cagr,
    calmar,
    max_drawdown,
    sharpe,
    sortino,
)
from tradingbot_exp.evaluation.rules import Rules, buy_and_hold_returns

forecasts = arrays(np.float64, st.integers(1, 30), elements=st.floats(-1, 1))
returns = arrays(np.float64, st.integers(2, 30), elements=st.integers(-90, 90).map(lambda x: x / 100))


def held(rules, forecast):
    """Return the positions of forecasts of one instrument."""
    return rules.positions(forecast, Layout.of_one(len(forecast))).tolist()


def test_position_is_the_sign_of_the_forecast_one_bar_later():
    assert held(Rules(), [0.3, -0.1, 0.0, 2.0]) == [0, 1, -1, 0]
    assert held(Rules(lag=0), [0.3, -0.1, 0.0, 2.0]) == [1, -1, 0, 1]
    assert held(Rules(lag=0, neutral=0.5), [0.7, 0.5, 0.2]) == [1, 0, -1]


def test_position_of_a_longer_horizon_is_the_mean_of_the_last_signs_starting_flat():
    assert held(Rules(2, 0), [1, 1, -1, -1, -1]) == [0.5, 1, 0, -1, -1]
    assert held(Rules(2, 2), [1, 1, -1, -1, -1]) == [0, 0, 0.5, 1, 0]
    assert held(Rules(4, 0), [1, 1]) == [0.25, 0.5]
    assert held(Rules(lag=5), [1, 1]) == [0, 0]


@given(forecasts, st.integers(1, 6), st.integers(0, 4), st.data())
def test_position_does_not_see_the_future(forecast, horizon, lag, data):
    now = data.draw(st.integers(0, len(forecast) - 1))
    changed = forecast.copy()
    changed[max(now - lag + 1, 0) :] *= -3
    rules = Rules(horizon, lag)
    before = held(rules, forecast)
    assert held(rules, changed)[: now + 1] == before[: now + 1]
    assert len(before) == len(forecast)
    assert np.all(np.abs(before) <= 1)


def test_strategy_pays_for_each_change_of_position_and_first_of_all_to_enter():
    log_returns = np.log([1.10, 1.02, 0.96, 1.05])
    earned = Rules(cost_bps=100).earned([1, 1, -1, 0], log_returns, Layout.of_one(4))
    assert earned.net == pytest.approx([0.10 - 0.01, 0.02, 0.04 - 0.02, -0.01])
    assert earned.changes.tolist() == [1, 0, 2, 1] and earned.gross[0] == pytest.approx(0.10)
    assert buy_and_hold_returns(log_returns, Layout.of_one(4)) == pytest.approx([0.10, 0.02, -0.04, 0.05])


@given(forecasts, st.floats(0, 100))
def test_costs_only_take_and_a_free_long_position_is_buy_and_hold(market, cost):
    free, paid = Rules(cost_bps=0), Rules(cost_bps=cost)
    layout = Layout.of_one(len(market))
    signs = free.positions(market[::-1], layout)
    assert np.all(paid.earned(signs, market, layout).net <= free.earned(signs, market, layout).net)
    always = free.earned(np.ones_like(market), market, layout)
    assert always.net.tolist() == buy_and_hold_returns(market, layout).tolist()


def test_ratios_match_values_worked_by_hand():
    r = [0.02, -0.01, 0.03, -0.02]
    # Mean 0.005; squared deviations 2.25 + 2.25 + 6.25 + 6.25 = 17 (1e-4), over 3.
    # Squared losses 1 + 4 = 5 (1e-4), over 4.
    assert sharpe(r, 252) == pytest.approx(0.005 / math.sqrt(17e-4 / 3) * math.sqrt(252))
    assert sortino(r, 252) == pytest.approx(0.005 / math.sqrt(5e-4 / 4) * math.sqrt(252))


@given(returns, st.floats(0.1, 10))
def test_ratios_do_not_depend_on_leverage(r, leverage):
    for ratio in (sharpe, sortino):
        assert ratio(r * leverage, 252) == pytest.approx(ratio(r, 252), nan_ok=True, abs=1e-9)
        assert ratio(r, 4 * 252) == pytest.approx(2 * ratio(r, 252), nan_ok=True)


def test_drawdown_is_negative_and_counts_the_starting_wealth():
    assert max_drawdown([-0.1, 0.05]) == pytest.approx(-0.1)  # the first bar falls from the starting 1.0
    assert max_drawdown([0.5, -0.2, -0.25, 1.0]) == pytest.approx(0.8 * 0.75 - 1)
    assert max_drawdown([0.1, 0.2]) == 0.0


@given(returns)
def test_drawdown_agrees_with_wealth_compounded_bar_by_bar(r):
    wealth = peak = 1.0
    deepest = 0.0
    for one in r:
        wealth *= 1 + one
        peak = max(peak, wealth)
        deepest = min(deepest, wealth / peak - 1)
    assert max_drawdown(r) == pytest.approx(deepest, abs=1e-12)


@given(returns)
def test_growth_and_calmar_agree_with_wealth_compounded_bar_by_bar(r):
    growth = math.prod(1 + r) ** (252 / len(r)) - 1
    assert cagr(r, 252) == pytest.approx(growth, rel=1e-9, abs=1e-12)
    if min(r) < 0:
        assert calmar(r, 252) == pytest.approx(growth / -max_drawdown(r), rel=1e-9, abs=1e-12)


def test_growth_is_by_the_year_and_calmar_by_the_deepest_fall():
    assert cagr([0.1, 0.1], 2) == pytest.approx(0.21)
    assert cagr([0.21], 0.5) == pytest.approx(0.1)
    assert calmar([0.5, -0.25, 0.5], 3) == pytest.approx((1.5 * 0.75 * 1.5 - 1) / 0.25)


def drawn(seed):
    return 0.0003 + 0.012 * np.random.default_rng(seed).standard_t(4, 484)


def of_skfolio(r):
    """Sharpe and Sortino ratio, drawdown, growth and Calmar ratio; its squared losses are divided by n - 1."""
    downside = measures.semi_deviation(r, min_acceptable_return=0.0) * np.sqrt(483 / 484)
    fall = measures.max_drawdown(measures.get_drawdowns(r, compounded=True))
    growth = measures.get_cumulative_returns(r, compounded=True)[-1] ** (252 / len(r)) - 1
    ratios = measures.mean(r) / np.array([measures.standard_deviation(r), downside]) * np.sqrt(252)
    return [*ratios, -fall, growth, growth / fall]


@pytest.mark.parametrize("seed", range(4))
def test_they_are_those_of_empyrical_and_skfolio(seed):
    r = drawn(seed)
    found = [sharpe(r, 252), sortino(r, 252), max_drawdown(r), cagr(r, 252), calmar(r, 252)]
    ratios = (empyrical.sharpe_ratio, empyrical.sortino_ratio, empyrical.cagr, empyrical.calmar_ratio)
    one, two, four, five = (ratio(r, annualization=252) for ratio in ratios)
    for other in ([one, two, empyrical.max_drawdown(r), four, five], of_skfolio(r)):
        assert found[:3] == pytest.approx(other[:3], rel=1e-12)
        assert found[3:] == pytest.approx(other[3:], rel=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_alpha_and_beta_are_those_of_empyrical_and_of_least_squares(seed):
    m = drawn(seed + 100)
    r = drawn(seed) + 0.4 * m
    slope, level = np.polyfit(m, r, 1)
    assert beta(r, m) == pytest.approx(empyrical.beta(r, m), rel=1e-9)
    assert beta(r, m) == pytest.approx(slope, rel=1e-9)
    assert alpha(r, m, 252) == pytest.approx(252 * level, rel=1e-9)
    assert alpha(r, m, 1) == pytest.approx(empyrical.alpha(r, m, annualization=1), rel=1e-9)  # a year's are compounded


@pytest.mark.filterwarnings("error")
def test_ruin_is_a_drawdown_of_all_and_stays_one():
    assert max_drawdown([0.5, -1.0, 3.0]) == -1.0
    assert max_drawdown([-1.7, 3.0]) == -1.0  # a short squeezed by more than the wealth
    assert max_drawdown([10.0] * 2000) == 0.0
    assert cagr([0.5, -1.0, 3.0], 252) == calmar([-1.7, 3.0], 252) == -1.0
    assert cagr([10.0] * 2000, 1e6) == math.inf


@pytest.mark.filterwarnings("error")
def test_what_is_not_defined_is_nan_and_warns_of_nothing():
    for ratio in (sharpe, sortino):
        assert all(math.isnan(ratio(r, 252)) for r in ([], [0.1], [-0.1], [0.0, 0.0]))
    assert math.isnan(sharpe([-0.1] * 3, 252))
    assert math.isnan(sortino([0.1, 0.2], 252))
    assert math.isnan(max_drawdown([]))
    assert math.isnan(cagr([], 252)) and math.isnan(calmar([], 252))
    assert math.isnan(calmar([0.1, 0.0, 0.2], 252))
    assert held(Rules(), []) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Rules(horizon=0), "horizon is 0"),
        (lambda: Rules(lag=-1), "lag is -1"),
        (lambda: held(Rules(), [math.nan]), "forecast holds 1"),
        (lambda: Rules().earned([1.0], [math.nan], Layout.of_one(1)), "next_return holds 1"),
        (lambda: Rules().earned([1.0], [0.1, 0.2], Layout.of_one(1)), "next_return has 2 bars and weight has 1"),
        (lambda: Rules(cost_bps=-5), "cost_bps is -5"),
        (lambda: sharpe([0.1, 0.2], 0), "periods_per_year is 0"),
        (lambda: cagr([0.1, 0.2], -1), "periods_per_year is -1"),
        (lambda: calmar([0.1, math.nan], 252), "returns holds 1"),
        (lambda: sortino([0.1, math.nan], 252), "returns holds 1"),
        (lambda: max_drawdown([math.inf]), "returns holds 1"),
        (lambda: buy_and_hold_returns([math.nan], Layout.of_one(1)), "next_return holds 1"),
    ],
)
def test_impossible_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
