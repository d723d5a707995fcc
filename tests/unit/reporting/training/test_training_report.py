"""The training report: its sections and cells, that its numbers are MLflow's, and what it says of those missing."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_pages import blocks, facts_of, rows_of, said, table_of, titles

from tradingbot_exp.data.panel import Layout
from tradingbot_exp.evaluation.metrics.evaluate import validation_metrics
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.plots.feature_distributions import feature_histograms, histograms_record
from tradingbot_exp.reporting.page.page import Code, Facts, Figure, Notice, Paragraph, Table, Tiles
from tradingbot_exp.reporting.training.quality import Headline, reading_of, tiles_of
from tradingbot_exp.reporting.training.report import training_page
from tradingbot_exp.tracking.reading.fetch import training_record
from tradingbot_exp.tracking.reading.openings import Opening
from tradingbot_exp.tracking.reading.records import TrainingRecord
from tradingbot_exp.tracking.reading.run_record import Artifacts, Curve
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.store import open_store

NAN, INF = float("nan"), float("inf")
FIGURES = [
    "Training history",
    "Forecast against actual",
    "Distribution of actuals and forecasts",
    "Rolling IC: does the forecast keep its skill?",
    "Forecast deciles: what came after low and high forecasts",
    "Equity curve: what 1 became",
    "Rolling Sharpe ratio: did it earn all along?",
    "Net return by month",
    "Transaction costs: how much can it bear?",
    "Feature importance",
    "Feature distributions",
]


@pytest.fixture
def record(make_run):
    """A finished run on 300 bars whose metrics are those of its forecasts."""
    rng = np.random.default_rng(0)
    actual, forecast = rng.normal(0, 0.01, 300), rng.normal(0, 0.002, 300)
    rules, layout = Rules(periods=252.0), Layout.of_one(len(actual))
    judged = validation_metrics(actual, forecast, actual, 0.0, rules, layout=layout)
    linear = {"linear_mse": 9.9e-5, "linear_ic": 0.05, "linear_sharpe": 0.4, "train_mean_mse": 1.01e-4}
    metrics = {f"val_{name}": value for name, value in (judged.metrics | linear).items()}
    predictions = pd.DataFrame(
        {
            "date": pd.bdate_range("2010-01-01", periods=300),
            "actual": actual,
            "forecast": forecast,
            "position": judged.position,
            "next_log_return": actual,
        }
    )
    params = {"data.source": "bundled", "data.target": "return", "training.loss": "mse", "training.epochs": "3"}
    steps = (1, 2, 3)
    curves = {"train_loss": Curve(steps, (0.3, 0.2, 0.1)), "val_loss": Curve(steps, (0.4, 0.25, 0.3))}
    features = rng.normal(size=(50, 2))
    artifacts = Artifacts(
        predictions=predictions,
        overrides=("training.epochs=3",),
        importance=pd.DataFrame({"feature": ["a", "b"], "mean": [1e-5, 1e-6], "std": [1e-6, 1e-6]}),
        histograms=histograms_record(feature_histograms(["a", "b"], features, features + 1)),
    )
    run = make_run(
        params=params, metrics=metrics | {"final_loss": 0.3}, curves=curves, tags={"desk": "<script>x</script>"}
    )
    return TrainingRecord(run, artifacts)


def changed(record, **run):
    return replace(record, run=replace(record.run, **run))


def test_a_finished_run_answers_every_question_in_order(record):
    page = training_page(record)
    assert [section.title for section in page.sections] == [
        "Run: what was run",
        "Training: how it went",
        "Validation: how good it is",
        "Features: why it forecasts as it does",
        "Reproduction: how to get it again",
        "Test set",
    ]
    assert titles(page) == FIGURES
    assert page.title == record.run.name
    assert page.kind == "Training report"
    assert len({section.anchor for section in page.sections}) == 6
    assert facts_of(page, "run")["Tags"].text == "desk: <script>x</script>"  # for the template to escape
    rows = rows_of(table_of(page, "as MLflow has them"))
    assert {name: cells[0].sort for name, cells in rows.items()} == record.run.metrics


def test_the_table_holds_the_run_s_metrics_and_its_rivals(record):
    rows, metrics = rows_of(table_of(training_page(record), "beside naive rivals")), record.run.metrics
    assert [cell.sort for cell in rows["MSE"][:-1]] == [
        metrics["val_mse"],
        metrics["val_zero_mse"],
        metrics["val_train_mean_mse"],
        metrics["val_linear_mse"],
        None,
    ]
    for label, name in (("IC", "val_ic"), ("hit rate", "val_hit_rate"), ("maximum drawdown", "val_max_drawdown")):
        assert rows[label][0].sort == metrics[name]
    assert rows["Sharpe ratio, net"][0].sort == metrics["val_sharpe"]
    assert rows["Sharpe ratio, net"][4].sort == metrics["val_buy_hold_sharpe"]
    actual = record.artifacts.predictions["actual"]
    assert rows["MAE"][1].sort == pytest.approx(np.abs(actual).mean())
    assert rows["hit rate"][4].sort == pytest.approx((actual > 0).mean())
    assert rows["R² against the train mean"][2].sort == 0
    growth = np.exp(actual.cumsum())
    fall = (growth / np.maximum.accumulate(np.maximum(growth, 1))).min() - 1
    assert rows["maximum drawdown"][4].sort == pytest.approx(fall)


def test_the_best_of_each_row_is_marked(record):
    rows = rows_of(table_of(training_page(record), "beside naive rivals"))
    for label, cells in rows.items():
        there = [cell.sort for cell in cells if cell.sort is not None]
        best = {"MSE": min, "MAE": min}.get(label, max)(there)
        marked = [cell.text for cell in cells if cell.tone == "good"]
        # Neither way is better; there is no rival; both lose.
        wanted = label not in (
            "turnover a bar",
            "rank IC",
            "Sortino ratio, net",
            "alpha a year, net",
            "beta to buy and hold",
        )
        assert bool(marked) == wanted, label
        assert all(text == next(cell.text for cell in cells if cell.sort == best) for text in marked)


def test_intervals_on_record_stand_beside_their_metric(record):
    ends = {"val_sharpe_low": -1.25, "val_sharpe_high": 2.5, "val_alpha_low": -0.1, "val_alpha_high": 0.3}
    page = training_page(changed(record, metrics=record.run.metrics | ends))
    rows = rows_of(table_of(page, "beside naive rivals"))
    assert rows["Sharpe ratio, net"][-1].text == "−1.25 to 2.50"
    assert rows["alpha a year, net"][-1].text == "−10.0\u00a0% to 30.0\u00a0%"
    assert rows["MSE"][-1].text == ""


def test_the_best_of_what_has_no_skill_gets_no_star(record):
    worthless = {"val_ic": -0.058, "val_linear_ic": -0.1, "val_sharpe": -0.1, "val_linear_sharpe": -0.2}
    page = training_page(changed(record, metrics=record.run.metrics | worthless | {"val_buy_hold_sharpe": -0.3}))
    rows = rows_of(table_of(page, "beside naive rivals"))
    assert not any("★" in cell.text for label in ("IC", "Sharpe ratio, net") for cell in rows[label])
    assert any("★" in cell.text for cell in rows["MSE"])


def test_best_epoch_and_early_stop_are_told(record):
    record = changed(record, params={**record.run.params, "training.epochs": "9", "training.early_stopping": "1"})
    facts = facts_of(training_page(record), "training")
    assert [facts[name].text for name in ("Epochs", "Best epoch", "Best validation loss")] == ["3 of 9", "2", "0.25"]
    assert facts["Early stop"].text.endswith("without a better validation loss: stopped at epoch 3")
    page = training_page(changed(record, kind="trial", tags={"trial.state": "pruned"}))
    stop = facts_of(page, "training")["Early stop"].text
    assert stop.endswith("not what ended it: the study pruned this trial after epoch 3")
    assert dict(page.facts)["Status"].text == "pruned by its study"


def test_a_learning_rate_that_changes_is_drawn_and_one_that_does_not_is_told(record):
    rates = Curve((1, 2, 3), (0.01, 0.005, 0.001))
    page = training_page(changed(record, curves={**record.run.curves, "learning_rate": rates}))
    assert titles(page)[1] == "Learning rate"
    record = changed(record, params={**record.run.params, "training.learning_rate": "0.001"})
    assert facts_of(training_page(record), "training")["Learning rate"].text == "0.001 throughout"


def test_a_run_that_failed_at_epoch_three_shows_its_error_and_what_there_was(record):
    failed = changed(
        record,
        status="FAILED",
        metrics={},
        tags={"error": "DivergedError: train_loss is nan"},
        params={"training.epochs": "50"},
        curves={"train_loss": Curve((1, 2, 3), (0.3, 0.2, NAN)), "val_loss": Curve((1, 2, 3), (0.4, 0.3, NAN))},
    )
    page = training_page(
        replace(failed, artifacts=Artifacts(traceback="Traceback …\nDivergedError: train_loss is nan"))
    )
    first = page.sections[0].blocks[0]
    assert (first.tone, first.text) == (
        "bad",
        "This run failed at epoch 3 of 50: DivergedError: train_loss is nan",
    )
    assert "Traceback" in blocks(page, Code, "run")[0].text
    assert titles(page) == ["Training history"]
    assert "No metrics are on record" in said(page)
    running = changed(record, status="RUNNING", ended=None, metrics={"train_loss": 0.1, "val_loss": 0.3})
    page = training_page(replace(running, artifacts=Artifacts()))
    assert dict(page.facts)["Status"].text == "running"
    assert "still running" in page.sections[0].blocks[0].text
    assert titles(page) == ["Training history"]


def test_a_run_of_something_else_shows_what_is_there(make_run):
    page = training_page(TrainingRecord(make_run(kind="", metrics={"accuracy": 0.5}), Artifacts()))
    assert "Something else than tradingbot_exp" in said(page)
    assert rows_of(table_of(page, "as MLflow has them"))["accuracy"][0].sort == 0.5
    assert titles(page) == []
    assert not blocks(page, Tiles)
    page = training_page(TrainingRecord(make_run(kind="", params={}), Artifacts()))
    assert len(page.sections) == 6
    assert "No losses are on record" in said(page)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_metrics_that_are_not_finite_are_words_and_no_tile(record, value):
    metrics = dict.fromkeys(record.run.metrics, value)
    page = training_page(changed(record, metrics=metrics, tags={"undefined.val_sharpe": "not defined, because so"}))
    assert not blocks(page, Tiles) or len(blocks(page, Tiles)[0].tiles) == 1  # the break-even cost is no metric
    assert "val_sharpe is not defined, because so." in said(page)
    assert titles(page) == FIGURES


@pytest.mark.parametrize(
    "predictions",
    [
        pd.DataFrame({"date": [], "actual": [], "forecast": [], "next_log_return": []}),
        pd.DataFrame({"actual": [0.1], "forecast": [0.2], "next_log_return": [0.1]}),
        pd.DataFrame({"actual": ["a"] * 40, "forecast": ["b"] * 40, "next_log_return": ["c"] * 40}),
        pd.DataFrame({"actual": np.ones(40), "forecast": np.zeros(40), "next_log_return": np.zeros(40)}),
        pd.DataFrame({"actual": np.ones(40), "forecast": np.ones(40), "next_log_return": np.full(40, 800.0)}),
        pd.DataFrame({"something": [1]}),
    ],
    ids=["empty", "one", "text", "constant", "infinite", "foreign"],
)
def test_odd_predictions_make_a_report_too(record, predictions):
    page = training_page(replace(record, artifacts=replace(record.artifacts, predictions=predictions)))
    assert page.sections[2].blocks
    if "actual" in predictions:
        bare = predictions.drop(columns="next_log_return")
        page = training_page(replace(record, artifacts=replace(record.artifacts, predictions=bare)))
        assert "no backtest" in said(page) and "Equity curve: what 1 became" not in titles(page)
        assert "Forecast against actual" in titles(page)


@pytest.mark.parametrize(
    "histograms",
    [None, [], [{"odd": 1}], "text", [3], [{"name": 1, "edges": ["a", 2], "train": [1], "val": [1], "ks": 0}]],
)
def test_histograms_that_are_missing_or_odd_are_no_failure(record, histograms):
    page = training_page(replace(record, artifacts=replace(record.artifacts, histograms=histograms)))
    assert blocks(page, Figure, "why")


def test_a_sealed_test_set_is_said_to_be_and_an_opened_one_shows_each_time(record, make_run):
    sealed = training_page(record)
    assert "Sealed, never opened" in said(sealed, "test")
    openings = tuple(
        make_run(kind="test_evaluation", metrics={"test_mse": mse, "test_ic": 0.1}) for mse in (1e-4, 2e-4)
    )
    page = training_page(replace(record, openings=openings))
    assert blocks(page, Paragraph, "test")[0].text == "Opened 2 times."
    assert "Only the first opening" in blocks(page, Notice, "test")[0].text
    (table,) = blocks(page, Table, "test")
    assert [cell.sort for cell in rows_of(table)["MSE"]] == [record.run.metrics["val_mse"], 1e-4, 2e-4]
    once = training_page(replace(record, openings=openings[:1]))
    assert blocks(once, Paragraph, "test")[0].text == "Opened once."
    assert not blocks(once, Notice, "test")


def other_opening(run_id="9" * 32):
    times = ("2011-01-01T00:00:00", "2013-03-01T00:00:00")
    return Opening("e" * 32, run_id, "ann", "2026-11-24T10:00:00", *times, "IBM", "f" * 32)


@pytest.mark.parametrize(
    ("fields", "tags", "words", "tone"),
    [
        (
            {"others_opened": (other_opening(), other_opening())},
            {},
            f"opened 2 times for other runs ({'9' * 32}), last on 2026-11-24T10:00 by ann",
            "warning",
        ),
        ({}, {"test.overlap": "IBM 2011 to 2013, opened 1 time"}, "IBM 2011 to 2013, opened 1 time.", "warning"),
        ({"others_opened": None}, {}, "whether the same bars were opened for others is unknown", None),
        ({}, {"evaluated.run_id": "abc"}, "itself an opening of the test set, for the run abc", None),
    ],
    ids=["others", "overlap", "unknown", "an opening"],
)
def test_a_test_set_that_somebody_may_have_seen_is_not_called_sealed(record, fields, tags, words, tone):
    page = training_page(replace(changed(record, tags=tags), **fields))
    assert words in said(page, "test") and "Sealed" not in said(page)
    assert [notice.tone for notice in blocks(page, Notice, "test")] == ([tone] if tone else [])


def headline(**given):
    usual = {"bars": 400, "mse": 1e-4, "zero": 1.1e-4, "linear": 1.2e-4, "ic": 0.2, "luck": 0.098, "sharpe": 2.0}
    rest = {"low": 0.5, "high": 3.5, "hold": 1.0, "per": "a year", "cost": 5.0, "break_even": 9.0}
    return Headline(**{**usual, **rest, **given})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ("9.1 % less than the zero forecast", "more than luck gives", "above the 1.00", "beats its naive rivals")),
        ({"ic": 0.05}, ("no more than luck gives", "The evidence is mixed")),
        ({"linear": 0.9e-4}, ("more than a linear model of the same inputs", "The evidence is mixed")),
        ({"mean": 0.98e-4}, ("more than the mean of the train targets", "The evidence is mixed")),
        ({"linear": 0.9e-4, "mean": 0.9e-4}, ("inputs and the mean of", "The evidence is mixed")),
        ({"linear_sharpe": 3.0}, ("above the 1.00 of buy and hold, but below the 3.00 of the linear", "is mixed")),
        ({"linear_sharpe": 1.2, "mean": 1.05e-4}, ("beats its naive rivals",)),
        ({"mse": 2e-4, "ic": -0.2, "sharpe": -1.0}, ("more than", "wrong side up", "below", "Nothing here speaks")),
        ({"sharpe": -1.0, "hold": -2.0, "ic": 0.0, "mse": 2e-4}, ("above the −2.00", "Nothing here speaks")),
    ],
)
def test_the_reading_is_no_better_than_the_numbers(given, words):
    sentence = reading_of(headline(**given)).replace("\u00a0", " ")
    assert sentence.startswith("On 400 validation bars, ")
    for word in words:
        assert word in sentence
    assert reading_of(headline(mse=NAN, ic=NAN, sharpe=NAN)) == ""


def test_of_a_real_run_the_report_s_numbers_are_those_in_mlflow(default_run):
    store = open_store(f"sqlite:///{default_run.cwd / 'mlflow.db'}")
    record = training_record(store, find_run(store, "latest"))
    page = training_page(record)
    metrics = default_run.run.data.metrics
    assert titles(page) == FIGURES
    rows = rows_of(table_of(page, "beside naive rivals"))
    assert rows["Sharpe ratio, net"][0].sort == metrics["val_sharpe"]
    assert [cell.sort for cell in rows["MSE"]][:4] == [
        metrics[f"val_{name}"] for name in ("mse", "zero_mse", "train_mean_mse", "linear_mse")
    ]
    drawn = {block.figure.layout.title.text: block.figure for block in blocks(page, Figure)}
    (fall,) = [trace for trace in drawn["Equity curve: what 1 became"].data if trace.name == "net, fall"]
    assert min(fall.y) == pytest.approx(100 * metrics["val_max_drawdown"], rel=1e-3)
    costs = drawn["Transaction costs: how much can it bear?"].data
    (charged,) = [trace for trace in costs if trace.name == "as charged"]
    assert charged.x == (5.0,)
    assert charged.y[0] == pytest.approx(metrics["val_sharpe"], rel=1e-4)
    (hold,) = [trace for trace in costs if trace.name == "buy and hold"]
    assert hold.y[0] == pytest.approx(metrics["val_buy_hold_sharpe"], rel=1e-4)
    assert f"correlation {metrics['val_ic']:.3f}" in drawn["Forecast against actual"].layout.title.subtitle.text
    assert rows["R² against the train mean"][0].sort == metrics["val_r2"]
    assert math.isclose(metrics["val_r2"], 1 - metrics["val_mse"] / metrics["val_train_mean_mse"])
    importance = pd.read_csv(default_run.artifacts() / "evaluation" / "feature_importance.csv")
    assert list(importance.columns) == ["feature", "mean", "std"]
    assert max(drawn["Feature importance"].data[0].x) == pytest.approx(importance["mean"].max(), rel=1e-4)
    histograms = json.loads((default_run.artifacts() / "data" / "feature_histograms.json").read_text())
    assert [each["name"] for each in histograms] == list(importance["feature"])


def test_of_a_run_of_something_else_nothing_is_claimed_that_nobody_knows(make_run):
    run = make_run(
        kind="",
        tags={"mlflow.source.git.commit": "abc"},
        curves={"val_loss": Curve((0, 1), (0.2, 0.1))},
        metrics={"val_loss": 0.1},
    )
    page = training_page(TrainingRecord(run, Artifacts()))
    facts = {name: cell.text for block in blocks(page, Facts) for name, cell in block.facts}
    assert facts["Patch"] == "not recorded" and "Early stop" not in facts
    assert "Whether the numbers of this run have seen test bars is not on record." in said(page)
    code = " ".join(block.text for block in blocks(page, Code))
    assert "evaluate" not in code and "reproduce" not in code
    assert "Sealed" not in said(page) and "first training run" not in said(page)


def test_an_opening_and_an_unfinished_run_are_not_called_sealed_with_a_command_that_would_fail(record):
    opening = training_page(changed(record, kind="test_evaluation", tags={"evaluated.run_id": "abc"}))
    assert "This run is itself an opening of the test set, for the run abc." in said(opening) and "Sealed" not in said(
        opening
    )
    for page in (
        training_page(changed(record, status="FAILED")),
        training_page(replace(record, artifacts=replace(record.artifacts, predictions=None))),
    ):
        assert "Sealed" in said(page)
        assert not any("evaluate" in block.text for block in blocks(page, Code))


def test_early_stopping_is_called_needless_only_of_a_run_that_went_to_its_end(record):
    params = {**record.run.params, "training.early_stopping": "2"}
    told = {}
    for status in ("FINISHED", "KILLED"):
        page = training_page(changed(record, params=params, status=status))
        (told[status],) = [c.text for block in blocks(page, Facts) for n, c in block.facts if n == "Early stop"]
    assert told["FINISHED"].endswith("not needed") and told["KILLED"].endswith("a better validation loss")


def test_directions_are_measured_against_a_coin_flip_in_the_table_too(record):
    params = {**record.run.params, "data.target": "direction", "training.loss": "bce"}
    columns = table_of(training_page(changed(record, params=params)), "naive rivals").columns
    assert (columns[2].name, columns[2].hint) == ("coin flip", "0.5 for every bar")


def test_a_mean_over_folds_is_not_called_the_correlation_of_what_is_drawn(record):
    folds = {"fold_1_val_ic": 0.1, "fold_2_val_ic": -0.3}
    page = training_page(changed(record, metrics={**record.run.metrics, "val_ic": -0.1, **folds}))
    (caption,) = [block.description for block in blocks(page, Figure) if "over time" in block.description]
    assert "−0.1" not in caption


def test_dates_that_were_a_test_set_before_are_said_beside_the_numbers(record):
    page = training_page(changed(record, tags={"test.overlap": "IBM 2010 to 2011, opened 2 times"}))
    assert "IBM 2010 to 2011, opened 2 times" in said(page)


@pytest.mark.parametrize(
    ("params", "returns"),
    [
        ({"data.horizon": "0.5"}, 0.01),
        ({"evaluation.periods_per_year": "-5"}, 0.01),
        ({}, 900.0),
        ({"training.epochs": "²"}, 0.0),
    ],
)
def test_impossible_params_and_returns_are_no_failure(record, params, returns):
    table = record.artifacts.predictions.copy()
    table.loc[3, "next_log_return"] = returns
    odd = replace(
        changed(record, params={**record.run.params, **params, "training.early_stopping": "2"}),
        artifacts=replace(record.artifacts, predictions=table, card={"split": {"val": {"rows": INF}}}),
    )
    assert "Equity curve: what 1 became" in titles(training_page(odd))


def test_an_error_that_is_the_rival_s_is_neither_more_nor_less():
    even = headline(mse=1e-4, zero=1e-4, linear=NAN, ic=NAN, sharpe=NAN)
    assert reading_of(even).endswith("it errs as much as the zero forecast. Nothing here speaks for an edge.")
    assert tiles_of(even).tiles[0].value == "the same"
