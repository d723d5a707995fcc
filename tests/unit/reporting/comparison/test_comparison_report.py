"""The comparison's sentences, the numbers within its figures, and the page: sections, cells, empty cases."""

import math
from dataclasses import replace

import numpy as np
import pytest
from comparison_records import BARS, MARKET, forecasts, foreign, made
from report_pages import anchors, blocks, said, table_of, texts_of

from tradingbot_exp.reporting.comparison.compared import run_style
from tradingbot_exp.reporting.comparison.differences import amount, difference_intervals, p_value, sentence, verdict
from tradingbot_exp.reporting.comparison.equity import equity, equity_curves
from tradingbot_exp.reporting.comparison.forecasts import Correlations, forecast_correlations
from tradingbot_exp.reporting.comparison.learning import learning_curves
from tradingbot_exp.reporting.comparison.numbers import Difference
from tradingbot_exp.reporting.comparison.report import comparison_page
from tradingbot_exp.reporting.comparison.summary import headline
from tradingbot_exp.reporting.page.page import Figure, Table, Tiles
from tradingbot_exp.reporting.reporter import MAX_COMPARED
from tradingbot_exp.tracking.reading.run_record import Curve

NAN = float("nan")
SCRIPT = "<script>alert(1)</script>"


def difference(measure="mse", run=1, estimate=-2e-6, low=-3e-6, high=-1e-6, corrected=0.01, **fields):
    return Difference(run, measure, 484, 1e-4, estimate, low, high, corrected, corrected, **fields)


def texts(page, anchor):
    """Return the texts of a section's first table, by the first cell of each row."""
    return {first: rest for first, *rest in texts_of(table_of(page, anchor=anchor))}


APART = Difference(2, "sharpe", 0, problem="they traded different markets")


@pytest.mark.parametrize(
    ("found", "words", "brief"),
    [
        (
            difference(),
            "B is better than A by 2.00 % in mean squared error; the 95 % interval leaves 0 out and the corrected p is "
            "0.010: more than luck would do.",
            "B is better, by more than luck",
        ),
        (
            difference("return", estimate=-2e-4, low=-9e-4, high=5e-4, corrected=0.5),
            "A is better than B by 2.0 bp in mean net return a bar, but the 95 % interval includes 0: "
            "this could be luck.",
            "could be luck",
        ),
        (
            difference(corrected=0.12),
            "B is better than A by 2.00 % in mean squared error, and its own 95 % interval leaves 0 out, but corrected "
            "for all comparisons here p is 0.120: this could be luck.",
            "could be luck",
        ),
        (
            difference(estimate=0.0, low=0.0, high=0.0, corrected=1.0),
            "B and A have the same mean squared error on every one of the 484 bars.",
            "the same on every bar",
        ),
        (APART, f"C and A cannot be compared in net Sharpe ratio: {APART.problem}.", APART.problem),
    ],
)
def test_a_difference_is_told_at_length_and_in_a_few_words(found, words, brief):
    assert sentence(found).replace("\u00a0", " ") == words
    assert verdict(found) == brief


def test_amounts_have_as_many_digits_as_their_interval_makes_sensible():
    wide, slim = difference("sharpe", estimate=0.5, low=-20, high=20), difference("sharpe", low=0.501, high=0.502)
    assert amount(wide, 0.5123) == "+0.5"
    assert amount(slim, 0.5123) == "+0.51230"
    assert p_value(0.0004) == "< 0.001"


def test_the_headline_says_who_is_better_who_is_not_and_who_cannot_be_compared():
    found = [
        difference(run=1),
        difference(run=2, estimate=2e-6, low=1e-6, high=3e-6),
        difference(run=3, low=-5e-6, high=1e-6, corrected=1.0),
        Difference(4, "mse", 0, problem="they forecast different targets"),
        Difference(5, "mse", 484, 1e-4, 0.0, 0.0, 0.0, 1.0, 1.0),
    ]
    text = headline(found, 6, seeds_only=False)
    assert "B is better than A in mean squared error (by 2.00\u00a0%), by more than luck would do." in text
    assert "C is worse than A in mean squared error (by 2.00\u00a0%), by more than luck would do." in text
    assert "D cannot be told from A on the 484\u00a0bars that both have: every difference could be luck." in text
    assert "E cannot be compared with A bar by bar." in text
    assert "F did on every bar exactly what A did." in text


def test_learning_curves_hold_the_losses_with_gaps_and_a_log_scale_where_they_span_much():
    fig = learning_curves({0: Curve((1, 2, 3), (0.3, NAN, 0.2)), 2: Curve((1, 2), (9.0, 0.1))}, ["a", "b", "c"], "mse")
    assert [trace.name for trace in fig.data] == ["A a", "C c"]
    assert fig.data[0].y == (0.3, None, 0.2)
    assert (fig.data[1].line.color, fig.layout.yaxis.type) == (run_style(2)["color"], "log")
    assert learning_curves({0: Curve((1,), (0.3,))}, ["a"], "mse").layout.yaxis.type == "linear"


def test_equity_is_in_percent_of_the_start_with_buy_and_hold_once():
    found = equity([made("a", forecasts()), made("b", forecasts(0.5, 2))])
    fig = equity_curves(found, ["a", "b"])
    assert [trace.name for trace in fig.data] == ["buy and hold", "A a", "B b"]
    assert fig.data[0].y[-1] == pytest.approx(100 * math.expm1(MARKET.sum()), rel=1e-4)
    assert fig.data[1].x[0] == "2020-01-01"
    assert len(fig.data[1].x) == BARS


def test_long_equity_is_thinned_and_keeps_its_end():
    market = np.random.default_rng(0).normal(0, 0.001, 5_500)
    runs = [
        made(name, forecasts(seed=seed, market=market, dates=np.arange(5_500))) for name, seed in (("a", 1), ("b", 2))
    ]
    fig = equity_curves(equity(runs), ["a", "b"])
    assert len(fig.data[0].x) == 918
    assert fig.data[0].x[-1] == 5_499
    assert fig.layout.title.subtitle.text.endswith("1 in 6 drawn")


def test_intervals_are_in_units_and_marked_where_they_hold():
    found = [
        difference(run=1),
        difference(run=3, low=-5e-6, high=1e-6, corrected=1.0),
        difference("return", 3, 2e-4, 1e-4, 3e-4),
    ]
    fig = difference_intervals(found, list("abcd"), 252)
    returns, errors = fig.data
    assert (returns.x, returns.error_x.array, returns.error_x.arrayminus) == ((2.0,), (1.0,), (1.0,))
    assert (errors.x, errors.y, errors.marker.symbol) == ((-2.0, -2.0), (0, 1), ("circle", "circle-open"))
    assert fig.layout.yaxis2.ticktext == ("B", "D")
    assert fig.layout.xaxis2.title.text == "← better · % of A's MSE · worse →"
    assert fig.layout.xaxis.title.text == "← worse · basis points a bar · better →"


@pytest.mark.parametrize("runs", [1, 19])
def test_panels_of_intervals_do_not_overlap_on_a_wide_or_narrow_screen(runs):
    found = [difference(measure, run) for measure in ("return", "sharpe", "mse") for run in range(1, runs + 1)]
    fig = difference_intervals(found, ["name"] * (runs + 1), 252)
    narrow = fig.layout.meta["narrow"]
    wide = [fig.layout[f"xaxis{suffix}"].domain for suffix in ("", "2", "3")]
    tall = [narrow[f"yaxis{suffix}.domain"] for suffix in ("3", "2", "")]
    for domains in (wide, tall):
        edges = [edge for domain in domains for edge in domain]
        assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= 1


def test_correlations_are_drawn_by_letter_and_one_that_is_missing_is_a_dash():
    values = np.array([[1.0, 0.25, NAN], [0.25, 1.0, NAN], [NAN, NAN, NAN]])
    fig = forecast_correlations(Correlations((0, 2, 3), 484, values), [SCRIPT, "b", "c", "d"])
    (heat,) = fig.data
    assert heat.x == heat.y == ("A", "C", "D")
    assert list(heat.z[0]) == [1.0, 0.25, None]
    assert list(heat.text[0][1:]) == ["0.25", "–"]
    assert "<script>" not in fig.to_json()


def test_a_page_answers_in_order_and_its_cells_are_the_metrics():
    first, second = made("a", forecasts()), made("b", forecasts(0.8, seed=2), {"model.learning_rate": "0.01"})
    page = comparison_page([first, second])
    assert anchors(page) == [
        *("in-short", "runs", "metrics", "differences", "equity", "forecasts", "learning", "what-differs", "again")
    ]
    assert (page.title, page.kind) == ("a against b", "Comparison")
    metrics = texts(page, "metrics")
    assert metrics["MSE (mean squared error)"][1].startswith("★\u00a0")
    assert not metrics["MSE of the zero forecast (of directions, of a coin flip)"][0].startswith("★")
    assert "B is better than A" in said(page, "in-short")
    assert texts(page, "what-differs") == {"model.learning_rate": ["0.001", "0.01"]}
    (tiles,) = blocks(page, Tiles)
    assert tiles.tiles[-1].value == "3 of 3"
    assert page.sections[-1].blocks[0].text == "python -m tradingbot_exp report compare id-a id-b"
    page = comparison_page([first, made("b", forecasts(seed=2), {"seed": "7"})])
    assert said(page, "in-short").startswith("The runs differ only in their seed")
    rows = texts_of(table_of(page, anchor="differences"))
    assert [row[1] for row in rows] == ["mean net return a bar", "net Sharpe ratio", "mean squared error"]
    assert [row[-1] for row in rows] == ["could be luck"] * 3
    assert "Holm's method for the 3 comparisons" in said(page, "differences")
    page = comparison_page([first, made("b", forecasts(), {"training.loss": "mae"})])
    assert not blocks(page, Figure, "learning") and "different losses or targets" in said(page, "learning")


def test_every_table_has_a_cell_for_each_column_and_every_figure_a_description():
    runs = [
        made("a", forecasts()),
        made("b", forecasts(0.5, 2)),
        made("c"),
        foreign(),
        made("e", forecasts(market=-MARKET)),
    ]
    page = comparison_page(runs)
    tables, figures = blocks(page, Table), blocks(page, Figure)
    assert len(tables) >= 4 and len(figures) >= 3
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    assert all(figure.description for figure in figures)


def test_runs_on_different_data_are_not_ranked_nor_drawn_together():
    elsewhere = made(
        "b", forecasts(0.8, market=MARKET[::-1]), tags={"data.fingerprint": "another", "data.name": "msft"}
    )
    page = comparison_page([made("a", forecasts()), elsewhere])
    assert "their metrics are not comparable" in said(page, "in-short")
    assert not {"equity", "forecasts"} & set(anchors(page))
    assert not blocks(page, Figure, "differences")
    assert "they traded different markets" in said(page, "differences")
    shown = [cell.text for table in blocks(page, Table, "metrics") for row in table.rows for cell in row]
    assert not any("★" in text for text in shown)
    assert all(row[1].startswith("(") for row in texts(page, "metrics").values())


def test_runs_with_nothing_in_common_get_a_page_that_says_so_without_figures():
    page = comparison_page([made("a", forecasts(), curves={}), foreign(metrics={})])
    assert not blocks(page, Figure)
    text = said(page)
    assert "cannot be compared bar by bar" in text
    assert "B was logged by something else" in text
    assert "B: there are no forecasts on record" in text
    page = comparison_page([foreign("a", {}), foreign("b", {})])
    assert "None of the runs has metrics on record." in said(page, "metrics")


def test_metrics_that_are_nan_or_infinite_are_shown_as_such_and_never_best():
    metrics = [{"val_mse": NAN, "val_sharpe": math.inf}, {"val_mse": 0.1, "val_sharpe": 1.0}]
    page = comparison_page([made(str(i), forecasts(seed=i), metrics=each) for i, each in enumerate(metrics)])
    assert texts(page, "metrics") == {
        "MSE (mean squared error)": ["–", "0.1"],
        "Sharpe ratio, net (a year, where its bars are known)": ["∞", "1.00"],
    }


def test_text_from_the_store_stays_text():
    tags = {"data.name": SCRIPT, "model.name": SCRIPT, "error": SCRIPT, "data.fingerprint": "another"}
    hostile = made("b", forecasts(), {"model.activation": SCRIPT}, tags, status="FAILED")
    hostile = replace(hostile, run=replace(hostile.run, name=SCRIPT))
    page = comparison_page([made("a", forecasts()), hostile])
    assert SCRIPT in page.title  # plain: the template escapes it
    assert all("<script>" not in figure.figure.to_json() for figure in blocks(page, Figure))


def test_twenty_runs_are_compared_and_headed_by_letters():
    runs = [made(f"run-{i}", forecasts(seed=i), {"seed": str(i)}) for i in range(1, MAX_COMPARED + 1)]
    page = comparison_page(runs)
    (table, *_) = blocks(page, Table, "metrics")
    assert [column.name for column in table.columns] == ["metric", *"ABCDEFGHIJKLMNOPQRST"]
    assert [column.hint for column in table.columns[1:3]] == ["run-1", "run-2"]
    assert len(blocks(page, Figure, "equity")[0].figure.data) == MAX_COMPARED + 1
    assert page.title == "run-1 against 19 others"
    assert len({tuple(run_style(run).values()) for run in range(MAX_COMPARED)}) == MAX_COMPARED


@pytest.mark.parametrize(
    ("mse", "words"),
    [
        ([1.0, 1.0, None], "Of the runs whose numbers are known, A and B, all forecast better than the coin flip"),
        ([1.0, NAN, 3.0], "Of the runs whose numbers are known, A and C, only A forecasts better than the coin flip"),
        ([3.0, 3.0, None], "None of the runs whose numbers are known, A and B, forecasts better than the coin flip"),
        ([1.0, 1.0, 3.0], "Of the runs, only A and B forecast better than the coin flip"),
        ([1.0, 1.0, 1.0], "Every run forecasts better than the coin flip"),
    ],
)
def test_runs_without_a_number_are_not_counted_among_those_that_beat_or_miss_a_baseline(mse, words):
    records = [
        made(
            str(i),
            metrics={"val_zero_mse": 2.0} | ({} if value is None else {"val_mse": value}),
            params={"data.target": "direction"},
        )
        for i, value in enumerate(mse)
    ]
    assert words in said(comparison_page(records), "in-short")


def test_a_run_of_something_else_is_not_called_sealed_and_folds_are_no_rows_of_their_own():
    page = comparison_page([made("a", metrics={"fold_1_val_ic": 0.1, "val_ic": 0.1}), foreign()])
    rows = texts(page, "runs")
    assert [rows[name][-1] for name in ("A, reference", "B")] == ["sealed", "–"]
    tables = blocks(page, Table, "metrics")
    assert not any("fold" in row[0].text for table in tables for row in table.rows)
    assert "What each fold gave" in said(page, "metrics")
