"""Reports of runs that forecast directions: what takes no side there is a coin flip, not a forecast of zero."""

from dataclasses import replace

import pytest
from comparison_records import forecasts, made
from study_records import random_trials, study

from tradingbot_exp.reporting.comparison.report import comparison_page
from tradingbot_exp.reporting.page.page import Details, Figure, Table
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
    """Give all that a page says, its figures aside."""

    def walk(blocks):
        for block in blocks:
            if isinstance(block, Details):
                yield from walk(block.blocks)
            elif not isinstance(block, Figure):
                yield repr(block)

    return " ".join(part for section in page.sections for part in walk(section.blocks))


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
    (section,) = [section for section in page.sections if section.anchor == "quality"]
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert (table.columns[2].name, table.columns[2].hint) == ("coin flip", "0.5 for every bar")
    rows = {row[0].text: row for row in table.rows}
    assert rows["MAE"][2].sort == 0.5


def test_runs_of_both_kinds_are_told_of_both():
    text = text_of(comparison_page([run(), made("b", forecasts())]))
    assert "MSE of the coin flip or zero forecast" in text


def test_a_loss_that_was_searched_names_what_takes_no_side_in_the_winner():
    record = searched()
    loss = {"training.loss": "bce"}
    trials = tuple(replace(trial, params=trial.params | loss) for trial in record.trials)
    best = tuple(replace(trial, params=trial.params | loss) for trial in record.best)
    assert "coin flip" in text_of(study_page(replace(record, trials=trials, best=best)))
