"""Two runs on a panel: what is compared is a value a date, of the symbols that both have."""

import numpy as np
import pytest
from comparison_records import forecasts, made
from panel_records import panel_forecasts_of, panel_record

from tradingbot_exp.evaluation.significance.bootstrap import MIN_BARS
from tradingbot_exp.reporting.comparison.equity import equity
from tradingbot_exp.reporting.comparison.forecasts import correlations
from tradingbot_exp.reporting.comparison.numbers import differences
from tradingbot_exp.reporting.comparison.pairs import pair
from tradingbot_exp.reporting.comparison.report import comparison_page

TABLE, METRICS = panel_forecasts_of()
OTHER = TABLE.assign(forecast=np.roll(TABLE["forecast"], 3), strategy_return=0.5 * TABLE["strategy_return"])
FIRST, SECOND = panel_record(TABLE, METRICS), panel_record(OTHER.sample(frac=1, random_state=0), METRICS)


def test_errors_are_means_over_the_symbols_of_a_date_and_returns_those_of_the_date():
    both = pair(FIRST, SECOND)
    assert (len(both.dates), len(both.rows)) == (120, len(TABLE))
    for table, errors, returns in zip((TABLE, OTHER), both.errors, both.returns, strict=True):
        by_date = table.assign(square=(table["actual"] - table["forecast"]) ** 2).groupby("date")
        np.testing.assert_allclose(errors, by_date["square"].mean())
        np.testing.assert_array_equal(returns, by_date["strategy_return"].first())
    assert [each.bars for each in differences([FIRST, SECOND])] == [120] * 3


def test_wealth_has_a_value_a_date_and_forecasts_correlate_over_rows():
    found, alike = equity([FIRST, SECOND]), correlations([FIRST, SECOND])
    by_date = TABLE.groupby("date")[["strategy_return", "buy_hold_return"]].first()
    np.testing.assert_allclose(found.wealth[0], (1 + by_date["strategy_return"]).cumprod())
    np.testing.assert_allclose(found.market, (1 + by_date["buy_hold_return"]).cumprod())
    assert alike.bars == len(TABLE)
    assert alike.values[0, 1] == pytest.approx(TABLE["forecast"].corr(OTHER["forecast"]))
    assert comparison_page([FIRST, SECOND]).sections


def test_other_symbols_are_another_market_whose_shared_rows_can_be_compared():
    both = pair(FIRST, panel_record(panel_forecasts_of(symbols=9)[0].query("symbol != 'S003'"), METRICS))
    assert both.no_errors == "they forecast different targets"
    some = TABLE[TABLE["symbol"] < "S004"].assign(buy_hold_return=0.0)
    both = pair(FIRST, panel_record(some, METRICS))
    assert both.no_returns == "they traded different markets"
    square = (some["actual"] - some["forecast"]) ** 2
    np.testing.assert_allclose(both.errors[1], square.groupby(some["date"]).mean())


def test_a_panel_is_not_paired_with_one_instrument_nor_on_too_few_dates():
    alone = pair(FIRST, made("b", forecasts()))
    assert alone.no_errors == alone.no_returns == "one run is of several symbols, the other of one instrument"
    few = pair(FIRST, panel_record(TABLE[TABLE["date"] < TABLE["date"].unique()[MIN_BARS - 1]], METRICS))
    assert few.no_errors == f"they share {MIN_BARS - 1} validation dates, fewer than {MIN_BARS}"
