"""`evaluate`: the test set opened for a run or a study, judged as validation was, recorded, counted, and refused."""

from __future__ import annotations

import json
import logging
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from sklearn.linear_model import LinearRegression
from support import Finished, artifact_folder, clean_environment, in_ci, python
from support import train as train_command

from tradingbot_exp import load_run, run_hpo_study, train
from tradingbot_exp.cli import main as cli
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.schema import DataConfig, SyntheticConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.data.features import FEATURES, feature
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.data.synthetic import synthetic_bars
from tradingbot_exp.errors import DataError, RunError
from tradingbot_exp.hpo.runner import Runner
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.recorded.evaluate import _judge, open_test_set
from tradingbot_exp.recorded.result import Opened, as_table
from tradingbot_exp.terminal.summary import metric_lines
from tradingbot_exp.tracking.reading.fetch import training_record
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.store import Store, open_store
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

QUICK = ["training.epochs=1", "training.progress=off", "tracking.report=false"]


@pytest.fixture(scope="module")
def folder(default_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the default run's folder, which is written to, as the current directory."""
    place = tmp_path_factory.mktemp("opening") / "copy"
    shutil.copytree(default_run.cwd, place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield place


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return open_store(folder)


@pytest.fixture(scope="module")
def opened(default_run: Finished, folder: Path) -> Opened:
    """The default run's test set, opened for the first time."""
    return open_test_set(default_run.run.info.run_id[:12], folder)


def evaluations(store: Store) -> list[Run]:
    found = store.client.search_runs(list(store.experiments()), "tags.`run.kind` = 'test_evaluation'")
    return list(reversed(found))


def test_the_metrics_are_those_of_the_logged_models_forecasts_of_the_test_rows(opened: Opened, store: Store) -> None:
    data = prepare_data(DataConfig())
    model = mlflow.pyfunc.load_model(str(artifact_folder(store.client.get_run(opened.run_id)) / "model"))
    forecast = model.predict(pd.DataFrame(data.raw[data.test.rows], columns=list(data.feature_names)))
    actual = data.target[data.test.rows]
    metrics = opened.metrics
    assert opened.bars == 486 == len(actual)
    assert metrics["test_mse"] == pytest.approx(np.mean((forecast - actual) ** 2), rel=1e-9)
    assert metrics["test_zero_mse"] == pytest.approx(np.mean(actual**2), rel=1e-12)
    position = np.concatenate([[0.0], np.sign(forecast)[:-1]])
    net = position * np.expm1(actual) - 5e-4 * np.abs(np.diff(position, prepend=0.0))
    assert metrics["test_sharpe"] == pytest.approx(net.mean() / net.std(ddof=1) * np.sqrt(252), rel=1e-9)
    held = np.expm1(actual)
    assert metrics["test_buy_hold_sharpe"] == pytest.approx(held.mean() / held.std(ddof=1) * np.sqrt(252), rel=1e-9)
    level = data.target[data.train.rows].mean()
    assert metrics["test_r2"] == pytest.approx(
        1 - ((actual - forecast) ** 2).sum() / ((actual - level) ** 2).sum(), rel=1e-9
    )
    saved = pd.read_csv(artifact_folder(store.client.get_run(opened.evaluation_run_id)) / "evaluation/test_returns.csv")
    np.testing.assert_allclose(saved["strategy_return"], net, atol=1e-12)
    assert saved["date"].iloc[0] == opened.start[:10] == "2011-03-24"


def test_what_came_of_an_opening_shows_itself_as_the_table_of_the_command(opened: Opened) -> None:
    assert repr(opened) == f"Opened({opened.name!r}, run_id={opened.run_id!r}, number=1)"
    assert str(opened) == as_table(opened)
    shown = replace(opened, name="<b>mine</b>")._repr_html_()
    assert shown.startswith("<pre>") and "the run &lt;b&gt;mine&lt;/b&gt;" in shown and "<b>" not in shown


def test_every_validation_metric_has_its_test_metric_with_an_interval_around_it(opened: Opened) -> None:
    plain = [name for name in opened.validation if not name.endswith(("_low", "_high"))]
    validation = {name.removeprefix("val_") for name in plain} - {"loss"}
    assert {name.removeprefix("test_") for name in opened.metrics} == validation
    assert {"linear_sharpe", "train_mean_mse", "zero_mse", "buy_hold_sharpe"} <= validation
    assert opened.intervals.keys() == opened.metrics.keys()
    for name, (low, high) in opened.intervals.items():
        assert low < opened.metrics[name] < high, name


def test_of_several_folds_the_rivals_learn_from_the_rows_of_the_model_that_is_kept() -> None:
    config = compose_config(["data=synthetic", "data.synthetic.bars=500", "evaluation.scheme=walk_forward"])
    data = prepare_data(config.data)
    last = fold_views(data, config.evaluation)[-1]
    assert len(last.train) > len(data.train)
    actual = data.targets(data.test)
    found = _judge(config, data, np.zeros(len(actual))).metrics
    level = last.targets(last.train).mean()
    assert found["test_train_mean_mse"] == pytest.approx(np.mean((actual - level) ** 2), rel=1e-12)
    assert found["test_r2"] == pytest.approx(1 - (actual**2).sum() / ((actual - level) ** 2).sum(), abs=1e-12)
    fitted = LinearRegression().fit(data.raw[last.train.rows], last.targets(last.train))
    wanted = np.mean((actual - fitted.predict(data.raw[data.test.rows])) ** 2)
    assert found["test_linear_mse"] == pytest.approx(wanted, rel=1e-6)


def test_the_opening_is_a_run_of_its_own_that_says_when_who_what_and_which_dates(opened: Opened, store: Store) -> None:
    record = store.client.get_run(opened.evaluation_run_id)
    tags = record.data.tags
    assert record.info.status == "FINISHED"
    assert tags["run.kind"] == "test_evaluation" and tags["evaluated.run_id"] == opened.run_id
    assert (tags["opened.start"], tags["opened.end"]) == ("2011-03-24T00:00:00", "2013-02-28T00:00:00")
    assert tags["opened.by"] == tags["mlflow.user"] and tags["opened.at"].startswith("20")
    judged = store.client.get_run(opened.run_id)
    assert tags["data.fingerprint"] == judged.data.tags["data.fingerprint"]
    assert tags["data.instrument"] == judged.data.tags["data.instrument"] == "IBM"
    assert record.info.experiment_id == judged.info.experiment_id
    bounds = {f"{name}_{end}" for name in opened.metrics for end in ("low", "high")}
    assert record.data.metrics.keys() == opened.metrics.keys() | bounds
    assert {name: judged.data.metrics[name] for name in record.data.metrics} == record.data.metrics
    assert find_run(store, "latest").info.run_id != opened.evaluation_run_id


def test_each_further_opening_is_counted_and_changes_no_metric_of_the_run(
    opened: Opened, store: Store, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = store.client.get_run(opened.run_id).data.metrics
    earlier = len(evaluations(store))
    store.client.delete_run(opened.evaluation_run_id)  # what was seen was seen
    try:
        assert cli.run(["evaluate", opened.run_id, "--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}"]) == 0
        assert len(training_record(store, find_run(store, opened.run_id)).openings) == earlier + 1
    finally:
        store.client.restore_run(opened.evaluation_run_id)
    said = capsys.readouterr().out
    assert f"IBM, 486 bars, 2011-03-24 to 2013-02-28, opened for the {earlier + 1}" in said
    assert "95 % interval" in said and "buy and hold" in said and f"for the run {opened.run_id}" in said
    assert f"{opened.metrics['test_sharpe']:.2f}" in said
    assert cli.run(["evaluate", opened.run_id, "--tracking-uri", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["opening"] == earlier + 2 == len(found["earlier"]) + 1
    assert found["metrics"] == opened.metrics  # same data, same model, same seed
    assert found["intervals"] == {name: list(pair) for name, pair in opened.intervals.items()}
    judged = store.client.get_run(opened.run_id)
    assert judged.data.metrics == before
    record = training_record(store, judged)
    assert len(record.openings) == int(judged.data.tags["test.openings"]) == len(evaluations(store))


def test_a_run_that_learns_from_dates_that_were_opened_says_so_and_others_do_not(
    opened: Opened, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    later = ["data.split.train=0.8", "data.split.val=0.1", "data.split.test=0.1"]
    with caplog.at_level(logging.WARNING):
        overlapping = train([*QUICK, *later])
    assert overlapping.tags["test.overlap"].startswith("IBM 2011-03-24 to 2013-02-28, opened ")
    assert opened.run_id in overlapping.tags["test.overlap"]
    assert "were a test set before: IBM 2011-03-24" in caplog.text
    caplog.clear()
    same_bars, other_market = train([*QUICK, "seed=7"]), train([*QUICK, *later, "data=msft"])
    for other in (same_bars, other_market):
        assert "test.overlap" not in other.tags
    assert "test set before" not in caplog.text
    seen = training_record(store, find_run(store, same_bars.run_id)).others_opened
    assert seen and {each.evaluated for each in seen} == {opened.run_id}
    assert training_record(store, find_run(store, other_market.run_id)).others_opened == ()
    assert training_record(store, find_run(store, opened.run_id)).others_opened == ()


def test_of_directions_the_forecast_that_takes_no_side_is_a_coin_flip(opened: Opened) -> None:
    direction = ["data=synthetic", "data.synthetic.seed=9", "data.target=direction", "training.loss=bce"]
    of_directions = train([*QUICK, *direction]).evaluate()
    for each, name in ((opened, "zero forecast"), (of_directions, "coin flip")):
        assert f"{each.metrics['test_zero_mse']:.4e} ({name}, " in as_table(each)
        assert f" ({name})" in "\n".join(metric_lines(each.metrics, each.naive))
    assert of_directions.metrics["test_zero_mse"] == 0.25


@pytest.fixture(scope="module")
def own_file(folder: Path) -> tuple[Path, str]:
    """A user's file, and a run on it."""
    bars = synthetic_bars(SyntheticConfig(bars=300, seed=4))
    bars.to_csv(folder / "bars.csv")
    return folder / "bars.csv", train([*QUICK, "data=csv", "data.path=bars.csv"]).run_id


def test_data_that_have_changed_or_are_gone_are_refused_before_anything_is_opened(
    own_file: tuple[Path, str], store: Store
) -> None:
    file, run_id = own_file
    content = file.read_text()
    recorded = store.client.get_run(run_id).data.tags["data.fingerprint"]
    before = len(evaluations(store))
    lines = content.splitlines(keepends=True)
    file.write_text("".join(lines[:-1]))
    with pytest.raises(
        DataError, match=rf"have changed: it saw the fingerprint {recorded}, and .*bars.csv has [0-9a-f]"
    ):
        open_test_set(run_id)
    file.rename(file.with_suffix(".away"))
    with pytest.raises(
        DataError, match=rf"are gone: there is no file .*bars.csv. Put it back \(fingerprint {recorded}\)"
    ):
        open_test_set(run_id)
    assert len(evaluations(store)) == before
    file.write_text(content)
    opened = open_test_set(run_id)
    assert opened.instrument == "file bars.csv" and opened.number == 1


@pytest.mark.parametrize(
    "scheme", ["chronological", *(pytest.param(name, marks=in_ci) for name in ("walk_forward", "purged_kfold"))]
)
def test_a_model_that_forecasts_otherwise_than_it_did_is_refused(
    scheme: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tradingbot_exp.experiment import data as job_data

    run = train([*QUICK, "model=linear", f"evaluation.scheme={scheme}"])
    old = FEATURES["rsi_14"]
    monkeypatch.setitem(FEATURES, "rsi_14", lambda bars: 1 - old(bars))
    job_data._load_data.cache_clear()
    with pytest.raises(RunError, match="forecasts its validation rows otherwise than it did"):
        open_test_set(run.run_id, folder)
    job_data._load_data.cache_clear()


def test_what_has_no_model_is_refused_with_what_would_be_right(
    opened: Opened, own_file: tuple[Path, str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    client, experiment = store.client, store.client.get_run(opened.run_id).info.experiment_id

    bare = str(client.create_run(experiment, tags={"run.kind": "training"}).info.run_id)
    client.set_terminated(bare, "FINISHED")
    for run_id, words in (
        (bare, "has no configuration of tradingbot_exp.train"),
        (opened.evaluation_run_id, f"not a training run, a trial or a study. It evaluated the run {opened.run_id}"),
    ):
        with pytest.raises(RunError, match=words):
            open_test_set(run_id)
    shutil.rmtree(artifact_folder(client.get_run(own_file[1])) / "model")
    with pytest.raises(RunError, match=r"FINISHED\) has no artifact model\. Record it"):
        open_test_set(own_file[1])
    assert cli.run(["evaluate", "no/run"]) == 1
    assert capsys.readouterr().err.startswith("Error: 'no/run' is not a run id")


@pytest.fixture(scope="module")
def study(folder: Path, opened: Opened) -> tuple[str, str]:
    """A small study on a process with a signal; the id of its run, and what it printed before its first trial."""
    config = compose_config([*QUICK, "data=synthetic", "data.synthetic.bars=500", "hpo.num_trials=2", "seed=1"])
    runner = Runner(config, SearchSpace.parse(config.hpo.param_space), ExperimentOrganizer(config))
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("sys.stdout.write", said.append)
        runner.run(lambda run: None)
    return runner.parent.run_id, "".join(said)


def test_of_a_study_the_best_trial_is_opened_and_one_whose_model_went_says_how_to_get_it(
    study: tuple[str, str], store: Store
) -> None:
    parent = store.client.get_run(study[0])
    opened = open_test_set(study[0])
    assert opened.run_id == parent.data.tags["best.run_id"]
    assert opened.instrument == "SYNTHETIC signal=0.3 seed=0" and opened.number == 1
    evaluation = store.client.get_run(opened.evaluation_run_id)
    assert evaluation.data.tags["evaluated.study_id"] == study[0]
    children = store.client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{study[0]}'")
    (loser,) = [child.info.run_id for child in children if child.info.run_id != opened.run_id]
    with pytest.raises(RunError, match=rf"model\. hpo\.keep=best keeps that of the best.*reproduce {loser[:12]}"):
        open_test_set(loser)


def test_a_study_says_what_its_data_can_bear_and_how_many_were_tried(study: tuple[str, str], store: Store) -> None:
    parent = store.client.get_run(study[0])
    bars = len(prepare_data(compose_config(["data=synthetic", "data.synthetic.bars=500"]).data).val)
    assert study[1].startswith(
        f"{bars} validation bars; with 2 trials planned, the best of pure noise, drawn at random, is"
    )
    assert "no other configuration of SYNTHETIC signal=0.3 seed=0 was tried on overlapping validation dates" in study[1]
    assert (parent.data.tags["ledger.before"], parent.data.tags["ledger.total"]) == ("0", "2")


def test_a_leaking_run_fails_with_its_feature_and_first_bar(store: Store, study: tuple[str, str]) -> None:
    feature("centred")(lambda bars: bars["close"].rolling(3, center=True).mean().ffill())
    with pytest.raises(DataError, match="the feature centred knows its future: its value on "):
        train([*QUICK, "data=synthetic", "data.features=[ret_1,centred]"])
    run = find_run(store, "latest")
    assert run.info.status == "FAILED" and "the feature centred knows its future" in run.data.tags["error"]
    assert not run.data.metrics


def test_a_study_on_given_arrays_has_no_test_set(study: tuple[str, str]) -> None:
    config = compose_config([*QUICK, "hpo.num_trials=1"])
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 3)), rng.normal(size=100)
    result = run_hpo_study(config, X[:80], y[:80], X[80:], y[80:], ExperimentOrganizer(config))
    with pytest.raises(DataError, match="was trained on arrays given to run_hpo_study, which hold no test set"):
        open_test_set(result.parent_id)


@in_ci
def test_whatever_learned_from_the_test_dates_is_named_whichever_file_it_came_from(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workdir)
    quick = ["model=linear", *QUICK]
    judged = train(quick)
    later = ["data.split.train_end=2009-12-31", "data.split.val_end=2011-12-31"]  # validated on its test dates
    load_bars(DataConfig()).frame.rename_axis("date").to_csv("renamed.csv")
    renamed = train([*quick, *later, "data=csv", "data.path=renamed.csv"])
    train([*quick, *later, "data=msft"])
    train([*quick, "seed=3"])  # on the same dates as the one that is judged
    opened = open_test_set(judged.run_id)
    assert [look.run_id for look in opened.looked] == [renamed.run_id]
    assert f"the run {renamed.name} ({renamed.run_id[:12]}), on 2000-0" in str(opened)
    assert cli.run(["evaluate", judged.run_id, "--json"]) == 0
    (look,) = json.loads(capsys.readouterr().out.partition("{")[2].join(["{", ""]))["looked"]
    assert (look["run_id"], look["trials"]) == (renamed.run_id, 0)
    record = open_store(None).client.get_run(opened.evaluation_run_id)
    assert renamed.run_id[:12] in record.data.tags["opened.looks"]
    assert open_test_set(train([*quick, "data=csv", "data.path=renamed.csv"]).run_id).number == 3  # another file


@in_ci
def test_an_opening_by_a_trial_that_searched_columns_counts_for_the_same_bars_in_another_file(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workdir)
    bars = load_bars(DataConfig()).frame.rename_axis("date")
    rng = np.random.default_rng(0)
    bars.assign(mine=rng.standard_normal(len(bars)), other=rng.standard_normal(len(bars))).to_csv("copy.csv")
    bars.to_csv("plain.csv")
    quick = ["model=linear", *QUICK, "data=csv"]
    searched = ["data.path=copy.csv", "+hpo.param_space.data.features=[[ret_1,mine],[ret_1,other]]"]
    done = train_command(
        workdir, "--multirun", *quick, *searched, "hpo.num_trials=3", "hpo.sampler=random", "hpo.reseeds=0"
    )
    assert done.status == 0, done.err
    assert open_test_set("latest").number == 1
    assert open_test_set(train([*quick, "data.path=plain.csv"]).run_id).number == 2


@in_ci
def test_forecasts_of_the_test_dates_are_named_whichever_file_their_bars_came_from(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(workdir)
    quick = ["model=linear", *QUICK]
    judged, foreign = train(quick), train([*quick, "data=msft"])
    bars, others = load_bars(DataConfig()).frame, load_bars(DataConfig(name="msft")).frame
    judged.predict(bars.iloc[:1500])
    foreign.predict(others)
    assert open_test_set(judged.run_id).looked == ()
    judged.predict(bars.iloc[:-20])
    judged.predict(bars)
    foreign.predict(bars)  # known by its returns
    looked = open_test_set(judged.run_id).looked
    assert [(look.run_id, look.forecasts, look.end[:10]) for look in looked] == [
        (judged.run_id, True, "2013-03-01"),
        (foreign.run_id, True, "2013-03-01"),
    ]
    assert f"`predict` with the model of the run {judged.name} ({judged.run_id[:12]}), on bars of 2000" in str(
        looked[0]
    )
    (look,) = open_test_set(foreign.run_id).looked
    assert (look.run_id, look.start[:4]) == (foreign.run_id, "2000")
    few = others.iloc[-50:].rename_axis("date").reset_index().assign(symbol="MSFT")
    judged.predict(few)  # too few to know them by
    client = open_store(None).client
    assert [look.run_id for look in open_test_set(foreign.run_id).looked] == [judged.run_id, foreign.run_id]
    for name in [name for name in client.get_run(foreign.run_id).data.tags if name.startswith("predicted.")]:
        client.set_tag(foreign.run_id, name, '{"instrument": "IBM", "start": 3')  # by nobody of ours
    assert [look.run_id for look in open_test_set(judged.run_id).looked] == [judged.run_id]
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute("CREATE TRIGGER refusal BEFORE UPDATE ON tags BEGIN SELECT RAISE(ABORT, 'no'); END")
    later = pd.concat([bars, bars.iloc[-1:].set_axis(bars.index[-1:] + pd.Timedelta(days=3))])
    assert len(load_run(judged.run_id).predict(later)) == len(bars) - 32
    assert "Whoever opens a test set later will not be told" in caplog.text
    assert f"cannot be kept on record in the run {judged.run_id}: (sqlite3.IntegrityError) no" in caplog.text


@in_ci
def test_the_first_opening_is_asked_for_on_a_terminal_and_wants_a_word_elsewhere(workdir: Path) -> None:
    done = train_command(workdir, "model=linear", *QUICK)
    assert done.status == 0, done.err
    command = ["-m", "tradingbot_exp", "evaluate", "latest"]
    refused = python(workdir, *command)
    assert refused.status == 1 and "have never been opened in this store" in refused.err and "--yes" in refused.err
    main, follower = pty.openpty()
    for answer, status in (("n\n", 1), ("y\n", 0)):
        os.write(main, answer.encode())
        asked = subprocess.run(
            [sys.executable, *command],
            cwd=workdir,
            env=clean_environment(),
            stdin=follower,
            stderr=follower,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert asked.returncode == status
        openings = done.client.search_runs(["1"], "tags.`run.kind` = 'test_evaluation'")
        assert len(openings) == (status == 0)
    assert "opened for the 1st time" in asked.stdout
    said = os.read(main, 100_000).decode()
    assert "Open it for the run" in said and "Nothing was opened, and nothing was counted." in said
    again = python(workdir, *command)
    assert again.status == 0 and "opened for the 2nd time" in again.out
