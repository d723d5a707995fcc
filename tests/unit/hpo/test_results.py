"""What a study leaves on its parent run: returns, trials, the winners' artifacts; also of trials of another machine."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from support import artifact_folder, in_ci
from test_recovery import DEAD, stale_trial

from tradingbot_exp import ExperimentOrganizer
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.hpo.results.bars import BARS_FILE, BEFORE, FORECASTS, RETURNS, load_bars, save_bars
from tradingbot_exp.hpo.results.recording import _log_winner, losers
from tradingbot_exp.hpo.runner import Runner
from tradingbot_exp.hpo.samplers import KILLED, draws
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.study import StudyResult
from tradingbot_exp.hpo.trial_run import KEPT_FOLDER
from tradingbot_exp.hpo.trial_spec import TrialSpec
from tradingbot_exp.hpo.watching import open_once
from tradingbot_exp.tracking.run_names import INTERRUPTED, result_tags
from tradingbot_exp.tracking.store.client import open_client
from tradingbot_exp.tracking.store.store import open_store


@pytest.fixture
def config(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(workdir)
    config = Config()
    config.experiment.name = "results"
    config.data.name = config.data.source = "synthetic"
    config.model.learning_rate = config.training.learning_rate = 0.001
    config.training.epochs = 3
    config.training.progress = "off"
    config.tracking.report = False
    config.hpo.num_trials, config.hpo.reseeds = 3, 0
    config.hpo.sampler = "random"
    config.hpo.param_space = {"learning_rate": [0.001, 0.01, 0.03], "batch_size": [16, 32]}
    config.tracking.uri = f"sqlite:///{workdir / 'mlflow.db'}"
    return config


def runner_of(config: Config) -> Runner:
    return Runner(config, SearchSpace.parse(config.hpo.param_space), ExperimentOrganizer(config))


def study(config: Config) -> StudyResult:
    """Bring a study to its end in this process, on the data of its configuration."""
    return runner_of(config).run(lambda run: None)


def parent_of(config: Config, result: StudyResult) -> Run:
    return MlflowClient(config.tracking.uri).get_run(result.parent_id)


def matrix(config: Config, result: StudyResult, what: str = "returns") -> pd.DataFrame:
    return pd.read_parquet(artifact_folder(parent_of(config, result)) / "evaluation" / f"trial_{what}.parquet")


def with_models(config: Config, result: StudyResult) -> set[int]:
    """The trials whose runs have a model."""
    client = MlflowClient(config.tracking.uri)
    runs = {trial.number: client.get_run(trial.user_attrs["run_id"]) for trial in result.study.trials}
    return {number for number, run in runs.items() if (artifact_folder(run) / "model" / "MLmodel").is_file()}


def staged() -> list[Path]:
    return list(Path("multirun").glob(f"*/trial-*/{KEPT_FOLDER}"))


def test_returns_and_winner_of_trials_whose_folders_are_gone_stay(config: Config) -> None:
    first = study(config)
    before, forecasts = matrix(config, first), matrix(config, first, "forecasts")
    assert not staged()
    shutil.rmtree("multirun")
    config.hpo.num_trials = 4
    second = study(config)
    after = matrix(config, second)
    assert second.parent_id == first.parent_id and set(before.columns) < set(after.columns)
    pd.testing.assert_frame_equal(after[before.columns], before)
    assert not after.isna().any(axis=None)
    forecasts_after = matrix(config, second, "forecasts")
    assert (forecasts_after.dtypes == "float32").all() and forecasts_after.index.equals(after.index)
    pd.testing.assert_frame_equal(forecasts_after[forecasts.columns], forecasts)
    assert parent_of(config, second).data.tags["best.artifacts"] == "kept"
    assert second.best[0].number in with_models(config, second)


def test_a_trial_with_returns_on_other_dates_is_put_where_they_are(config: Config) -> None:
    first = study(config)
    before = matrix(config, first)
    folder = Path("multirun") / first.name / "trial-0002"
    bars = load_bars(folder, before.index)
    late = {name: bars[name].iloc[5:] for name in ("forecast", "return")}
    kept = {FORECASTS: late["forecast"], RETURNS: late["return"], BEFORE: bars["before"].to_numpy()[None]}
    save_bars(folder, late["return"].index, kept)
    after = matrix(config, study(config))
    assert after["2"].isna().sum() == 5 and after["2"].iloc[:5].isna().all()
    pd.testing.assert_frame_equal(after.iloc[5:], before.iloc[5:])
    pd.testing.assert_series_equal(after["0"], before["0"])


def test_a_file_that_cannot_be_read_is_named_and_what_was_recorded_of_its_trial_stays(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    first = study(config)
    before = matrix(config, first)
    for number, size in ((0, 100), (2, 0)):  # cut short, as by a full disk
        file = Path("multirun") / first.name / f"trial-{number:04d}" / BARS_FILE
        file.write_bytes(file.read_bytes()[:size])
    pd.testing.assert_frame_equal(matrix(config, study(config)), before)
    assert "What trial 0 left of its bars cannot be read from" in caplog.text and "trial 2 left" in caplog.text


def test_bars_come_back_with_their_dates_in_the_time_zone_of_the_data(tmp_path: Path) -> None:
    index = pd.date_range("2024-03-08", periods=5, freq="D", tz="America/New_York", unit="us")  # over a clock change
    sums = np.arange(18.0).reshape(2, 9)
    kept = {FORECASTS: np.arange(4.0), RETURNS: [0.1, -0.2, np.nan, 0.3], BEFORE: sums}
    save_bars(tmp_path, index[1:], kept)
    bars = load_bars(tmp_path, index)
    forecast = pd.Series(np.arange(4, dtype="float32"), index[1:])
    pd.testing.assert_series_equal(bars["forecast"], forecast, check_freq=False)
    pd.testing.assert_series_equal(bars["return"], pd.Series([0.1, -0.2, np.nan, 0.3], index[1:]), check_freq=False)
    assert bars["before"][1, "dates"] == 2 and bars["before"][2, "memory"] == 17
    save_bars(tmp_path, index, {FORECASTS: np.arange(5.0), BEFORE: sums})
    assert set(load_bars(tmp_path, index)) == {"forecast", "before"} and load_bars(tmp_path / "none", index) == {}


def test_a_winner_whose_artifacts_are_nowhere_is_named_with_the_command_to_train_it_again(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    first = study(config)
    assert parent_of(config, first).data.tags["best.artifacts"] == "kept"
    run_id = stale_trial(config, first, DEAD, result_tags("complete", [0.0]))
    MlflowClient(config.tracking.uri).set_terminated(run_id, "FINISHED")
    config.hpo.num_trials = 4
    with caplog.at_level(logging.WARNING):
        second = study(config)
    assert second.best[0].user_attrs["run_id"] == run_id
    assert parent_of(config, second).data.tags["best.artifacts"] == "missing"
    assert second.best[0].number == 3
    (said,) = [record.getMessage() for record in caplog.records if "again:" in record.getMessage()]
    assert "trial 3 " in said and "python -m tradingbot_exp.train model.learning_rate=" in said


def test_a_store_that_refuses_what_a_study_found_is_an_error_of_ours(config: Config) -> None:
    with contextlib.closing(sqlite3.connect("mlflow.db")) as database:
        database.execute(
            "CREATE TRIGGER refusal BEFORE INSERT ON metrics WHEN NEW.key = 'best_value' "
            "BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    with pytest.raises(TrackingError, match="no room"):
        study(config)


def test_duplicates_are_told_apart_and_counted_once(config: Config) -> None:
    config.hpo.param_space = {"learning_rate": [0.001, 0.01]}
    config.hpo.num_trials = 5
    result = study(config)
    copies = {t.number: t.user_attrs["duplicate_of"] for t in result.study.trials if "duplicate_of" in t.user_attrs}
    assert len(copies) >= 3
    parent = parent_of(config, result)
    assert parent.data.tags["study.trials"] == "5"
    assert parent.data.tags["study.configurations"] == str(5 - len(copies))
    table = pd.read_csv(artifact_folder(parent) / "study" / "trials.csv", index_col="number")
    assert table["duplicate_of"].dropna().astype(int).to_dict() == copies
    assert list(matrix(config, result).columns) == [str(n) for n in range(5) if n not in copies]


def test_the_artifacts_of_a_pareto_front_are_kept_and_no_others(config: Config) -> None:
    config.hpo.metric, config.hpo.direction = ["val_loss", "val_ic"], ["minimize", "maximize"]
    config.hpo.num_trials = 6
    result = study(config)
    front = {trial.number for trial in result.best if "duplicate_of" not in trial.user_attrs}
    assert 0 < len(front) < 6
    assert with_models(config, result) == front and not staged()


def test_metric_and_direction_as_lists_of_one_make_the_same_study(config: Config) -> None:
    config.hpo.metric, config.hpo.direction = ["val_loss"], ["minimize"]
    config.hpo.num_trials = 4
    result = study(config)
    assert with_models(config, result) == {result.best[0].number} and not staged()
    assert result.best[0].value == min(trial.value for trial in result.study.trials)
    config.hpo.metric, config.hpo.direction = "val_loss", "minimize"
    assert study(config).parent_id == result.parent_id


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("random", marks=in_ci), pytest.param("grid", marks=in_ci)])
def test_a_study_interrupted_within_a_batch_draws_what_an_undisturbed_one_draws(config: Config, sampler: str) -> None:
    rates: Any = {"low": 1e-4, "high": 0.1, "log": True}
    config.hpo.param_space = {"learning_rate": [0.001 * step for step in range(1, 20)] if sampler == "grid" else rates}
    config.hpo.sampler, config.hpo.num_trials, config.hpo.n_jobs = sampler, 12, 4
    config.training.epochs, config.hpo.keep, drawn = 1, "none", []
    for disturbed in (False, True):
        config.hpo.study_name = f"disturbed: {disturbed}"
        runner = runner_of(config)

        def launch(specs: Sequence[TrialSpec], runner: Runner = runner) -> list[Any]:
            if specs[0].number > 3:
                runner.run_here([spec for spec in specs if spec.number != 6])  # and nobody is told of their results
                raise KeyboardInterrupt
            return runner.run_here(specs)

        if disturbed:
            with pytest.raises(KeyboardInterrupt):
                runner.run(lambda run: None, launch)
        else:
            runner.close()
        result = study(config)
        trials = result.study.trials
        assert any(trial.user_attrs.get(INTERRUPTED) == KILLED for trial in trials) == disturbed
        places = dict(zip(draws(trials), trials, strict=True))
        drawn.append([places[place].params for place in range(12)] + [result.best[0].params])
        if sampler == "tpe":  # what follows the second batch depends on the trial that was killed
            assert min(range(8), key=lambda place, places=places: places[place].value) == 6
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]])
def test_losers_are_all_that_are_over_but_the_best_or_the_front(directions: list[str]) -> None:
    found = optuna.create_study(directions=directions)
    values: list[Any] = [[2.0, 0.1], [1.0, 0.2], [3.0, 0.9], [3.0, 0.8]]
    for each in values:
        found.tell(found.ask(), each[: len(directions)])
    found.tell(found.ask(), state=optuna.trial.TrialState.FAIL)
    found.ask()  # still running
    assert losers(found) == ({0, 2, 3, 4} if len(directions) == 1 else {0, 3, 4})


@in_ci
def test_a_pruned_trial_of_several_seeds_has_a_plain_curve_and_the_study_is_not_opened_again(config: Config) -> None:
    open_once.cache_clear()
    config.hpo.param_space = {"learning_rate": {"low": 1e-6, "high": 1e-1, "log": True}}
    config.hpo.pruner, config.hpo.repeats = "percentile", 2
    config.hpo.num_trials, config.training.epochs = 12, 7
    result = study(config)
    assert open_once.cache_info().misses == 0  # this process has it open
    client = MlflowClient(config.tracking.uri)
    pruned = [trial for trial in result.study.trials if trial.state.name == "PRUNED"]
    assert pruned
    for trial in pruned:
        names = ("val_loss", "seed_42/val_loss", "seed_43/val_loss")
        plain, first, second = (
            {point.step: point.value for point in client.get_metric_history(trial.user_attrs["run_id"], name)}
            for name in names
        )
        assert list(plain) == list(second or first)
        assert plain == {
            step: pytest.approx((first[step] + second[step]) / 2 if second else first[step]) for step in plain
        }


def test_seeds_and_folds_are_further_epochs_to_the_pruner_and_the_worst_fold_of_each_seed_is_averaged(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    config.evaluation.scheme, config.evaluation.folds = "walk_forward", 2
    config.hpo.aggregate, config.hpo.pruner, config.hpo.repeats = "worst", "median", 2
    config.hpo.num_trials, config.training.epochs = 1, 2
    result = study(config)
    assert "val_loss (worst of 2 folds) (mean of 2 seeds)" in capsys.readouterr().out
    (trial,) = result.study.trials
    client = MlflowClient(config.tracking.uri)

    def curve(name: str) -> list[float]:
        points = client.get_metric_history(trial.user_attrs["run_id"], name)
        return [point.value for point in sorted(points, key=lambda point: point.step)]

    curves = [[curve(f"seed_{seed}/fold_{fold}_val_loss") for fold in (1, 2)] for seed in (42, 43)]
    assert list(trial.intermediate_values) == list(range(1, 9))
    assert list(trial.intermediate_values.values()) == np.ravel(curves).tolist()
    assert curve("seed_43/val_loss") == pytest.approx(np.mean(curves[1], axis=0))
    assert curve("val_loss") == pytest.approx(np.mean(curves, axis=(0, 1)))
    assert trial.value == pytest.approx(np.mean([max(fold[-1] for fold in seed) for seed in curves]))
    assert client.get_run(trial.user_attrs["run_id"]).data.metrics["fold_2_val_mse"] > 0


@in_ci
def test_hyperband_knows_the_epochs_of_all_seeds(config: Config) -> None:
    config.hpo.pruner, config.hpo.repeats, config.hpo.num_trials = "hyperband", 2, 2
    result = study(config)
    elsewhere: Any = open_once(str(Path("optuna.journal").absolute()), result.name, "hyperband").pruner
    here: Any = result.study.pruner
    assert here._max_resource == elsewhere._max_resource == 6


@pytest.mark.parametrize(
    "link", ["trial-0000", "trial-0000/kept", "trial-0000/kept/model", "trial-0000/kept/model/key"]
)
def test_what_a_prepared_folder_of_a_trial_links_to_is_not_recorded(workdir: Path, link: str) -> None:
    folder, outside = workdir / "study", workdir / "of the reader"
    for each in (folder / "trial-0000" / "kept" / "model", outside / "model", outside / "kept" / "model"):
        each.mkdir(parents=True)
        (each / "key").write_text("his")
    place = folder / link
    place.rename(folder / "aside")
    place.symlink_to(outside / "key" if link.endswith("key") else outside)
    (outside / "key").write_text("his")
    uri = f"sqlite:///{workdir / 'mlflow.db'}"
    client = open_client(uri)
    run_id = client.create_run("0").info.run_id
    trial = optuna.trial.create_trial(value=0.0, user_attrs={"run_id": run_id})
    trial.number = 0
    with pytest.raises(TrackingError, match=r"leads out of|is a link"):
        _log_winner(folder, open_store(uri), trial)
    assert client.list_artifacts(run_id) == []
