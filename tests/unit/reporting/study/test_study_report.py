"""The study report as a page: its sections and sentences, for studies that went well and for those that did not."""

import json
import math
from dataclasses import replace
from datetime import timedelta

import pytest
from report_pages import anchors, blocks, facts_of, said, table_of, texts_of, tiles_of, titles

from tests.study_records import PARAMS, SPACE, START, TAGS, random_trials, study, trial
from tradingbot_exp.reporting.page.page import Code, Figure, Page, Table
from tradingbot_exp.reporting.study.curves import MAX_LINES, curves
from tradingbot_exp.reporting.study.history import history
from tradingbot_exp.reporting.study.numbers import study_of
from tradingbot_exp.reporting.study.parallel import parallel
from tradingbot_exp.reporting.study.report import study_page
from tradingbot_exp.reporting.study.space import slices
from tradingbot_exp.reporting.study.timing import durations, timeline
from tradingbot_exp.tracking.reading.run_record import Artifacts, Curve

HOSTILE = "<script>alert(1)</script>"


def rows(page, anchor="trials"):
    return texts_of(table_of(page, anchor=anchor))


@pytest.fixture(scope="module")
def page() -> Page:
    return study_page(study(random_trials(40), params=PARAMS | {"hpo.num_trials": "40"}))


def test_the_questions_are_answered_in_order(page):
    assert anchors(page) == [
        *("in-short", "verdict", "history", "curves", "importance", "space", "time", "trials", "searched", "again")
    ]
    assert titles(page) == [
        "val_loss of each trial",
        "Learning curves of all trials",
        "Which parameters matter",
        "Parameters and values of each trial",
        "val_loss against each parameter",
        "How flat it is around the winner",
        "When the trials ran",
        "How long the trials took",
    ]
    assert (page.kind, page.title) == ("Study report", "hpo-mlp-ibm-1234abcd")


def test_the_summary_sets_the_best_beside_the_naive_forecasts_and_warns_of_the_best_of_many(page):
    text = said(page, "in-short")
    assert "its squared error is 10.0 % below that of the zero forecast" in text
    assert "25.0 % below that of a linear model" in text
    assert "its Sharpe ratio after costs is 0.50, against 1.25 of buy and hold" in text
    assert "the more are tried, the more of the best value is luck" in text
    tiles = tiles_of(page)
    assert tiles["Trials"].value == "40 of 40"
    assert tiles["Trials"].context == "33 complete, 6 pruned, 1 failed"
    assert tiles["Its net Sharpe ratio"].context == "buy and hold: 1.25"
    more = study_page(study(random_trials(12), params=PARAMS | {"hpo.num_trials": "5"}))
    assert tiles_of(more)["Trials"].value == "12" and "12 complete of 5" not in said(more)
    equals = study_page(study([trial(i, 1.0) for i in range(4)]))
    assert "The second best, trial 1, is exactly as good." in said(equals)


def test_the_table_has_every_trial_with_what_the_record_says(page):
    table = blocks(page, Table, "trials")[0]
    assert table.sortable and table.filterable
    names = [column.name for column in table.columns]
    assert names == ["trial", "state", "val_loss", "learning_rate", "batch_size", "epochs", "took", "run", "note"]
    record = random_trials(40)
    assert len(table.rows) == 40
    for row, one in zip(table.rows, record, strict=True):
        assert row[0].sort == one.number
        assert row[1].text == one.state
        assert row[2].sort == (one.values[0] if one.values else None)
        assert row[3].sort == one.params["model.learning_rate"]
        assert row[5].sort == len(one.curve)
        assert one.run_id.startswith(row[7].text)
        assert row[8].text == (one.error or "")
        assert row[7].href is None
    best = [row for row in table.rows if row[0].text.startswith("★")]
    assert [row[2].sort for row in best] == [min(one.values[0] for one in record if one.values)]
    served = study_page(study(store="https://mlflow.example:5000/", params=PARAMS | {"tracking.uri": "sqlite:///x.db"}))
    link = table_of(served, anchor="trials").rows[0][7].href
    assert link == f"https://mlflow.example:5000/#/experiments/1/runs/{random_trials(1)[0].run_id}"


def test_history_shows_pruned_failed_and_repeated_trials_as_such():
    trials = [trial(0, 0.3), trial(1, state="pruned"), trial(2, 0.2), trial(3, 0.2, duplicate_of=2), trial(4, 0.4)]
    figure = history(study_of(study([*trials, trial(5, state="failed", error="E: no")])))
    found = {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}
    assert found == {
        "complete": ([0, 2, 4], [0.3, 0.2, 0.4]),
        "complete, a known point again": ([3], [0.2]),
        "best so far": ([0, 2, 4], [0.3, 0.2, 0.2]),
        "pruned": ([1], [0]),
        "failed": ([5], [1]),
    }
    assert figure.data[-1].customdata[0] == "failed after 10\u00a0epochs, validation loss 0.22, E: no"
    rising = [trial(i, value) for i, value in enumerate((-1e9, 5.0, 2.0))]
    figure = history(study_of(study(rising, metrics=("val_sharpe",), directions=("maximize",))))
    assert list(figure.data[1].y) == [-1e9, 5.0, 5.0]
    assert "higher is better" in figure.layout.title.subtitle.text


def test_learning_curves_are_one_trace_a_state_with_the_best_drawn_out_and_pruned_ones_ending_early():
    trials = [
        trial(0, 0.3, epochs=3),
        trial(1, state="pruned", epochs=2),
        trial(2, 0.2, epochs=3),
        trial(3, 0.4, epochs=3),
    ]
    figure = curves(study_of(study(trials)))
    found = {trace.name: list(trace.x) for trace in figure.data}
    assert found == {"complete": [1, 2, 3, None, 1, 2, 3], "pruned": [1, 2], "trial 2, the best": [1, 2, 3]}
    assert figure.data[0].customdata[0] == 0
    broken = trial(1, state="failed", curve=Curve((1, 2, 3), (0.3, math.nan, math.inf)))
    figure = curves(study_of(study([trial(0, 0.2), broken])))
    assert list(figure.data[0].y) == [0.3, None, None]
    assert "1\u00a0curve with losses that are not finite" in figure.layout.title.subtitle.text


def test_slices_and_parallel_lines_leave_out_what_has_no_value():
    found = study_of(study(random_trials(20)))
    figure = slices(found, found.axes)
    assert "4 without a value left out" in figure.layout.title.subtitle.text
    assert len(figure.data[0].x) == len(found.complete) == 16
    assert figure.layout.xaxis2.ticktext == ("16", "32", "64")
    lines = parallel(found, found.axes)
    assert lines.layout.xaxis.ticktext == ("<b>learning_rate</b>", "<b>batch_size</b>", "<b>val_loss</b>")
    assert sum(trace.y.count(None) + 1 for trace in lines.data) == 16
    best = next(trace for trace in lines.data if "the best" in trace.name)
    assert best.y[-1] == 1.0  # the better end is up


def test_time_is_drawn_from_start_to_end_and_counted():
    found = study_of(study([trial(0, 0.1), trial(1, state="pruned", epochs=4), trial(2, state="running")]))
    figure = timeline(found)
    assert list(figure.data[0].x)[:2] == [0, 1.5]
    assert [trace.name for trace in figure.data] == ["complete", "pruned", "running"]
    counted = durations(found)
    assert [sum(trace.y) for trace in counted.data] == [1, 1]
    assert "Pruning saved 6 epochs of 1 trial." in said(study_page(study(found.trials)), "time")


def test_a_study_of_one_trial_says_what_one_trial_cannot_tell():
    page = study_page(study([trial(0, 0.1)]))
    assert "Trial 0 has the lowest val_loss of 1 complete trial" in said(page, "in-short")
    assert "it takes 10 different complete trials, and there is 1" in said(page, "importance")
    assert "It takes two complete trials" in said(page, "space")
    assert "the more are tried" not in said(page)


def test_a_study_without_a_trial_is_a_report_all_the_same():
    page = study_page(study([], status="RUNNING", ended=None))
    assert anchors(page) == ["in-short", "importance", "searched", "again"]
    assert "still running: 0 of 12 trials are over" in said(page)
    assert "No trial is on record." in said(page)


def test_a_running_study_without_a_finished_trial_says_so():
    page = study_page(
        study([trial(0, state="running", epochs=2), trial(1, state="running", epochs=0)], status="RUNNING", ended=None)
    )
    text = said(page)
    assert "This study is still running: 0 of 12 trials are over" in text
    assert "so there is no best one yet" in text
    assert "No trial has a value" in said(page, "history")
    assert titles(page, "curves") == ["Learning curves of all trials"]
    assert "there are no durations" in said(page, "time")
    assert [row[1] for row in rows(page)] == ["running", "running"]


@pytest.mark.parametrize("state", ["failed", "pruned", "interrupted"])
def test_a_study_in_which_no_trial_is_complete_shows_how_they_ended(state):
    error = "TrainingError: the loss is not finite" if state == "failed" else None
    page = study_page(study([trial(i, state=state, error=error) for i in range(3)]))
    assert "No trial is complete." in said(page, "in-short")
    assert ("3 trials failed: TrainingError: the loss is not finite (3×)" in said(page)) is (state == "failed")
    assert {row[1] for row in rows(page)} == {state}
    assert "To train the winner by itself" not in [block.label for block in blocks(page, Code)]


def test_a_study_that_gave_up_says_why_with_its_traceback():
    tags = TAGS | {"error": "TrainingError: gave up", "study.stopped_early": "7 of 8 trials failed"}
    page = study_page(study(status="FAILED", tags=tags, artifacts=Artifacts(traceback="Traceback: deep")))
    assert "This study failed: 12 of 12 trials are over. TrainingError: gave up" in said(page)
    assert "It stopped early: 7 of 8 trials failed." in said(page)
    assert "Traceback: deep" in said(page)
    page = study_page(study(kind="null_study"))
    assert page.kind == "Null study report"
    assert "permuted targets, where there is nothing to find" in said(page)


def test_attempts_at_one_trial_repeated_points_and_values_that_are_none_are_said():
    again = [
        trial(0, state="interrupted", run_id="a" * 32),
        trial(0, 0.2, run_id="b" * 32, started=START + timedelta(seconds=60)),
        trial(1, 0.2, duplicate_of=0, epochs=10),
    ]
    page = study_page(study([*again, trial(2, math.nan)]))
    notes = ["attempt 1", "attempt 2", "same point as trial 0, whose result it took", ""]
    assert [row[-1] for row in rows(page)] == notes
    assert "1 complete trial without a finite value of the objective left out" in said(page)
    assert "has the lowest val_loss of 2 complete trials" in said(page) and rows(page)[3][2] == "–"
    assert "1 trial attempted more than once" in said(page)
    assert "1 trial came to a point that had been tried before" in said(page)


def test_several_objectives_have_a_front_and_no_single_winner():
    trials = [trial(i, (0.01 * (i % 7), 1e-4 * (1 + (i * 5) % 11))) for i in range(20)]
    page = study_page(study(trials, metrics=("val_ic", "val_mse"), directions=("maximize", "minimize")))
    assert titles(page, "front") == ["val_ic against val_mse"]
    front = [row[0] for row in rows(page, "front")]
    assert front == [
        str(one.number)
        for one in study_of(study(trials, metrics=("val_ic", "val_mse"), directions=("maximize", "minimize"))).best
    ]
    assert {row[0].removeprefix("★ ") for row in rows(page) if row[0].startswith("★")} == set(front)
    assert "no single winner" in said(page, "space")
    assert titles(page, "history") == ["val_ic of each trial", "val_mse of each trial"]
    assert "on the Pareto front" in said(page, "in-short")
    trials = [trial(i, (i, -i, (i * 7) % 5)) for i in range(8)]
    page = study_page(study(trials, metrics=("a", "b", "c"), directions=("minimize",) * 3))
    assert titles(page, "front") == ["a against b", "a against c", "b against c"]


def test_a_plain_sweep_of_another_app_is_reported_by_what_its_jobs_returned():
    jobs = [
        trial(-1, params={"x": x}, metrics={"objective": x * x}, run_id=f"id{x}", curve=Curve(), epochs=0)
        for x in (3, -1, 2)
    ]
    page = study_page(
        study(jobs, {}, kind="sweep", params={}, tags={"sweep.overrides": "x=3,-1,2"}, artifacts=Artifacts())
    )
    assert page.kind == "Sweep report"
    assert "Trial 1 has the lowest objective of 3 complete trials: 1, with x -1." in said(page)
    assert "is not on record: here low is taken to be better" in said(page)
    assert blocks(page, Table, "searched")[0].caption == "What the trials differ in: 3\u00a0points"
    assert "x=3,-1,2" in [block.text for block in blocks(page, Code)]
    assert facts_of(page)["Commit"].text == "not recorded"  # and not that there was no work tree


def test_markup_in_names_values_and_errors_stays_text():
    space = {"model.kind": {"choices": [HOSTILE, "b"]}, f"model.{HOSTILE}": {"low": 0.0, "high": 1.0, "log": False}}
    params = [{"model.kind": (HOSTILE, "b")[i % 2], f"model.{HOSTILE}": i / 12} for i in range(12)]
    trials = [trial(i, float(i), params=each) for i, each in enumerate(params)]
    trials.append(trial(12, state="failed", params=params[0], error=HOSTILE))
    trials.append(trial(13, state=HOSTILE, params=params[0]))
    page = study_page(
        study(trials, space, metrics=(HOSTILE,), name=HOSTILE, params=PARAMS | {"training.loss": HOSTILE})
    )
    figures = blocks(page, Figure)
    assert len(figures) == 8
    for block in figures:
        text = json.dumps(block.figure.to_dict(), default=str)
        assert "<script" not in text
    assert HOSTILE in said(page)


def test_choices_of_lists_are_named_and_drawn():
    space = {"model.hidden_layers": {"choices": [[64, 32], [128]]}, "model.fixed": {"choices": [3]}}
    texts = ["[64, 32]", "[128]"]
    trials = [trial(i, i / 10 + 1, params={"model.hidden_layers": texts[i % 2], "model.fixed": 3}) for i in range(6)]
    page = study_page(study(trials, space))
    assert "with hidden_layers 64, 32 and fixed 3" in said(page)
    (figure,) = (
        each.figure for each in blocks(page, Figure, "space") if "against each" in each.figure.layout.title.text
    )
    assert figure.layout.xaxis.ticktext == ("64, 32", "128")
    assert "yaxis2" not in figure.layout.to_plotly_json()  # a parameter of one value is not drawn
    assert "'model.hidden_layers=[64,32]' model.fixed=3" in said(page, "in-short")


def test_huge_and_negative_values_keep_the_axis_readable():
    values = [-3.0, -2.0, -2.5, -1.0, -2.2, 1e15, -2.1, -2.3, -2.4, -2.6]
    page = study_page(study([trial(i, value) for i, value in enumerate(values)]))
    axis = blocks(page, Figure, "history")[0].figure.layout.yaxis
    assert axis.range[1] < 0
    assert "1\u00a0value off the scale" in blocks(page, Figure, "history")[0].figure.layout.title.subtitle.text


def test_the_search_and_how_to_repeat_it_are_described(page):
    assert [row[:2] for row in rows(page, "searched")] == [
        ["model.learning_rate", "0.0001 to 0.01, evenly on a log scale"],
        ["training.batch_size", "one of 16; 32; 64"],
    ]
    facts = facts_of(page, "searched")
    found = [facts[name].text for name in ("Metric", "Sampler", "Pruner", "At once")]
    assert found == ["val_loss, minimize", "tpe", "median", "5"]
    assert "python -m tradingbot_exp.train --multirun hpo.num_trials=12" in said(page, "again")
    assert "first training run" not in said(page)


def test_a_thousand_trials_stay_few_lines_and_small_figures():
    space = SPACE | {"training.weight_decay": {"low": 1e-7, "high": 1e-2, "log": True, "step": None}}
    trials = random_trials(1000, 50, space=space)
    page = study_page(study(trials, space))
    figures = [block.figure for block in blocks(page, Figure)]
    assert sum(len(figure.to_json(validate=False)) for figure in figures) < 1e6
    assert max(len(figure.data) for figure in figures) <= 8
    drawn = sum(trace.x.count(None) + 1 for trace in figures[1].data)
    assert drawn <= MAX_LINES + 1
    assert len(rows(page)) == 1000


def test_a_record_of_trials_that_differ_in_nothing_has_no_space_to_draw():
    page = study_page(study([replace(trial(i, 0.1 + i), params={}) for i in range(3)], {}, kind="sweep"))
    assert "do not differ in any parameter" in said(page, "space")
    assert "importance" not in anchors(page)


def test_durations_in_words_and_in_the_figure_have_one_median():
    record = study([trial(i, 1.0 + i, seconds=seconds) for i, seconds in enumerate((1.0, 2.0, 4.0, 9.0))])
    assert "Half of the trials took at most 3.0 s, all of them 1.0 s to 9.0 s" in said(study_page(record))
    assert "half of them at most 3.0\u00a0s" in durations(study_of(record)).layout.title.subtitle.text
    figure = durations(study_of(study([trial(i, 1.0 + i, seconds=1.5) for i in range(6)])))
    place = next(x for bar in figure.data for x, y in zip(bar.x, bar.y, strict=True) if y)
    assert place == pytest.approx(figure.layout.xaxis.range[1] / 2, rel=0.01)  # equal ones stand in the middle
