"""Sharpe, Sortino, Calmar, growth and drawdown, against two independent packages."""

import empyrical
import numpy as np
import pytest
import skfolio.measures

from tradingbot_exp.evaluation.metrics.backtest import alpha, beta, cagr, calmar, max_drawdown, sharpe, sortino

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
    drawdowns = skfolio.measures.get_drawdowns(r, compounded=True)
    assert max_drawdown(r) == pytest.approx(-skfolio.measures.max_drawdown(drawdowns), rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_growth_and_calmar_ratio_are_those_of_empyrical_and_skfolio(seed):
    r = returns(seed)
    wealth = skfolio.measures.get_cumulative_returns(r, compounded=True)
    growth = wealth[-1] ** (252 / len(r)) - 1
    assert cagr(r, 252) == pytest.approx(empyrical.cagr(r, annualization=252), rel=1e-10)
    assert cagr(r, 252) == pytest.approx(growth, rel=1e-10)
    fall = skfolio.measures.max_drawdown(skfolio.measures.get_drawdowns(r, compounded=True))
    assert calmar(r, 252) == pytest.approx(empyrical.calmar_ratio(r, annualization=252), rel=1e-10)
    assert calmar(r, 252) == pytest.approx(growth / fall, rel=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_alpha_and_beta_are_those_of_empyrical_and_of_least_squares(seed):
    r, m = returns(seed), returns(seed + 100)[: len(returns(seed))]
    r = r[: len(m)] + 0.4 * m
    slope, level = np.polyfit(m, r, 1)
    assert beta(r, m) == pytest.approx(empyrical.beta(r, m), rel=1e-9)
    assert beta(r, m) == pytest.approx(slope, rel=1e-9)
    assert alpha(r, m, 252) == pytest.approx(252 * level, rel=1e-9)
    once = (1 + empyrical.alpha(r, m, annualization=1)) - 1  # of a bar; a year's are compounded there
    assert alpha(r, m, 1) == pytest.approx(once, rel=1e-9)
