"""Reports of runs that forecast directions: what takes no side there is a coin flip, not a forecast of zero."""

from dataclasses import replace

import pytest
from comparison_records import forecasts, made
from report_pages import blocks, rows_of, table_of
from study_records import random_trials, study

from tradingbot_exp.reporting.comparison.report import comparison_page
from tradingbot_exp.reporting.page.page import Block, Details, Figure
from tradingbot_exp.reporting.study.report import study_page
from tradingbot_exp.reporting.training.report import training_page

DIRECTION = {"data.target": "direction", "training.loss": "bce"}


def run(name="a", seed=1):
    table = forecasts(seed=seed)
    table = table.assign(actual=(table["actual"] > 0) * 1.0, forecast=0.5 + table["forecast"])
    record = made(name, table, DIRECTION)
    opening = made("opened", metrics={"test_zero_mse": 0.25, "test_mse": 0.26}).run
    return replace(record, openings=(opening,))


def searched(**params):
    record = study(random_trials(6))
    return replace(record, run=replace(record.run, params={**record.run.params, **params}))


def text_of(page):
    """Return all that a page says, its figures aside."""
    return " ".join(repr(block) for block in blocks(page, Block) if not isinstance(block, Figure | Details))


@pytest.mark.parametrize(
    ("page", "times"),
    [
        (lambda: training_page(run()), 3),  # the tile, the table, the test set
        (lambda: comparison_page([run(), run("b", 2)]), 4),  # the sentence, the tile, the tables
        (lambda: study_page(searched(**DIRECTION)), 2),  # the sentence, the tile
    ],
    ids=["training", "comparison", "study"],
)
def test_a_report_on_directions_speaks_of_a_coin_flip_and_of_no_zero_forecast(page, times):
    text = text_of(page())
    assert text.count("coin flip") >= times
    assert "zero forecast" not in text


def test_the_naive_forecast_of_directions_is_one_half_on_every_bar():
    page = training_page(run())
    table = table_of(page, anchor="quality")
    assert (table.columns[2].name, table.columns[2].hint) == ("coin flip", "0.5 for every bar")
    assert rows_of(table)["MAE"][1].sort == 0.5


def test_runs_of_both_kinds_are_told_of_both():
    text = text_of(comparison_page([run(), made("b", forecasts())]))
    assert "MSE of the coin flip or zero forecast" in text


def test_a_loss_that_was_searched_names_what_takes_no_side_in_the_winner():
    record = searched()
    loss = {"training.loss": "bce"}
    trials = tuple(replace(trial, params=trial.params | loss) for trial in record.trials)
    best = tuple(replace(trial, params=trial.params | loss) for trial in record.best)
    assert "coin flip" in text_of(study_page(replace(record, trials=trials, best=best)))
