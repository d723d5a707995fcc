"""The numbers of a tear sheet against pandas, the formulas of empyrical, and plain loops."""

import numpy as np
import pandas as pd
import pytest

from tradingbot_exp.evaluation.metrics.backtest import max_drawdown
from tradingbot_exp.evaluation.metrics.risk import (
    Drawdown,
    Trades,
    drawdowns,
    expected_shortfall,
    skewness,
    trades,
    value_at_risk,
    volatility,
)


@pytest.fixture(params=[3, 20, 21, 500])
def returns(request):
    return np.random.default_rng(request.param).standard_t(4, request.param) * 0.01


def test_spread_is_that_of_pandas(returns):
    series = pd.Series(returns)
    assert volatility(returns, 252) == pytest.approx(series.std() * np.sqrt(252))
    assert skewness(returns) == pytest.approx(series.skew())
    assert skewness(returns * 1e-150) == pytest.approx(series.skew())


def test_the_tail_is_that_of_empyrical(returns):
    last = int((len(returns) - 1) * 0.05)  # empyrical.conditional_value_at_risk
    assert value_at_risk(returns) == np.percentile(returns, 5)
    assert expected_shortfall(returns) == pytest.approx(np.mean(np.partition(returns, last)[: last + 1]))
    assert expected_shortfall(returns) <= value_at_risk(returns)


def falls(returns):
    """Return every fall by walking along wealth."""
    wealth, peak, found, under = 1.0, (1.0, 0), [], None
    for bar, each in enumerate(returns, 1):
        wealth *= 1 + each
        if wealth >= peak[0]:
            if under:
                found.append(Drawdown(under[0] / peak[0] - 1, peak[1], under[1], bar))
            peak, under = (wealth, bar), None
        elif under is None or wealth < under[0]:
            under = (wealth, bar)
    return found + ([Drawdown(under[0] / peak[0] - 1, peak[1], under[1], None)] if under else [])


def test_drawdowns_are_those_of_a_walk(returns):
    wanted = sorted(falls(returns), key=lambda each: each.depth)[:5]
    found = drawdowns(returns)
    assert [each[1:] for each in found] == [each[1:] for each in wanted]
    assert [each.depth for each in found] == pytest.approx([each.depth for each in wanted])
    assert found[0].depth == max_drawdown(returns)


def test_a_fall_at_the_first_bar_has_its_peak_at_the_start_and_ruin_is_never_recovered():
    assert drawdowns([-0.5, 1.0, 0.1]) == [Drawdown(-0.5, 0, 1, 2)]
    assert drawdowns([0.1, -1.0, 0.5]) == [Drawdown(-1.0, 1, 2, None)]
    assert drawdowns([0.1, 0.2]) == drawdowns([]) == []


def test_a_trade_is_a_span_on_one_side():
    weights = np.array([[0.5, 0], [0.2, 0], [-0.2, 0], [0, 0], [-0.1, 1], [-0.1, 0]])
    assert trades(weights) == Trades(4, 6 / 4)
    number, bars = trades(np.zeros((4, 1)))
    assert number == 0 and np.isnan(bars)


@pytest.mark.parametrize(
    ("found", "least"), [(lambda r: volatility(r, 252), 2), (skewness, 3), (value_at_risk, 1), (expected_shortfall, 1)]
)
def test_what_bars_are_too_few_for_is_not_a_number(found, least):
    few = np.arange(float(least))
    assert np.isnan(found(few[:-1])) and np.isfinite(found(few))
    assert np.isnan(skewness(np.ones(9)))
