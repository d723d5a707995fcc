"""Sharpe, Sortino and drawdown, against two independent packages."""

import empyrical
import numpy as np
import pytest
import skfolio.measures

from tradingbot_exp.evaluation.backtest import max_drawdown, sharpe, sortino

SEEDS = range(4)


def returns(seed):
    rng = np.random.default_rng(seed)
    return 0.0003 + 0.012 * rng.standard_t(4, 484)


@pytest.mark.parametrize("seed", SEEDS)
def test_sharpe_ratio_is_that_of_empyrical_and_skfolio(seed):
    r = returns(seed)
    assert sharpe(r, 252) == pytest.approx(empyrical.sharpe_ratio(r, annualization=252), rel=1e-12)
    ratio = skfolio.measures.mean(r) / skfolio.measures.standard_deviation(r)
    assert sharpe(r, 252) == pytest.approx(ratio * np.sqrt(252), rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_sortino_ratio_is_that_of_empyrical_and_skfolio(seed):
    r = returns(seed)
    assert sortino(r, 252) == pytest.approx(empyrical.sortino_ratio(r, annualization=252), rel=1e-12)
    # skfolio divides the squared losses by n - 1.
    downside = skfolio.measures.semi_deviation(r, min_acceptable_return=0.0) * np.sqrt(483 / 484)
    assert sortino(r, 252) == pytest.approx(skfolio.measures.mean(r) / downside * np.sqrt(252), rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_max_drawdown_is_that_of_empyrical_and_skfolio(seed):
    r = returns(seed)
    assert max_drawdown(r) == pytest.approx(empyrical.max_drawdown(r), rel=1e-12)
    wealth = skfolio.measures.get_cumulative_returns(r, compounded=True)
    assert max_drawdown(r) == pytest.approx(
        -np.max(1 - wealth / np.maximum.accumulate(np.append(1.0, wealth))[1:]), rel=1e-12
    )
