"""The training report of a panel: each section's numbers against plain pandas, and alphalens."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from alphalens.performance import mean_return_by_quantile
from alphalens.utils import get_clean_factor
from panel_records import PANEL_RULES, panel_forecasts_of, panel_record
from report_pages import blocks, rows_of, said, table_of, texts_of, tiles_of, titles

from tradingbot_exp.evaluation.metrics.evaluate import validation_metrics
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.plots.numbers import MISSING
from tradingbot_exp.plots.style import MAX_BARS
from tradingbot_exp.reporting.backtest import backtest_of
from tradingbot_exp.reporting.page.configuration import data_blocks
from tradingbot_exp.reporting.page.page import Details, Figure
from tradingbot_exp.reporting.tear_sheet.costs import cost_curve
from tradingbot_exp.reporting.tear_sheet.equity import equity
from tradingbot_exp.reporting.tear_sheet.holdings import lagged, sides
from tradingbot_exp.reporting.tear_sheet.panel import panel_forecasts
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.reporting.training.forecasts import deciles, luck_of
from tradingbot_exp.reporting.training.ic_by_date import ic_by_date
from tradingbot_exp.reporting.training.quality import headline_of
from tradingbot_exp.reporting.training.quantiles import SPREAD, by_quantile
from tradingbot_exp.reporting.training.report import training_page
from tradingbot_exp.reporting.training.symbols import by_symbol

TABLE, METRICS = panel_forecasts_of()
PANEL, EARNED = panel_forecasts(TABLE), backtest_of(TABLE, PANEL_RULES)


RECORD = panel_record(TABLE, METRICS)


def daily(name):
    """Return a column's one value a date."""
    return TABLE.groupby("date")[name].first()


def test_what_was_earned_is_on_record_a_value_a_date():
    trained = Trained(RECORD)
    np.testing.assert_allclose(trained.backtest.net, daily("strategy_return"), atol=1e-15)
    np.testing.assert_allclose(trained.backtest.market, daily("buy_hold_return"), atol=1e-15)
    head = headline_of(trained)
    assert (head.bars, head.symbols, head.luck) == (120, 8, luck_of(120, 1))
    assert head.low < METRICS["sharpe"] < head.high
    assert tiles_of(training_page(RECORD))["Cross-sectional IC"].value == f"+{METRICS['cs_ic']:.3f}"
    assert "On 120 validation dates of 8 symbols, " in said(training_page(RECORD), "quality")


def test_every_section_is_there_and_a_single_instrument_has_none_of_them():
    page = training_page(RECORD)
    drawn = [title.partition(":")[0] for title in titles(page, "quality")]
    assert drawn[2:5] == ["Forecast deciles", "IC by date", "Returns by forecast quantile"]
    alone = TABLE[TABLE["symbol"] == "S007"].drop(columns=["symbol", "weight", "dates_ahead"])
    page = training_page(panel_record(alone, {"mse": 1.0}))
    drawn = [title.partition(":")[0] for title in titles(page, "quality")]
    assert "Rolling IC" in drawn and not {"IC by date", "Returns by forecast quantile"} & set(drawn)
    assert not any("cross-sectional" in row[0] for row in texts_of(table_of(page, "beside naive rivals")))


def test_the_ic_of_a_date_is_that_over_its_symbols():
    found = ic_by_date(PANEL, PANEL_RULES)
    wanted = TABLE.groupby("date")[["actual", "forecast"]].apply(lambda rows: rows["actual"].corr(rows["forecast"]))
    np.testing.assert_allclose(found.values, wanted)
    np.testing.assert_allclose(found.rolling, wanted.rolling(40).mean())
    assert found.dates[0] == "2019-10-01" and found.window == 40
    assert (found.mean, found.ratio, found.t) == pytest.approx([METRICS[f"cs_{n}"] for n in ("ic", "icir", "ic_t")])
    assert found.band == pytest.approx(1.96 * wanted.std() / math.sqrt(40))
    few = ic_by_date(PANEL, replace(PANEL_RULES, sizing=replace(PANEL_RULES.sizing, min_symbols=8)))
    assert len(few.values) == (TABLE.groupby("date").size() >= 8).sum() == 120 - few.left_out


def test_a_symbol_is_judged_by_its_own_rows_and_contributions_add_up():
    found = {each.name: each for each in by_symbol(PANEL, EARNED, PANEL_RULES)}
    for name, rows in TABLE.groupby("symbol"):
        one, a, f = found[name], rows["actual"], rows["forecast"]
        assert (one.rows, one.first, one.last) == (len(rows), *(str(rows["date"].iloc[i].date()) for i in (0, -1)))
        judged = [a.corr(f), a.corr(f, method="spearman"), (np.sign(a) == np.sign(f)).mean()]
        assert [one.ic, one.rank_ic, one.hit_rate] == pytest.approx(judged)
    whole = TABLE[TABLE["symbol"] == "S007"]
    assert found["S007"].weight == pytest.approx(whole["weight"].mean())
    paid = 5e-4 * np.abs(np.diff(whole["weight"], prepend=0))
    earned = whole["weight"] * np.expm1(whole["next_log_return"]) - paid
    assert found["S007"].contribution == pytest.approx(earned.mean() * 252)
    assert sum(each.contribution for each in found.values()) == pytest.approx(daily("strategy_return").mean() * 252)


def test_a_quantile_s_return_is_the_mean_of_its_symbols_a_bar_later():
    table, _ = panel_forecasts_of(symbols=11, gaps=False)
    found = by_quantile(panel_forecasts(table), PANEL_RULES)
    assert list(found.returns) == [
        "lowest fifth",
        "second fifth",
        "third fifth",
        "fourth fifth",
        "highest fifth",
        SPREAD,
    ]
    place = table.groupby("date")["forecast"].rank().astype(int) - 1
    for group, name in enumerate(list(found.returns)[:-1]):
        member = place * 5 // 11 == group
        held = member.groupby(table["symbol"]).shift(1, fill_value=False)
        wanted = np.expm1(table["next_log_return"])[held].groupby(table["date"]).mean()
        np.testing.assert_allclose(found.returns[name][1:], wanted)
        assert found.returns[name][0] == 0
    high_low = found.returns["highest fifth"] - found.returns["lowest fifth"]
    np.testing.assert_array_equal(found.returns[SPREAD], high_low)


# Of 12 symbols alphalens puts three into the highest fifth, and two into the third; ours has three in the third.
@pytest.mark.parametrize(("symbols", "alike"), [(10, 6), (20, 6), (12, 2)])
def test_returns_by_quantile_are_alphalens_s_where_groups_are_of_one_size(symbols, alike):
    table, _ = panel_forecasts_of(symbols=symbols, gaps=False)
    rows = table.set_index(["date", "symbol"]).rename_axis(["date", "asset"])
    forward = np.expm1(rows[["next_log_return"]]).rename(columns={"next_log_return": "1D"})
    clean = get_clean_factor(rows["forecast"], forward, quantiles=5, max_loss=0.0)
    wanted, _ = mean_return_by_quantile(clean, by_date=True, demeaned=False)
    groups = [wanted["1D"][quantile].to_numpy() for quantile in range(1, 6)]
    rules = replace(PANEL_RULES, lag=0)  # alphalens buys at once
    found = list(by_quantile(panel_forecasts(table), rules).returns.values())
    same = [
        np.allclose(ours, theirs, rtol=0, atol=1e-15)
        for ours, theirs in zip(found, [*groups, groups[-1] - groups[0]], strict=True)
    ]
    assert same == [True] * alike + [False] * (6 - alike)


@pytest.mark.parametrize(("symbols", "names"), [(3, 0), (4, 2), (7, 3), (9, 4), (40, 5)])
def test_groups_hold_two_symbols_at_least(symbols, names):
    table, _ = panel_forecasts_of(symbols=symbols, gaps=False)
    found = by_quantile(panel_forecasts(table), PANEL_RULES)
    assert (len(found.returns) - 1 if found else 0) == names


def test_standard_errors_of_deciles_are_those_of_dates():
    days = TABLE["date"].factorize()[0]
    found = deciles(TABLE["actual"], TABLE["forecast"], days=days)
    rows = TABLE[TABLE["forecast"] <= TABLE["forecast"].quantile(0.1)]
    sums = (rows["actual"] - rows["actual"].mean()).groupby(rows["date"]).sum()
    wanted = math.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(rows)
    assert found.error[0] == pytest.approx(wanted)
    every = deciles(np.tile(TABLE["actual"], 9), np.tile(TABLE["forecast"], 9), days=np.tile(days, 9))
    np.testing.assert_allclose(every.error, found.error, rtol=0.05)  # copies of a row tell nothing new


@pytest.mark.parametrize("own", [0, 1, 2])
def test_sharpe_ratios_at_every_lag_are_those_of_an_evaluation_at_that_lag(own):
    rules = replace(PANEL_RULES, lag=own)
    table, metrics = panel_forecasts_of(rules=rules)
    found = lagged(Trained(panel_record(table, metrics, **{"evaluation.execution_lag": str(own)})))
    for lag in (0, 1, 2):
        pair = np.stack([table["actual"], table["forecast"]])
        at = validation_metrics(*pair, pair[0], 0.0, replace(rules, lag=lag), layout=panel_forecasts(table).layout)
        assert found[lag] == pytest.approx((at.metrics["sharpe"], at.metrics["cagr"]))


def test_long_and_short_are_told_apart():
    found = sides(EARNED)
    long, short = TABLE["weight"].clip(lower=0), TABLE["weight"].clip(upper=0)
    earned = np.expm1(TABLE["next_log_return"])
    full, _ = panel_forecasts_of(gaps=False)
    both = sides(backtest_of(full, PANEL_RULES))
    assert found["long"].returned + found["short"].returned == pytest.approx(found["both"].returned)
    assert found["both"].returned == pytest.approx(EARNED.gross.mean() * 252)
    assert found["long"].returned == pytest.approx((long * earned).sum() / 120 * 252, rel=0.2)  # but for gaps
    assert found["short"].exposure == pytest.approx(-short.sum() / 120, rel=0.05)
    sign = np.sign(full.pivot_table(index="date", columns="symbol", values="weight"))
    assert both["both"].trades == ((sign != sign.shift()) & (sign != 0)).to_numpy().sum()
    assert both["long"].time == (sign > 0).any(axis=1).mean()


def test_what_is_borrowed_is_paid_before_costs_too():
    rules = Rules(periods=252.0, borrow_bps=500.0)
    table, metrics = panel_forecasts_of(rules=rules)
    test = backtest_of(table, rules)
    curve = cost_curve(test)
    assert test.sharpe(test.net) == pytest.approx(metrics["sharpe"])
    assert np.interp(5.0, curve.bps, curve.sharpe) == pytest.approx(metrics["sharpe"], rel=1e-3)
    parts = by_symbol(panel_forecasts(table), test, rules)
    assert sum(each.contribution for each in parts) == pytest.approx(test.net.mean() * 252)


def test_many_symbols_are_folded_and_no_figure_holds_all_rows():
    table, metrics = panel_forecasts_of(symbols=200, dates=300)
    page = training_page(panel_record(table, metrics))
    (folded,) = [each for each in blocks(page, Details, "quality") if "symbols" in each.summary]
    assert len(folded.blocks[0].rows) == 200 and folded.blocks[0].sortable
    points = [sum(len(trace.x) for trace in each.figure.data if trace.x is not None) for each in blocks(page, Figure)]
    assert max(points) <= 2 * MAX_BARS
    years = rows_of(table_of(page, "Year by year"))
    assert [cells[0].sort for cells in years.values()] == [65, 235]


def test_the_data_card_lists_each_symbol_and_what_was_left_out(make_run):
    symbols = {"A": {"bars": 9, "usable_rows": 7, "start": "2019-01-01", "end": "2020-01-01", "missing": 2}}
    part = {"rows": 5, "dates": 3, "start": "2019-01-01", "end": "2019-02-01"}
    card = {"name": "two", "symbols": symbols, "left_out": {"B": "no row"}, "split": {"train": part}}
    shown = data_blocks(card, make_run())
    assert texts_of(table_of(shown, "bars of each symbol")) == [["A", "2019-01-01", "2020-01-01", "9", "7", "2"]]
    assert texts_of(table_of(shown, "left out")) == [["B", "no row"]]
    assert texts_of(table_of(shown, "split")) == [["train", "5", "3", "2019-01-01", "2019-02-01"]]
    many = data_blocks({**card, "symbols": {str(each): symbols["A"] for each in range(21)}}, make_run())
    assert [each.summary.replace("\u00a0", " ") for each in blocks(many, Details)] == [
        "The data by symbol: 21 symbols, 1 left out"
    ]


def test_without_returns_symbols_are_judged_by_their_forecasts_alone():
    earned = ["next_log_return", "strategy_return", "buy_hold_return"]
    page = training_page(panel_record(TABLE.drop(columns=earned), METRICS))
    rows = rows_of(table_of(page, "By symbol"))
    assert [cell.text == MISSING for cell in rows["S003"]] == [False] * 4 + [True] * 2 + [False] * 2
    assert [title.partition(":")[0] for title in titles(page, "quality")][2:] == ["Forecast deciles", "IC by date"]


def test_a_row_that_is_there_twice_counts_once():
    twice = pd.concat([TABLE, TABLE.iloc[5:9]])
    assert (len(panel_forecasts(twice).layout), backtest_of(twice, PANEL_RULES).left_out) == (len(TABLE), 4)
    np.testing.assert_array_equal(backtest_of(twice, PANEL_RULES).net, EARNED.net)
    assert "4 rows left out" in equity(backtest_of(twice, PANEL_RULES)).layout.title.subtitle.text.replace(
        "\u00a0", " "
    )
    assert training_page(panel_record(twice, METRICS)).sections


def test_train_metrics_stand_beside_those_of_validation():
    record = panel_record(TABLE, METRICS)
    record.run.metrics["train_cs_ic"] = 0.25
    (row,) = texts_of(table_of(training_page(record), "Train beside validation"))
    assert row == ["cross-sectional IC", "0.250", f"{METRICS['cs_ic']:.3f}"]
