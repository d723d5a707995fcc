"""With `hpo.ensemble` a study delivers the mean of its best trials, the winner with its other seeds."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from support import artifact_folder, in_ci
from support import train as command

from tradingbot_exp import load_run, train
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.schema import SyntheticConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.data.synthetic import synthetic_bars, synthetic_panel
from tradingbot_exp.errors import ConfigError, TrackingError
from tradingbot_exp.hpo.trial_run import worth_keeping
from tradingbot_exp.hpo.trial_spec import TrialSpec
from tradingbot_exp.plots.numbers import percent
from tradingbot_exp.recorded.evaluate import open_test_set
from tradingbot_exp.recorded.loaded import LoadedRun
from tradingbot_exp.reporting.page.page import Table
from tradingbot_exp.reporting.study.numbers import study_of
from tradingbot_exp.reporting.study.winner import winner_blocks
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.reporting.training.opened import opened_blocks
from tradingbot_exp.tracking.reading.fetch import study_record, training_record
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.store import open_store

SMALL = ("data=synthetic", "data.synthetic.bars=400", "model.hidden_layers=[8]", "training.epochs=3")
STUDY = (*SMALL, "hpo=grid", "hpo.num_trials=4", "hpo.ensemble=2", "hpo.reseeds=2", "tracking.report=false")


@pytest.fixture
def here(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workdir)
    return workdir


def study(here: Path, *words: str) -> LoadedRun:
    done = command(here, "--multirun", *STUDY, *words)
    assert done.status == 0, done.err
    return load_run("latest")


def trials_of(parent: LoadedRun) -> dict[int, LoadedRun]:
    found = MlflowClient().search_runs(
        ["1"], f"tags.`mlflow.parentRunId` = '{parent.run_id}' and tags.`run.kind` = 'trial'"
    )
    return {int(run.data.tags["trial.number"]): load_run(run.info.run_id) for run in found}


@pytest.mark.parametrize("scheme", ["chronological", "walk_forward"])
def test_the_mean_is_of_the_best_trials_and_the_winners_other_seeds(here: Path, scheme: str) -> None:
    words = (f"evaluation.scheme={scheme}", "evaluation.folds=2")
    parent = study(here, *words)
    trials = trials_of(parent)
    best = sorted(trials, key=lambda number: float(trials[number].tags["trial.values"].strip("[]")))[:2]
    assert parent.tags["ensemble.members"] == f"{best[0]}(2) {best[1]}"
    run = load_run(parent.tags["delivered.run_id"])
    assert run.tags["run.kind"] == "ensemble" and run.record.parent_id == parent.run_id
    rate = f"model.learning_rate={trials[best[0]].params['model.learning_rate']}"
    size = f"training.batch_size={trials[best[0]].params['training.batch_size']}"
    seeds = [
        load_run(train([*SMALL, *words, rate, size, f"seed={seed}", "tracking.report=false"]).run_id)
        for seed in (43, 44)
    ]
    winner = np.mean([each.predictions["forecast"] for each in (trials[best[0]], *seeds)], axis=0)
    other = trials[best[1]].predictions["forecast"].to_numpy()
    np.testing.assert_allclose(run.predictions["forecast"], (winner + other) / 2, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(run.predictions["members_sd"], np.std([winner, other], axis=0, ddof=1), rtol=1e-3)
    assert run.predictions["actual"].equals(trials[best[0]].predictions["actual"])
    assert {number for number, each in trials.items() if each.has_model} == set(best)
    assert run.metrics["val_ic"] == pytest.approx(
        np.corrcoef(run.predictions["actual"], run.predictions["forecast"])[0, 1], abs=1e-9
    )


def test_the_study_stands_for_it_and_its_model_forecasts_as_it_did(here: Path) -> None:
    parent = study(here)
    run = load_run(parent.tags["delivered.run_id"])
    bars = synthetic_bars(SyntheticConfig(bars=400)).reset_index()
    found = parent.predict(bars)
    both = run.predictions.merge(found, on="date", suffixes=("", "_new"))
    np.testing.assert_allclose(both["forecast_new"], both["forecast"], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(both["members_sd_new"], both["members_sd"], rtol=1e-4, atol=1e-9)
    assert open_test_set(parent.run_id).run_id == run.run_id
    assert parent.refit().tags["refit.run_id"] == parent.tags["best.run_id"]
    again = study(here)
    assert again.run_id == parent.run_id and again.tags["delivered.run_id"] == run.run_id
    assert len(MlflowClient().search_runs(["1"], "tags.`run.kind` = 'ensemble'")) == 1


def test_reports_have_the_winners_tear_sheet_and_that_of_an_opened_test_set(here: Path) -> None:
    parent = study(here)
    run = open_test_set(parent.run_id).run_id
    store = open_store()
    record = study_record(store, find_run(store, parent.run_id))
    assert len(record.trials) == 4  # the ensemble is none
    winner = next(
        each for each in winner_blocks(study_of(record)) if isinstance(each, Table) and "Risk" in each.caption
    )
    opened = training_record(store, find_run(store, run))
    test = next(each for each in opened_blocks(Trained(opened)) if isinstance(each, Table) and "Risk" in each.caption)
    tables = load_run(parent.tags["best.run_id"]).predictions, opened.test_returns
    for shown, table in zip((winner, test), tables, strict=True):
        volatility = table["strategy_return"].std(ddof=1) * math.sqrt(float(parent.tags["periods_per_year"]))
        assert shown.rows[0][1].text == percent(volatility)


@in_ci
def test_members_have_features_and_windows_of_their_own_and_symbols(here: Path) -> None:
    words = ("data.synthetic.symbols=3", "data.scaling=date", "model=lstm", "hpo.reseeds=0", "hpo.ensemble=3")
    parent = study(here, *words, "~hpo.param_space.batch_size", "+hpo.param_space.data.sequence_length=[1,3]")
    run = load_run(parent.tags["delivered.run_id"])
    assert run.params["data.sequence_length"] == "3"
    frames = synthetic_panel(SyntheticConfig(bars=400, symbols=3))
    bars = pd.concat([frame.reset_index().assign(symbol=name) for name, frame in frames.items()])
    found = run.predict(bars)
    assert set(found["symbol"]) == set(frames) and np.isfinite(found["forecast"]).all()
    both = run.predictions.merge(found, on=["date", "symbol"], suffixes=("", "_new"))
    assert len(both) == len(run.predictions) > 0
    np.testing.assert_allclose(both["forecast_new"], both["forecast"], rtol=1e-5, atol=1e-9)


def test_a_study_that_goes_on_has_the_ensemble_of_its_new_best_and_one_that_cannot_be_made_is_told(here: Path) -> None:
    words = ("hpo=random", "hpo.ensemble=2", "hpo.reseeds=1", "hpo.study_name=longer")
    first = study(here, *words, "hpo.num_trials=2")
    whole = study(here, *words, "hpo.num_trials=5")
    best = sorted(trials_of(whole).items(), key=lambda each: float(each[1].tags["trial.values"].strip("[]")))[:2]
    assert whole.tags["ensemble.members"] == f"{best[0][0]}(1) {best[1][0]}"
    assert whole.run_id == first.run_id
    shutil.rmtree(artifact_folder(MlflowClient().get_run(best[1][1].run_id)) / "model")
    for seed in (here / "multirun").glob("*/seeds/*/*"):
        shutil.rmtree(seed / "evaluation")  # half of what an ensemble needs
    MlflowClient().delete_run(whole.tags["delivered.run_id"])
    again = study(here, *words, "hpo.num_trials=5")
    assert again.status == "FINISHED" and "delivered.run_id" not in again.tags
    assert again.predict(synthetic_bars(SyntheticConfig(bars=400)).reset_index())["forecast"].notna().all()


def test_positions_are_sized_by_the_spread_of_the_mean(here: Path) -> None:
    parent = study(here, "evaluation.position=proportional", "hpo.reseeds=1")
    run = load_run(parent.tags["delivered.run_id"])
    data = prepare_data(run.config.data)
    forecast = run.model.predict(data.unscaled(slice(0, data.train.stop)))
    assert run.record.train_spread == pytest.approx((forecast.std(ddof=1),), rel=1e-6)


def test_networks_of_several_trials_are_one_stack(here: Path) -> None:
    parent = study(here, "hpo=random", "training.ensemble=2", "hpo.ensemble=1", "hpo.param_space.batch_size=[32]")
    assert {each.tags["engine"] for each in trials_of(parent).values()} == {"stacked"}
    assert {each.tags["stack.width"] for each in trials_of(parent).values()} == {"8"}


def test_forecasts_of_different_losses_are_not_averaged(here: Path) -> None:
    done = command(here, "--multirun", *STUDY, "hpo.metric=val_ic", "+hpo.param_space.training.loss=[mse,mae]")
    assert done.status == 1 and "put on a scale of its own" in done.err


@pytest.mark.parametrize("changed", [{"members": 10**9}, {"members": 0}, {"ensemble": 10**9}])
def test_a_store_cannot_make_a_reader_build_networks_without_end(here: Path, changed: dict[str, int]) -> None:
    run = load_run(train([*SMALL, "training.ensemble=2", "tracking.report=false"]).run_id)
    file = artifact_folder(MlflowClient().get_run(run.run_id)) / "model/data/data/model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    with pytest.raises(TrackingError, match="says that it"):
        _ = load_run(run.run_id).model


def test_models_of_losers_are_not_wanted(here: Path) -> None:
    config = compose_config([*SMALL, "hpo.ensemble=2"])
    spec = TrialSpec("study", 5, "run", "parent", rivals=[[1.0], [2.0]])
    assert [worth_keeping(config, spec, [value]) for value in (0.5, 1.5, 2.0, 3.0)] == [True, True, False, False]
    assert not worth_keeping(config, spec, [1.5], [[1.2]])


def test_without_models_there_is_no_mean(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"hpo\.keep=none keeps none"):
        compose_config(["hpo.ensemble=2", "hpo.keep=none"])
