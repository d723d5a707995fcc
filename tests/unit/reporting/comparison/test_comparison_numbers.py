"""Pairs of runs bar by bar, differences with their uncertainty, wealth, correlations, and the best of a row."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from comparison_records import BARS, DATES, MARKET, forecasts, foreign, made

from tradingbot_exp.evaluation.metrics.backtest import sharpe
from tradingbot_exp.evaluation.significance.bootstrap import MIN_BARS
from tradingbot_exp.reporting.comparison.equity import equity
from tradingbot_exp.reporting.comparison.forecasts import correlations
from tradingbot_exp.reporting.comparison.numbers import differences, draws_of, holm, in_unit
from tradingbot_exp.reporting.comparison.pairs import pair
from tradingbot_exp.reporting.comparison.report import comparison_page
from tradingbot_exp.reporting.comparison.summary import data_notices
from tradingbot_exp.reporting.page.metrics import best, metric_rows
from tradingbot_exp.reporting.page.page import Table

NAN = float("nan")


def by_measure(found, run=1):
    return {each.measure: each for each in found if each.run == run}


def test_bars_are_matched_by_date_whatever_their_order():
    table, other = forecasts(), forecasts(0.5, seed=2)
    shuffled = other.iloc[50:].sample(frac=1, random_state=0)
    both = pair(made("a", table), made("b", shuffled))
    assert list(both.dates) == list(DATES[50:])
    np.testing.assert_allclose(both.errors[0], ((table["actual"] - table["forecast"]) ** 2)[50:])
    np.testing.assert_allclose(both.errors[1], ((other["actual"] - other["forecast"]) ** 2)[50:])
    np.testing.assert_array_equal(both.returns[1], other["strategy_return"][50:])


def test_bars_that_lack_a_number_in_one_run_are_left_out_of_both():
    broken = forecasts()
    broken.loc[[3, 7], "forecast"] = [NAN, math.inf]
    broken.loc[9, "strategy_return"] = NAN
    both = pair(made("a", forecasts()), made("b", broken))
    assert len(both.dates) == BARS - 3
    assert not set(DATES[[3, 7, 9]]) & set(both.dates)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (None, "there are no forecasts on record"),
        (forecasts().drop(columns="forecast"), "there are no forecasts on record"),
        (forecasts().iloc[: MIN_BARS - 1], f"they share {MIN_BARS - 1} validation bars, fewer than {MIN_BARS}"),
        (forecasts(dates=DATES.tz_localize("UTC")), "the two runs' bars are dated in different ways"),
        (forecasts(dates=np.arange(BARS)), "the two runs' bars are dated in different ways"),
        (forecasts(dates=DATES + pd.Timedelta("1min")), f"they share 0 validation bars, fewer than {MIN_BARS}"),
    ],
    ids=["none", "no forecast", "few", "time zone", "row numbers", "a minute later"],
)
def test_runs_that_cannot_be_paired_say_why(other, why):
    both = pair(made("a", forecasts()), made("b", other))
    assert (both.errors, both.returns) == (None, None)
    assert both.no_errors == both.no_returns == why


def test_row_numbers_match_bars_only_of_the_same_data():
    table = forecasts(dates=np.arange(BARS))
    assert len(pair(made("a", table), made("b", table)).dates) == BARS
    other = made("b", table, tags={"data.fingerprint": "another"})
    assert pair(made("a", table), other).no_errors == "their bars carry no dates"


def test_errors_are_compared_only_of_one_target_and_returns_only_of_one_market():
    longer = forecasts()
    longer["actual"] = np.convolve(MARKET, np.ones(5))[:BARS]  # another horizon of the same market
    both = pair(made("a", forecasts()), made("b", longer))
    assert both.errors is None and both.no_errors == "they forecast different targets"
    assert both.returns is not None
    elsewhere = forecasts(market=MARKET[::-1])
    both = pair(made("a", forecasts()), made("b", elsewhere))
    assert both.no_returns == "they traded different markets"
    huge = forecasts()
    huge.loc[0, "forecast"] = 1e200
    assert pair(made("a", forecasts()), made("b", huge)).no_errors == "a squared error is too large for a 64-bit float"


def test_differences_are_those_of_the_recorded_metrics():
    first, second = made("a", forecasts()), made("b", forecasts(0.5, seed=2))
    found = by_measure(differences([first, second]))
    for measure, name in (("mse", "val_mse"), ("sharpe", "val_sharpe")):
        assert found[measure].estimate == pytest.approx(second.run.metrics[name] - first.run.metrics[name])
        assert found[measure].base == pytest.approx(first.run.metrics[name])
    tables = [each.artifacts.predictions["strategy_return"] for each in (first, second)]
    assert found["return"].estimate == pytest.approx(tables[1].mean() - tables[0].mean())
    assert all(each.low <= each.estimate <= each.high and each.bars == BARS for each in found.values())


def test_a_forecast_with_skill_is_told_from_noise_and_noise_from_noise_is_not():
    found = differences([made("a", forecasts()), made("b", forecasts(0.8, seed=2)), made("c", forecasts(seed=3))])
    assert all(each.holds and each.better for each in by_measure(found, 1).values())
    assert not any(each.holds for each in by_measure(found, 2).values())
    found = by_measure(differences([made("a", forecasts(0.8, seed=2)), made("b", forecasts())]))
    assert all(each.holds and not each.better for each in found.values())  # the other way round


def test_blocks_are_at_least_as_long_as_the_longer_horizon_and_are_shown():
    short, long = made("a", forecasts()), made("b", forecasts(seed=2), {"data.horizon": "20"})
    assert all(each.block < 20 for each in differences([short, made("c", forecasts(seed=2))]))
    for pair_of_runs in ([short, long], [long, short]):
        assert all(each.block >= 20 for each in differences(pair_of_runs))
    (section,) = [part for part in comparison_page([short, long]).sections if part.anchor == "differences"]
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert [column.name for column in table.columns][6:8] == ["bars", "block"]
    assert all(row[7].sort >= 20 for row in table.rows)


def test_long_series_are_drawn_less_often_but_often_enough_for_the_correction():
    assert draws_of(484, 3) == 2_000
    assert draws_of(484, 57) == 5_700
    assert draws_of(50_000, 3) == 500
    for comparisons in (3, 30, 57):
        assert comparisons / (draws_of(50_000, comparisons) + 1) < 0.05


def test_the_same_forecasts_differ_by_nothing():
    found = differences([made("a", forecasts()), made("b", forecasts())])
    assert [(each.estimate, each.low, each.high, each.p) for each in found] == [(0.0, 0.0, 0.0, 1.0)] * 3
    assert not any(each.holds for each in found)


def test_a_run_that_never_trades_has_no_sharpe_ratio_but_a_mean_return():
    flat = forecasts()
    flat["strategy_return"] = 0.0
    found = by_measure(differences([made("a", forecasts()), made("b", flat)]))
    assert found["sharpe"].problem == "a run returned the same on every bar"
    assert math.isnan(found["sharpe"].corrected)
    assert not found["return"].problem


def test_sharpe_ratios_are_a_bars_where_nobody_knows_the_bars_in_a_year():
    tables = [forecasts(dates=np.arange(BARS)), forecasts(0.5, 2, dates=np.arange(BARS))]
    auto = {"evaluation.periods_per_year": "auto"}
    found = by_measure(differences([made(name, table, auto) for name, table in zip("ab", tables, strict=True)]))
    assert found["sharpe"].base == pytest.approx(sharpe(tables[0]["strategy_return"], 1))


def test_holm_steps_down_stays_in_order_and_does_not_count_what_is_missing():
    assert holm([0.01, 0.04, 0.03, NAN]) == pytest.approx([0.03, 0.06, 0.06, NAN], nan_ok=True)
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_units_are_basis_points_and_percent_of_the_reference():
    found = by_measure(differences([made("a", forecasts()), made("b", forecasts(0.5, seed=2))]))
    assert in_unit(found["return"], 0.0002) == pytest.approx(2)
    assert in_unit(found["mse"], found["mse"].base / 4) == pytest.approx(25)
    assert in_unit(found["sharpe"], 1.5) == 1.5


def test_wealth_is_compounded_over_the_bars_that_all_have():
    tables = [forecasts(), forecasts(0.5, 2).iloc[20:], forecasts(0.2, 3).iloc[:-40]]
    found = equity([made(str(i), table) for i, table in enumerate(tables)])
    assert list(found.dates) == list(DATES[20:-40])
    for run, table in enumerate(tables):
        returns = table.set_index("date").loc[found.dates, "strategy_return"]
        np.testing.assert_allclose(found.wealth[run], (1 + returns).cumprod())
    np.testing.assert_allclose(found.market, np.exp(np.cumsum(MARKET[20:-40])))
    ruined = forecasts()
    ruined.loc[10, "strategy_return"] = -1.5
    found = equity([made("a", forecasts()), made("b", ruined)])
    assert found.wealth[1][9] > 0
    assert not found.wealth[1][10:].any()  # ruin is final


def test_wealth_leaves_out_a_run_of_another_market_and_one_that_would_leave_no_bars():
    elsewhere, late = forecasts(market=MARKET[::-1]), forecasts().iloc[-40:]
    runs = [made("a", forecasts().iloc[:-5]), made("b", elsewhere), made("c", forecasts().iloc[:100]), made("d", late)]
    assert list(equity(runs).wealth) == [0, 2]
    assert equity(runs[:2]) is None


def test_correlations_are_pearsons_and_missing_for_a_constant_forecast():
    tables = [forecasts(), forecasts(0.5, 2), forecasts().assign(forecast=0.0)]
    found = correlations([made(str(i), table) for i, table in enumerate(tables)])
    expected = np.corrcoef(tables[0]["forecast"], tables[1]["forecast"])[0, 1]
    assert found.values[0, 1] == pytest.approx(expected)
    assert found.values[0, 0] == pytest.approx(1)
    assert np.isnan(found.values[2]).all()
    assert (found.runs, found.bars) == ((0, 1, 2), BARS)


@pytest.mark.parametrize(
    ("values", "comparable", "better", "expected"),
    [
        ((3.0, 1.0, 2.0), (True, True, True), -1, (1,)),
        ((3.0, 1.0, 2.0), (True, True, True), 1, (0,)),
        ((3.0, 1.0, 2.0), (True, True, True), 0, ()),
        ((3.0, 1.0, 2.0), (True, False, True), -1, (2,)),
        ((1.0, 1.0, 2.0), (True, True, True), -1, (0, 1)),
        ((1.0, 1.0, None), (True, True, True), -1, ()),
        ((1.0, NAN, math.inf), (True, True, True), 1, ()),
        ((1.0, 2.0), (True, False), 1, ()),
    ],
)
def test_the_best_is_the_best_of_what_can_be_compared(values, comparable, better, expected):
    assert best(values, comparable, better) == expected


def rows_of(*records):
    return {row.name: row for row in metric_rows(records)}


def test_each_metric_knows_its_better_direction():
    metrics = [
        {"val_mse": 1.0, "val_sharpe": 1.0, "val_turnover": 1.0, "val_max_drawdown": -0.3, "mine": 1.0},
        {"val_mse": 2.0, "val_sharpe": 2.0, "val_turnover": 2.0, "val_max_drawdown": -0.2, "mine": 2.0},
    ]
    rows = rows_of(*(made(str(i), metrics=each) for i, each in enumerate(metrics)))
    marked = {name: row.best for name, row in rows.items()}
    assert marked == {"val_mse": (0,), "val_sharpe": (1,), "val_turnover": (), "val_max_drawdown": (1,), "mine": ()}
    assert rows["mine"].part == "other"


def test_metrics_are_comparable_only_under_the_same_rules_of_their_own():
    costly = made("b", forecasts(), {"evaluation.cost_bps": "20"}, metrics={"val_mse": 1.0, "val_sharpe": 1.0})
    rows = rows_of(made("a", forecasts()), costly)
    assert rows["val_mse"].comparable == (True, True)
    assert rows["val_sharpe"].comparable == (True, False)
    other_loss = made("b", forecasts(), {"training.loss": "mae"}, metrics={"final_loss": 1.0, "val_mse": 1.0})
    rows = rows_of(made("a", forecasts()), other_loss)
    assert rows["final_loss"].comparable == (True, False)
    assert rows["val_mse"].comparable == (True, True)
    low, high, same = (
        made("b", forecasts(), {"training.loss": "pinball", "training.quantile": q}, metrics={"final_loss": 1.0})
        for q in ("0.1", "0.9", "0.1")
    )
    assert rows_of(low, high, same)["final_loss"].comparable == (True, False, True)
    unread = made("b", forecasts(), {"training.quantile": "0.5"}, metrics={"final_loss": 1.0})
    assert rows_of(made("a", forecasts()), unread)["final_loss"].comparable == (True, True)
    other_data = made("b", forecasts(), tags={"data.fingerprint": "another"})
    rows = rows_of(made("a", forecasts()), other_data, made("c", forecasts().iloc[10:]))
    assert all(row.comparable == (True, False, False) and row.best == () for row in rows.values())


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        # Runs of before say nothing of positions.
        ({}, {"position": "sign", "borrow_bps": "0.0", "threshold": "auto"}, True),
        ({}, {"position": "long_only"}, False),
        ({}, {"borrow_bps": "50"}, False),
        ({"position": "sign", "max_position": "1.0"}, {"position": "sign", "max_position": "2.0"}, True),
        ({"position": "vol_target", "max_position": "1.0"}, {"position": "vol_target", "max_position": "2.0"}, False),
        ({"position": "of a plugin", "quantile": "0.1"}, {"position": "of a plugin", "quantile": "0.2"}, False),
    ],
)
def test_returns_compare_under_one_position_rule_with_the_numbers_that_it_reads(first, second, same):
    metrics = {"val_mse": 1.0, "val_sharpe": 1.0}
    runs = [
        made(name, forecasts(), {f"evaluation.{key}": text for key, text in params.items()}, metrics=metrics)
        for name, params in (("a", first), ("b", second))
    ]
    rows = rows_of(*runs)
    assert rows["val_sharpe"].comparable == (True, same) and rows["val_mse"].comparable == (True, True)
    assert any("judged by different rules" in str(each) for each in data_notices(runs)) is not same


def test_a_trial_without_forecasts_is_comparable_where_data_are_split_alike():
    trial = made("b", kind="trial", metrics={"val_mse": 1e-9})
    assert rows_of(made("a", forecasts()), trial)["val_mse"].best == (1,)
    other = made("c", params={"data.split.train": "0.6"}, kind="trial", metrics={"val_mse": 1e-9})
    assert rows_of(made("a", forecasts()), other)["val_mse"].best == ()


def opened(name, end, **fields):
    tags = {"opened.start": "2012-01-01T00:00:00", "opened.end": end} if end else {}
    opening = made("opening", tags=tags, metrics={"test_mse": 1.0, "test_sharpe": 1.0 if name == "a" else 2.0}).run
    return replace(made(name, forecasts(), **fields), openings=(opening,))


@pytest.mark.parametrize(
    ("second", "same"),
    [
        (opened("b", "2013-03-01T00:00:00"), True),
        (opened("b", "2011-06-01T00:00:00"), False),
        (opened("b", None), False),
        (made("b", forecasts()), False),
        (opened("b", "2013-03-01T00:00:00", tags={"data.fingerprint": "another"}), False),
        (opened("b", "2013-03-01T00:00:00", params={"evaluation.cost_bps": "1"}), None),
    ],
    ids=["same", "other bars", "unknown", "never opened", "other data", "other costs"],
)
def test_of_test_sets_only_the_same_bars_compare_and_none_is_ever_best(second, same):
    rows = rows_of(opened("a", "2013-03-01T00:00:00"), second)
    assert rows["test_mse"].comparable[1] is (same is not False)
    assert rows["test_sharpe"].comparable[1] is bool(same)
    assert rows["test_sharpe"].best == rows["test_mse"].best == ()


def test_metrics_of_the_first_opening_of_the_test_set_are_shown():
    openings = [made(kind="test_evaluation", metrics={"test_mse": mse, "val_mse": 9.0}).run for mse in (1.0, 2.0)]
    judged = replace(made("a", metrics={"val_mse": 1.0, "test_mse": 2.0}), openings=tuple(openings))
    rows = rows_of(judged, foreign())
    assert rows["test_mse"].values == (1.0, None)
    assert rows["val_mse"].values == (1.0, None)
    assert rows["accuracy"].values == (None, 0.5)


def test_a_real_difference_survives_the_correction_among_twenty_runs():
    noise = [made(str(i), forecasts(seed=i)) for i in range(2, 20)]
    found = differences([made("a", forecasts()), made("b", forecasts(0.8, seed=20)), *noise])
    assert len(found) == 57
    assert [each.corrected for each in found] == pytest.approx(holm([each.p for each in found]))
    assert all(each.holds for each in by_measure(found, 1).values())
    assert not any(each.holds for each in found if each.run > 1)
