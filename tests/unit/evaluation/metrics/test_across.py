"""Cross-sectional correlations and their statistics, against pandas, alphalens and plain sums; and draws of dates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from alphalens.performance import mean_information_coefficient
from scipy.stats import ConstantInputWarning

from tradingbot_exp.data.panel import Layout, layout_of
from tradingbot_exp.evaluation.metrics import across
from tradingbot_exp.evaluation.metrics.evaluate import validation_metrics
from tradingbot_exp.evaluation.metrics.forecast import ic, rank_ic
from tradingbot_exp.evaluation.metrics.functions import FUNCTIONS, Sample
from tradingbot_exp.evaluation.positions import Sizing
from tradingbot_exp.evaluation.rules import Rules

DATES, SYMBOLS = 60, 7


def jagged(seed: int = 0) -> tuple[pd.DataFrame, Layout]:
    """Seven symbols, of which some miss dates; a few dates have one or two, and on one all forecasts are alike."""
    rng = np.random.default_rng(seed)
    grid = pd.MultiIndex.from_product(
        [pd.bdate_range("2020", periods=DATES), list("ABCDEFG")], names=["date", "symbol"]
    )
    table = pd.DataFrame({"actual": rng.standard_normal(len(grid))}, index=grid)
    table["forecast"] = 0.3 * table["actual"] + rng.standard_normal(len(grid))
    table["next"] = 0.01 * rng.standard_normal(len(grid))
    keep = rng.random(len(grid)) > 0.2
    keep[3 * SYMBOLS : 3 * SYMBOLS + 6] = False
    keep[5 * SYMBOLS : 5 * SYMBOLS + 5] = False
    keep[[3 * SYMBOLS + 6, 5 * SYMBOLS + 5, 5 * SYMBOLS + 6]] = True
    table = table[keep].reset_index()
    table.loc[table["date"] == table["date"].iloc[-1], "forecast"] = 0.1
    layout, order = layout_of(table["date"], table["symbol"])
    assert list(order) == list(range(len(table)))
    return table, layout


@pytest.mark.parametrize("least", [2, 3, 6])
def test_correlations_by_date_are_those_of_a_groupby(least: int) -> None:
    table, layout = jagged()
    wanted = [
        group["actual"].corr(group["forecast"])
        for _, group in table.groupby("date")
        if len(group) >= least and group["forecast"].nunique() > 1
    ]
    found = across.known(across.by_date(table["actual"].to_numpy(), table["forecast"].to_numpy(), layout, least))
    np.testing.assert_allclose(found, wanted)
    assert across.mean(found) == pytest.approx(np.mean(wanted))
    assert across.ratio(found) == pytest.approx(np.mean(wanted) / np.std(wanted, ddof=1))


def test_the_mean_of_rank_correlations_is_alphalens_s_mean_information_coefficient() -> None:
    table, layout = jagged()
    a, f = (table[name].to_numpy() for name in ("actual", "forecast"))
    clean = table.set_index(["date", "symbol"]).rename(columns={"actual": "1D", "forecast": "factor"})
    with pytest.warns(ConstantInputWarning, match="constant"):  # a date whose forecasts are alike: on neither side
        wanted = mean_information_coefficient(clean[["1D", "factor"]])["1D"]
    rules = Rules(sizing=Sizing(min_symbols=2), periods=252)  # alphalens takes each date of two symbols or more
    found = validation_metrics(a, f, a, 0.0, rules, layout=layout)
    assert found.metrics["cs_rank_ic"] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("horizon", "lags"), [(1, 5), (6, 5), (10, 9)])
def test_the_t_value_is_newey_and_wests(horizon: int, lags: int) -> None:
    series = np.random.default_rng(1).standard_normal(80)
    series[1:] += 0.4 * series[:-1]
    moves, n = series - series.mean(), len(series)
    gamma = [sum(moves[t] * moves[t - lag] for t in range(lag, n)) / n for lag in range(lags + 1)]
    variance = gamma[0] + 2 * sum((1 - lag / (lags + 1)) * gamma[lag] for lag in range(1, lags + 1))
    assert across.t_value(series, horizon) == pytest.approx(series.mean() / np.sqrt(variance / n))


def test_an_evaluation_has_them_of_a_panel_alone_and_errors_over_all_rows() -> None:
    table, layout = jagged()
    a, f, r = (table[name].to_numpy() for name in ("actual", "forecast", "next"))
    rules = Rules(sizing=Sizing(min_symbols=4), periods=252)
    found = validation_metrics(a, f, r, 0.0, rules, layout=layout)
    series = across.known(across.by_date(a, f, layout, 4))
    ranked = [
        rank_ic(group["actual"], group["forecast"])
        for _, group in table.groupby("date")
        if len(group) >= 4 and group["forecast"].nunique() > 1
    ]
    assert found.metrics["cs_ic"] == across.mean(series) and found.metrics["cs_icir"] == across.ratio(series)
    assert found.metrics["cs_rank_ic"] == pytest.approx(np.mean(ranked))
    assert found.metrics["cs_ic_t"] == across.t_value(series, 1) and found.metrics["ic"] == ic(a, f)
    assert found.returns is not None and len(found.returns) == DATES == len(found.own.market)
    alone = validation_metrics(a, f, r, 0.0, rules, layout=Layout.of_one(len(a)))
    assert not any(name.startswith("cs_") for name in {**alone.metrics, **alone.undefined})
    few = validation_metrics(a, f, r, 0.0, Rules(sizing=Sizing(min_symbols=8), periods=252), layout=layout)
    assert "has enough symbols" in few.undefined["cs_ic"] and few.metrics["ic"] == found.metrics["ic"]


def test_dates_are_drawn_with_all_their_symbols() -> None:
    table, layout = jagged()
    actual, forecast = table["actual"].to_numpy(), table["forecast"].to_numpy()
    sample = Sample(actual, forecast, Rules(), 0.0, layout, returns=np.arange(DATES))
    computed = [FUNCTIONS[name](sample) for name in ("rank_ic", "cs_ic", "cs_rank_ic")]  # of which what is drawn knows
    days = np.array([7, 3, 3, 59, 0])
    drawn = sample.take(days)
    dates = np.sort(table["date"].unique())
    wanted = pd.concat([table[table["date"] == dates[day]] for day in days])
    np.testing.assert_array_equal(drawn.actual, wanted["actual"])
    assert drawn.bars == 5 and list(drawn.returns) == list(days)
    assert list(np.array(drawn.layout.names)[drawn.layout.symbol]) == list(wanted["symbol"])
    anew = replace(drawn)  # knows nothing
    assert np.isfinite(computed).all() and "places" in vars(drawn) and "places" not in vars(anew)
    for name in ("rank_ic", "cs_ic", "cs_rank_ic", "cs_icir"):
        assert FUNCTIONS[name](drawn) == FUNCTIONS[name](anew)
    assert list(drawn.layout.counts) == [int((table["date"] == dates[day]).sum()) for day in days]
