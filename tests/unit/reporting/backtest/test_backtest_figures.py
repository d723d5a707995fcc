"""The numbers of a backtest against plain loops and the run's own metrics, and what its figures hold."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tradingbot_exp.data.panel import Layout
from tradingbot_exp.evaluation.metrics import backtest
from tradingbot_exp.evaluation.metrics.evaluate import bar_columns, validation_metrics
from tradingbot_exp.evaluation.positions import Sizing
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.reporting.backtest import backtest_of, rules_of, wealth, window_of
from tradingbot_exp.reporting.tear_sheet.costs import cost_curve, costs
from tradingbot_exp.reporting.tear_sheet.equity import drawdown, equity, rolling, rolling_sharpe
from tradingbot_exp.reporting.tear_sheet.months import monthly_returns, months
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.reporting.tear_sheet.years import year_blocks
from tradingbot_exp.reporting.training.forecasts import decile_figure, deciles, rolling_ic, rolling_ic_figure
from tradingbot_exp.tracking.reading.records import TrainingRecord
from tradingbot_exp.tracking.reading.run_record import Artifacts

RULES = Rules(periods=252.0)


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    market, forecast = rng.normal(0, 0.01, 300), rng.normal(0, 0.002, 300)
    dates = pd.bdate_range("2019-11-01", periods=300)
    return pd.DataFrame({"date": dates, "actual": market, "forecast": forecast, "next_log_return": market})


@pytest.fixture
def earned(predictions):
    return backtest_of(predictions, RULES)


def trace(fig, name):
    (found,) = (item for item in fig.data if item.name == name)
    return found


def subtitle(fig):
    return fig.layout.title.subtitle.text.replace("\u00a0", " ")


def test_returns_are_those_of_the_evaluation(predictions, earned):
    layout = Layout.of_one(len(predictions))
    position = RULES.positions(predictions["forecast"], layout)
    expected = RULES.earned(position, predictions["actual"], layout)
    np.testing.assert_array_equal(earned.weights[:, 0], position)
    np.testing.assert_array_equal(earned.net, expected.net)
    np.testing.assert_array_equal(earned.gross, position * np.expm1(predictions["actual"]))
    assert earned.sharpe(earned.net) == backtest.sharpe(earned.net, 252.0)
    held = backtest_of(predictions.assign(position=1.0), Rules(cost_bps=0.0))  # on record: it counts before forecasts
    np.testing.assert_array_equal(held.net, np.expm1(predictions["actual"]))
    predictions.loc[[3, 7], "forecast"] = [np.nan, np.inf]
    left = backtest_of(predictions, RULES)
    assert (len(left.net), left.left_out) == (298, 2)
    assert "2 bars left out" in subtitle(equity(left))


def test_positions_and_borrowing_are_those_on_record_whatever_the_rule(predictions):
    rules = replace(RULES, borrow_bps=200.0, sizing=Sizing("proportional"))
    layout = Layout.of_one(len(predictions))
    position = rules.held(rules.wanted(predictions["forecast"], layout, spread=0.01), layout)
    found = backtest_of(predictions.assign(position=position), rules)
    np.testing.assert_array_equal(found.net, rules.earned(position, predictions["actual"], layout).net)
    np.testing.assert_array_equal(found.gross, position * np.expm1(predictions["actual"]))  # before borrowing, too
    assert found.turnover == pytest.approx(np.abs(np.diff(position, prepend=0.0)).mean())
    assert np.mean(found.gross - found.borrowed - found.break_even * 1e-4 * found.changes) == pytest.approx(
        0, abs=1e-15
    )


def test_a_panel_has_the_returns_and_trades_of_each_date(predictions):
    symbol, date = np.tile(["A", "B"], 150), np.repeat(np.arange(150), 2)
    rows = np.flatnonzero(
        ~((symbol == "B") & ((date < 20) | (date == 60) | (date > 120)))
    )  # late, with a gap, and early
    table = predictions.iloc[rows].assign(
        symbol=symbol[rows], date=pd.bdate_range("2020-01-01", periods=150)[date[rows]]
    )
    ahead = np.where((symbol[rows] == "B") & (date[rows] == 59), 2, 1)
    layout = Layout(date[rows], np.where(symbol[rows] == "A", 0, 1), ahead, ("A", "B"))
    rules = Rules(periods=252.0, borrow_bps=100.0)
    log_returns = table["next_log_return"].to_numpy()
    judged = validation_metrics(log_returns, table["forecast"], log_returns, 0.0, rules, layout=layout)
    found = backtest_of(table.assign(**bar_columns(judged, log_returns)).sample(frac=1.0, random_state=0), rules)
    np.testing.assert_allclose(found.net, judged.returns, rtol=1e-12)
    np.testing.assert_allclose(found.changes, judged.own.changes, rtol=1e-12)
    np.testing.assert_allclose(found.market, judged.own.market, rtol=1e-12)
    assert len(found.times) == 151 and found.turnover == pytest.approx(judged.metrics["turnover"])
    assert backtest_of(table.assign(weight="none", strategy_return=0.0, buy_hold_return=0.0), rules) is None


def test_the_last_return_ends_one_usual_distance_after_the_last_bar(earned):
    assert len(earned.times) == 301
    assert earned.times[-1] - earned.times[-2] == pd.Timedelta(days=1)
    assert earned.times[0] == pd.Timestamp("2019-11-01")


@pytest.mark.parametrize("columns", [["date", "forecast"], ["next_log_return"]])
def test_without_returns_or_forecasts_there_is_no_backtest(predictions, columns):
    assert backtest_of(predictions[columns], RULES) is None
    assert backtest_of(predictions.iloc[:0], RULES) is None


def test_wealth_compounds_and_ruin_is_final():
    np.testing.assert_allclose(wealth(np.array([0.1, -0.5, 0.2])), [1, 1.1, 0.55, 0.66])
    np.testing.assert_array_equal(wealth(np.array([0.1, -1.5, 3.0]))[2:], [0, 0])


def test_drawdown_starts_at_zero_and_its_deepest_is_the_metric(earned):
    fall = drawdown(earned.net)
    assert fall[0] == 0
    assert fall.min() == pytest.approx(backtest.max_drawdown(earned.net), rel=1e-9)
    assert drawdown(np.array([-0.2, 0.1])).tolist() == pytest.approx([0, -0.2, -0.12])


@pytest.mark.parametrize(
    ("bars", "periods", "window"),
    [(29, 252, 0), (30, 252, 15), (60, 252, 20), (300, 252, 100), (484, 252, 126), (484, None, 126), (9000, 12, 20)],
)
def test_the_rolling_window_is_half_a_year_within_reason(bars, periods, window):
    assert window_of(bars, periods) == window


def test_rolling_sharpe_is_the_sharpe_of_each_window_and_knows_nothing_of_later_bars(earned):
    found = rolling_sharpe(earned.net, 50, 252.0)
    assert np.isnan(found[:49]).all()
    for end in (49, 123, 299):
        assert found[end] == pytest.approx(backtest.sharpe(earned.net[end - 49 : end + 1], 252.0))
    changed = np.concatenate([earned.net[:200], np.full(100, 0.5)])
    np.testing.assert_array_equal(rolling_sharpe(changed, 50, 252.0)[:200], found[:200])
    assert np.isnan(rolling_sharpe(np.full(60, 0.01), 50, 252.0)).all()


def test_months_compound_to_years_and_to_the_whole(earned):
    table = monthly_returns(earned.times, earned.net)
    assert list(table.columns) == [*range(1, 13), "year"]
    ends = earned.times[1:]
    inside = (ends.year == 2020) & (ends.month == 3)
    assert table.loc[2020, 3] == pytest.approx(np.prod(1 + earned.net[inside]) - 1)
    assert math.isnan(table.loc[2019, 3])
    assert np.prod(1 + table["year"]) == pytest.approx(wealth(earned.net)[-1])
    assert np.nanprod(1 + table.drop(columns="year").to_numpy()) == pytest.approx(wealth(earned.net)[-1])
    assert monthly_returns(pd.RangeIndex(3), np.zeros(2)) is None


def test_nothing_is_left_at_the_break_even_cost(predictions, earned):
    curve = cost_curve(earned)
    held = RULES.earned(earned.weights[:, 0], np.log1p(earned.market), earned.layout)
    assert curve.at_charged == pytest.approx(backtest.sharpe(held.net, 252.0))
    paid = np.abs(np.diff(earned.weights[:, 0], prepend=0.0)) * 1e-4
    assert np.mean(earned.gross - curve.break_even * paid) == pytest.approx(0, abs=1e-15)
    assert curve.sharpe[0] == pytest.approx(earned.sharpe(earned.gross))
    assert curve.bps[0] == 0
    assert curve.bps[-1] >= 2 * 5.0
    assert np.all(np.diff(curve.sharpe) < 0)


def test_a_strategy_that_never_trades_has_neither_break_even_nor_band(predictions):
    flat = backtest_of(predictions.assign(forecast=0.0), RULES)
    assert math.isnan(flat.break_even) and math.isnan(flat.luck(100))
    (note,) = costs(cost_curve(flat), "a year").layout.annotations
    assert "never takes a position" in note.text
    assert not rolling(flat).layout.shapes
    assert "luck" not in subtitle(rolling(flat))


def test_the_interval_of_the_sharpe_ratio_is_that_of_the_bootstrap_with_blocks_of_the_horizon(predictions):
    rng = np.random.default_rng(1)
    trend = pd.Series(rng.normal(0, 0.01, 600)).rolling(20).mean().dropna().to_numpy()[:300]
    for horizon in (1, 20):
        held = backtest_of(predictions.assign(next_log_return=trend), Rules(horizon=horizon, periods=252.0))
        found = held.interval
        assert found.estimate == pytest.approx(held.sharpe(held.net))
        assert found.low < found.estimate < found.high
        assert found.block >= horizon
    # Of returns that follow each other the interval is far wider than independent ones would have it.
    kept = backtest_of(predictions.assign(next_log_return=trend, position=1.0), Rules(horizon=20, periods=252.0))
    assert kept.interval.high - kept.interval.low > 2 * 2 * 1.96 * math.sqrt(252 / 300)


def test_the_band_of_luck_is_that_of_the_interval_at_the_length_of_the_window(earned):
    half = (earned.interval.high - earned.interval.low) / 2
    assert earned.luck(300) == pytest.approx(half)
    assert earned.luck(75) == pytest.approx(2 * half)
    (band,) = rolling(earned).layout.shapes
    assert (band.y0, band.y1) == (-earned.luck(100), earned.luck(100))
    assert f"± {earned.luck(100):.1f}" in subtitle(rolling(earned))
    assert trace(rolling(earned), "net").y[0] == pytest.approx(backtest.sharpe(earned.net[:100], 252.0), rel=1e-3)
    assert trace(rolling(earned), "net").x[0] == str(earned.times[100].date())  # the first whole window
    assert not rolling(backtest_of(pd.DataFrame({"forecast": [1.0], "next_log_return": [0.1]}), RULES)).data


def test_rules_come_from_the_run_and_auto_from_tag_then_dates(make_run, predictions):
    params = {"evaluation.cost_bps": "2.5", "evaluation.execution_lag": "0", "data.horizon": "3"}
    params |= {"evaluation.periods_per_year": "auto", "data.target": "direction"}
    run = make_run(params=params)
    assert rules_of(run) == Rules(3, 0, 2.5, 0.5, None)
    assert rules_of(run, predictions).periods == 252.0
    assert rules_of(make_run(params=params, tags={"periods_per_year": "98280"}), predictions).periods == 98280.0
    assert rules_of(make_run(params={"evaluation.periods_per_year": "12"}), predictions).periods == 12.0
    assert rules_of(make_run(params={"evaluation.cost_bps": "words"})) == Rules()
    impossible = {"evaluation.cost_bps": "-5", "evaluation.execution_lag": "-1"}
    assert rules_of(make_run(params=impossible)) == Rules(lag=0, cost_bps=0.0)


def test_equity_figure_ends_where_wealth_does_and_its_axes_are_shared(earned):
    fig = equity(earned)
    for name, returns in (("net", earned.net), ("before costs", earned.gross), ("buy and hold", earned.market)):
        assert trace(fig, name).y[0] == 1
        assert trace(fig, name).y[-1] == pytest.approx(np.prod(1 + returns), rel=1e-4)
    fall = trace(fig, "net, fall")
    assert min(fall.y) == pytest.approx(100 * backtest.max_drawdown(earned.net), rel=1e-3)
    assert fall.yaxis == "y2"
    assert fall.xaxis is None
    assert (fig.layout.xaxis.anchor, fig.layout.yaxis2.domain[1] < fig.layout.yaxis.domain[0]) == ("y2", True)
    assert "deepest fall −" in subtitle(fig)


def test_a_long_backtest_is_thinned_but_keeps_its_deepest_fall_and_its_end():
    rng = np.random.default_rng(0)
    market = rng.normal(0, 0.01, 20_001)
    earned = backtest_of(pd.DataFrame({"forecast": market[::-1], "next_log_return": market}), RULES)
    fig = equity(earned)
    assert len(trace(fig, "net").y) < 3_010
    assert min(trace(fig, "net, fall").y) == pytest.approx(100 * backtest.max_drawdown(earned.net), rel=1e-3)
    assert trace(fig, "net").x[-1] == 20_001
    assert fig.layout.xaxis.title.text == "bar"


def test_month_figure_holds_percent_and_counts_gains(earned):
    fig = months(earned)
    (cells,) = fig.data
    table = monthly_returns(earned.times, earned.net)
    assert cells.z[1][2] == pytest.approx(100 * table.loc[2020, 3], rel=1e-3)
    assert cells.z[0][2] is None
    assert cells.text[0][2] == ""
    there = table.drop(columns="year").to_numpy()
    there = there[np.isfinite(there)]
    assert subtitle(fig).startswith(f"{(there > 0).sum()} of {there.size} months gained")


def test_rolling_ic_is_the_correlation_of_each_window(predictions):
    found = rolling_ic(predictions["date"], predictions["actual"], predictions["forecast"], 4, 252.0)
    assert found.window == 100
    part = predictions.iloc[150:250]
    assert found.values[249] == pytest.approx(np.corrcoef(part["actual"], part["forecast"])[0, 1])
    assert found.band == pytest.approx(1.96 / math.sqrt(25))  # of 100 overlapping targets, 25 tell something new
    (line,) = rolling_ic_figure(found).data
    assert (line.x[0], len(line.x)) == (str(predictions["date"].iloc[99].date()), 201)
    constant = rolling_ic(predictions["date"], predictions["actual"], np.ones(300))
    few = rolling_ic([1, 2], [0.1, 0.2], [0.1, 0.3])
    for found, why in ((constant, "constant"), (few, "too few bars")):
        (note,) = rolling_ic_figure(found).layout.annotations
        assert why in note.text


def test_deciles_average_what_came_with_its_standard_error(predictions):
    a, f = predictions["actual"].to_numpy(), predictions["forecast"].to_numpy()
    found = deciles(a, f)
    order = np.argsort(f)
    assert found.bars.tolist() == [30] * 10
    top = a[order[-30:]]
    assert found.actual[-1] == pytest.approx(top.mean())
    assert found.error[-1] == pytest.approx(top.std(ddof=1) / math.sqrt(30))
    assert found.forecast[0] == pytest.approx(f[order[:30]].mean())
    assert deciles(a, f, horizon=5).error[-1] == pytest.approx(found.error[-1] * math.sqrt(5))
    fig = decile_figure(found, "basis points", 1e4)
    assert trace(fig, "actual").y[-1] == pytest.approx(1e4 * top.mean(), rel=1e-4)


def test_equal_forecasts_share_a_group_and_a_constant_one_has_none():
    forecast = np.repeat([0.0, 1.0], [90, 10])
    found = deciles(np.arange(100.0), forecast)
    assert found.bars.tolist() == [90, 10]
    assert found.forecast.tolist() == [0.0, 1.0]
    assert deciles(np.arange(100.0), np.ones(100)) is None
    assert deciles([1.0] * 9, range(9)) is None
    (note,) = decile_figure(None, "x").layout.annotations
    assert "same forecast" in note.text


def test_the_years_hold_what_the_metrics_give_on_their_bars(predictions, earned, make_run):
    def of_years(table):
        return year_blocks(Trained(TrainingRecord(make_run(), Artifacts(predictions=table))))

    (table,) = of_years(predictions)
    years = earned.times[1:].year
    assert [row[0].text for row in table.rows] == ["2019", "2020"]
    for row, year in zip(table.rows, (2019, 2020), strict=True):
        mine = years == year
        net, market = earned.net[mine], earned.market[mine]
        found = [cell.sort for cell in row[1:]]
        dated = predictions[predictions["date"].dt.year == year]
        assert found[0] == mine.sum()
        assert found[1:] == pytest.approx(
            [
                np.corrcoef(dated["actual"], dated["forecast"])[0, 1],
                backtest.sharpe(net, 252),
                backtest.alpha(net, market, 252),
                backtest.beta(net, market),
                np.prod(1 + net) - 1,
                np.prod(1 + market) - 1,
            ]
        )
    few = predictions.tail(60 + 30).assign(date=pd.bdate_range("2019-12-20", periods=90))
    short = of_years(few)[0].rows[0]
    assert [cell.text for cell in short[2:6]] == ["–"] * 4 and short[6].text != "–"
    assert of_years(predictions.head(30).assign(date=pd.bdate_range("2020-03-02", periods=30))) == []
