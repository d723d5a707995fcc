"""The numbers within the figures, and what a figure says when there are none."""

import datetime
import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tradingbot_exp.plots.feature_distributions import (
    feature_histograms,
    histogram_figure,
    histograms_from,
    histograms_record,
)
from tradingbot_exp.plots.feature_importance import feature_importance
from tradingbot_exp.plots.prediction_distribution import prediction_distribution
from tradingbot_exp.plots.prediction_vs_actual import prediction_vs_actual
from tradingbot_exp.plots.training_history import training_history

NAN = float("nan")
DATES = pd.to_datetime(["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"])
ACTUAL = np.array([0.01, -0.02, 0.03, 0.0])
FORECAST = np.array([0.001, 0.002, -0.001, 0.0012345678])


def trace(fig, name):
    (found,) = (item for item in fig.data if item.name == name)
    return found


def texts(fig):
    return [annotation.text for annotation in fig.layout.annotations]


def subtitle(fig):
    return fig.layout.title.subtitle.text


def history(train, val, best=None):
    return training_history((range(1, len(train) + 1), train), (range(1, len(val) + 1), val), best, "mse")


def test_history_keeps_the_epochs_marks_the_best_and_leaves_gaps():
    fig = history([0.3, 0.2, 0.123456789], [0.4, 0.25, 0.3], 2)
    assert trace(fig, "train").x == (1, 2, 3)
    assert trace(fig, "train").y == (0.3, 0.2, 0.12346)
    assert trace(fig, "validation").y == (0.4, 0.25, 0.3)
    (line,) = fig.layout.shapes
    assert (line.x0, line.x1) == (2, 2)
    assert texts(fig) == ["best epoch 2"]
    assert subtitle(fig) == "3 epochs · best 2, validation 0.25"
    assert (fig.layout.xaxis.title.text, fig.layout.yaxis.title.text) == ("epoch", "loss (mse)")
    assert len(fig.layout.updatemenus) == 1
    assert not history([0.0], [0.2]).layout.updatemenus  # no log scale
    fig = training_history(((0, 5, 10), (0.3, NAN, float("inf"))), ((5, 10), (0.4, 0.5)), None, "mse")
    assert (trace(fig, "train").x, trace(fig, "validation").x) == ((0, 5, 10), (5, 10))
    assert trace(fig, "train").y == (0.3, None, None)
    assert "2 losses left out: not finite" in subtitle(fig)
    assert not fig.layout.shapes
    assert fig.layout.xaxis.range == (-0.5, 10.5)


def test_prediction_figure_has_series_scatter_and_the_line_of_a_perfect_forecast():
    fig = prediction_vs_actual(DATES, ACTUAL, FORECAST, "log return, 1 bar")
    assert trace(fig, "actual").x == ("2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07")
    assert trace(fig, "actual").y == (0.01, -0.02, 0.03, 0.0)
    assert trace(fig, "forecast").y == (0.001, 0.002, -0.001, 0.0012346)
    scatter, line = trace(fig, "bars"), trace(fig, "actual = forecast")
    assert (scatter.x, scatter.y) == (trace(fig, "forecast").y, trace(fig, "actual").y)
    assert line.x == line.y == (-0.001, 0.002)
    assert f"correlation −{-stats.pearsonr(ACTUAL, FORECAST).statistic:.3f}" in subtitle(fig)
    assert fig.layout.xaxis2.title.text == "forecast (log return, 1 bar)"


def test_prediction_figure_draws_only_bars_that_have_both_values():
    fig = prediction_vs_actual([1, 2, 3, 4], ACTUAL, [NAN, 0.1, 0.1, 0.1], "return")
    assert trace(fig, "forecast").x == (2, 3, 4)
    assert subtitle(fig) == "3\u00a0bars · no correlation · 1 bars left out: not finite"
    assert trace(fig, "actual = forecast").x == (-0.02, 0.03)  # a constant forecast has no range of its own
    assert fig.layout.xaxis.title.text == "bar"


@pytest.mark.parametrize(
    ("dates", "first"),
    [
        (pd.date_range("2020-01-01 09:30", periods=4, freq="min"), "2020-01-01T09:30:00"),
        (pd.date_range("2020-01-01", periods=4, tz="America/New_York"), "2020-01-01 00:00:00-05:00"),
        ([datetime.date(2020, 1, day) for day in (1, 2, 3, 4)], "2020-01-01"),
        (["a", "b", "c", "d"], "a"),
    ],
    ids=["minutes", "time zone", "date", "text"],
)
def test_times_of_any_kind_become_text(dates, first):
    assert trace(prediction_vs_actual(dates, ACTUAL, FORECAST, "return"), "actual").x[0] == first


def test_a_long_series_is_thinned_evenly_and_the_figure_stays_small():
    rng = np.random.default_rng(0)
    times = pd.date_range("2000-01-01", periods=100_000, freq="min")
    fig = prediction_vs_actual(times, rng.normal(size=100_000), rng.normal(size=100_000), "return")
    assert len(trace(fig, "actual").x) == len(trace(fig, "bars").x) == 2_942
    assert subtitle(fig).endswith("1 in 34 drawn")
    assert len(fig.to_json()) < 400_000


def test_distributions_are_shares_of_all_bars_in_bins_of_their_own():
    rng = np.random.default_rng(0)
    actual, forecast = rng.normal(0, 0.02, 500), rng.normal(0, 0.001, 500)
    fig = prediction_distribution(actual, forecast, "return")
    for name, values in {"actual": actual, "forecast": forecast}.items():
        bars = trace(fig, name)
        assert sum(bars.y) == pytest.approx(100, abs=0.01)
        left, width = bars.x[3] - bars.width[3] / 2, bars.width[3]
        inside = np.mean((values >= left) & (values < left + width))
        assert bars.y[3] == pytest.approx(100 * inside, abs=0.21)  # an edge is rounded: one bar may change bins
    assert trace(fig, "forecast").width[0] < trace(fig, "actual").width[0] / 5
    low, high = fig.layout.xaxis.range
    assert low < actual.min() < actual.max() < high
    bars = trace(prediction_distribution(ACTUAL, np.zeros(4), "return"), "forecast")
    assert (bars.x, bars.y, bars.width) == ((0.0,), (100.0,), (0.0005,))  # a constant is one narrow bar


def test_importance_is_sorted_and_keeps_its_error_bars():
    fig = feature_importance(["a", "b", "c"], [0.1, 0.3, -0.2], [0.01, NAN, 0.02])
    (bars,) = fig.data
    assert bars.x == (0.3, 0.1, -0.2)
    assert fig.layout.yaxis.ticktext == ("b", "a", "c")
    assert bars.error_x.array == (None, 0.01, 0.02)
    assert bars.marker.color[1] != bars.marker.color[2]
    assert fig.layout.yaxis.range == (2.5, -0.5)  # the first on top
    fig = feature_importance([f"f{i}" for i in range(60)], [NAN, *range(59)], np.ones(60))
    assert len(fig.data[0].x) == 50
    assert fig.layout.yaxis.ticktext[0] == "f59"
    assert "top 50 of 59 · 1 features left out" in subtitle(fig)
    fig = feature_importance(["<b>x</b>", "a" * 30 + "_lag_two"], [2, 1], [0, 0])
    assert fig.layout.yaxis.ticktext == ("&lt;b&gt;x&lt;/b&gt;", "a" * 17 + "…_lag_two")


def panels(names, train, val):
    return histogram_figure(feature_histograms(names, train, val))


def test_feature_panels_hold_densities_and_the_distance_of_the_two_samples():
    rng = np.random.default_rng(0)
    train, val = rng.normal(size=(3000, 2)), rng.normal([0, 1.5], 1, size=(600, 2))
    fig = panels(["same", "moved"], train, val)
    for i, suffix in enumerate(("", "2")):
        for part, values in (("train", train), ("validation", val)):
            (steps,) = (t for t in fig.data if t.name == part and t.xaxis == f"x{suffix}")
            x, y = np.array(steps.x), np.array(steps.y)
            area = np.sum(np.diff(x) * y[:-1])
            assert area == pytest.approx(np.mean((values[:, i] >= x[0]) & (values[:, i] <= x[-1])), abs=0.002)
        ks = stats.ks_2samp(train[:, i], val[:, i]).statistic
        assert f"<b>{('same', 'moved')[i]}</b>  KS {ks:.2f}" in texts(fig)
    assert sum(bool(t.showlegend) for t in fig.data) == 2


def test_feature_panels_are_drawn_again_from_json():
    rng = np.random.default_rng(0)
    train, val = rng.normal(size=(300, 3)), rng.normal(1, 1, size=(60, 3))
    train[:, 1] = val[:, 1] = 2.0
    val[:, 2] = train[:, 2] = NAN
    found = feature_histograms(["a", "b", "c"], train, val)
    again = histograms_from(json.loads(json.dumps(histograms_record(found), allow_nan=False)))
    np.testing.assert_allclose(again[0].train, found[0].train, rtol=1e-4)
    assert again[0].ks == pytest.approx(stats.ks_2samp(train[:, 0], val[:, 0]).statistic, rel=1e-4)
    assert (again[1].edges, again[1].train) == ((2.0,), ())
    assert (again[2].edges, np.isnan(again[2].ks)) == ((), True)
    assert texts(histogram_figure(again)) == texts(histogram_figure(found))
    assert {"constant, 2", "no finite values"} <= set(texts(histogram_figure(again)))


@pytest.mark.parametrize("count", [1, 2, 7, 50, 63])
def test_feature_panels_do_not_overlap_on_a_wide_or_narrow_screen(count):
    rows = np.random.default_rng(0).normal(size=(40, count))
    fig = panels([f"f{i}" for i in range(count)], rows, rows)
    shown = min(count, 50)
    suffixes = ["", *map(str, range(2, shown + 1))]
    narrow = fig.layout.meta["narrow"]
    layouts = [
        [(fig.layout[f"xaxis{s}"].domain, fig.layout[f"yaxis{s}"].domain) for s in suffixes],
        [(narrow[f"xaxis{s}.domain"], narrow[f"yaxis{s}.domain"]) for s in suffixes],
    ]
    for boxes in layouts:
        assert all(0 <= low < high <= 1 for box in boxes for low, high in box)
        for i, (x, y) in enumerate(boxes):
            assert not any(x[0] < u[1] and u[0] < x[1] and y[0] < v[1] and v[0] < y[1] for u, v in boxes[:i])
    assert ("first 50 of 63 features" in subtitle(fig)) == (count == 63)


@pytest.mark.parametrize(
    ("fig", "why"),
    [
        (training_history(((), ()), ((), ()), None, "mse"), "no epoch has a finite loss"),
        (training_history(((1,), (NAN,)), ((1,), (NAN,)), None, "mse"), "no epoch has a finite loss"),
        (prediction_vs_actual([], [], [], "return"), "no bar has both"),
        (prediction_vs_actual([1], [1.0], [NAN], "return"), "no bar has both"),
        (prediction_distribution([NAN], [1.0], "return"), "no finite values of actual"),
        (feature_importance([], [], []), "no feature has a finite importance"),
        (feature_importance(["a"], [NAN], [NAN]), "no feature has a finite importance"),
        (histogram_figure([]), "there are no features"),
    ],
)
def test_a_figure_with_nothing_to_draw_says_why(fig, why):
    assert not fig.data
    (text,) = texts(fig)
    assert text.startswith(f"Nothing to draw:<br>{why}") or why in text
    assert fig.layout.title.text


def test_a_long_subtitle_is_broken_for_narrow_screens_and_given_room():
    fig = panels(["a"], np.eye(3)[:, :1], np.eye(3)[:, :1])
    narrow = fig.layout.meta["narrow"]
    lines = narrow["title.subtitle.text"].split("<br>")
    assert len(lines) == 2
    assert max(map(len, lines)) <= 50
    assert narrow["margin.t"] > fig.layout.template.layout.margin.t


def test_forecasts_of_a_panel_are_drawn_over_time_as_means_or_as_spread_where_the_means_are_0():
    dates = np.repeat(pd.bdate_range("2020-01-01", periods=40), 3)
    names = np.tile(["A", "B", "C"], 40)
    actual, forecast = np.random.default_rng(0).normal(size=(2, 120))
    actual_line, forecast_line, dots, _ = prediction_vs_actual(dates, actual, forecast, "unit", names).data
    np.testing.assert_allclose(actual_line.y, actual.reshape(40, 3).mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(forecast_line.y, forecast.reshape(40, 3).mean(axis=1), rtol=1e-4)
    assert (len(actual_line.x), len(dots.x), dots.customdata[1]) == (40, 120, "2020-01-01 B")
    excess = actual - np.repeat(actual.reshape(40, 3).mean(axis=1), 3)
    spread = prediction_vs_actual(dates, excess, forecast, "unit", names)
    np.testing.assert_allclose(spread.data[0].y, excess.reshape(40, 3).std(axis=1), rtol=1e-4)
    many = prediction_vs_actual(np.repeat(dates, 50), *np.tile([actual, forecast], 50), "unit", np.tile(names, 50))
    drawn = pd.Series(many.data[2].customdata).str.split().str[1].value_counts()
    assert drawn.sum() == 3000 and drawn.min() > 900  # of each symbol alike
    assert "standard deviation of 3 symbols" in spread.layout.title.subtitle.text.replace("\u00a0", " ")
