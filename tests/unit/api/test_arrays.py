"""`run_hpo_study`: a study over a user's own arrays, resumed by the same call."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from support import artifact_folder

from tradingbot_exp import ExperimentOrganizer, run_hpo_study
from tradingbot_exp.api.arrays import _array
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import ConfigError, DataError

FINE = 1 + 1e-12  # float32 cannot tell it from 1


@pytest.fixture
def config(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(workdir)
    config = Config()
    config.experiment.name = "arrays"
    config.model.learning_rate = config.training.learning_rate = 0.001
    config.training.epochs = 3
    config.hpo.num_trials, config.hpo.reseeds = 3, 0
    config.hpo.param_space = {"learning_rate": [0.001, 0.01, 0.03], "batch_size": [16, 32]}
    config.tracking.uri = f"sqlite:///{workdir / 'mlflow.db'}"
    return config


def arrays() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(120, 4, generator=generator)
    y = X[:, :1] + 0.1 * torch.randn(120, 1, generator=generator)
    return X[:100], y[:100], X[100:], y[100:]


def test_a_study_over_arrays_has_a_parent_children_and_a_winner_that_can_be_loaded(
    config: Config, workdir: Path
) -> None:
    config.hpo.reseeds = 5
    result = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    client = MlflowClient(config.tracking.uri)
    parent = client.get_run(result.parent_id)
    assert parent.info.status == "FINISHED" and parent.data.tags["run.kind"] == "study"
    query = f"tags.`mlflow.parentRunId` = '{result.parent_id}'"
    children = client.search_runs([parent.info.experiment_id], query)
    assert {child.info.status for child in children} == {"FINISHED"} and len(children) == 3
    (best,) = [child for child in children if child.info.run_id == parent.data.tags["best.run_id"]]
    assert best.data.metrics["final_loss"] == min(child.data.metrics["final_loss"] for child in children)
    assert result.best[0].values == json.loads(best.data.tags["trial.values"])
    assert best.data.metrics["val_ic"] > 0.5
    assert (Path(best.info.artifact_uri.removeprefix("file://")) / "model" / "MLmodel").is_file()
    verdict = json.loads((artifact_folder(parent) / "study" / "verdict.json").read_text())
    assert verdict["family"] == "forecast" and verdict["word"] == parent.data.tags["verdict"]
    assert "there are no returns" in verdict["numbers"]["psr"]["problem"]
    assert verdict["numbers"]["verdict_p"]["value"] is not None or verdict["word"] == "cannot be told"
    assert len(verdict["seeds"]["values"]) == 5
    config.hpo.num_trials = 4
    again = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    assert again.parent_id == result.parent_id
    assert len(client.search_runs([parent.info.experiment_id], query)) == 4


def test_other_arrays_are_another_study(config: Config) -> None:
    first = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    X, y, X_val, y_val = arrays()
    second = run_hpo_study(config, X, y + 1, X_val, y_val, ExperimentOrganizer(config))
    assert first.name != second.name


def test_arrays_that_do_not_fit_are_refused_by_name(config: Config) -> None:
    X, y, X_val, y_val = arrays()
    organizer = ExperimentOrganizer(config)
    with pytest.raises(DataError, match="X_train has 100 rows and y_train 99"):
        run_hpo_study(config, X, y[1:], X_val, y_val, organizer)
    sparse = torch.ones(100, 4).to_sparse()
    for given, words in (
        (X.numpy().astype(str), None),
        ([[1.0, 2.0], [3.0]], "X_train cannot be read as an array of numbers: .*inhomogeneous"),
        (X.numpy() + 1j, "X_train cannot be read as an array of numbers: .*complex"),
        ([["a"] * 4] * 100, "X_train cannot be read as an array of numbers: .*'a'"),
        (None, "X_train is of type NoneType"),
        (X[:, :0], r"X_train has the shape \(100, 0\)"),
        (sparse, None),
        (X.bfloat16(), None),
    ):
        if words is None:
            assert _array("X_train", given).shape == (100, 4)
            continue
        with pytest.raises(DataError, match=words):
            run_hpo_study(config, given, y, X_val, y_val, organizer)
    with pytest.raises(DataError, match=r"y_train has the shape \(100, 2\); it has to be \(n,\) or \(n, 1\)"):
        run_hpo_study(config, X, torch.cat([y, y], 1), X_val, y_val, organizer)
    with pytest.raises(DataError, match="X_val holds NaN"):
        run_hpo_study(config, X, y, X_val * np.nan, y_val, organizer)
    for key, value, words in (
        ("num_trials", "3", "hpo.num_trials must be 1 or more; got '3'"),
        ("study_name", 5, "hpo.study_name must be one line .* got 5"),
    ):
        with pytest.raises(ConfigError, match=words):
            run_hpo_study(replace(config, hpo=replace(config.hpo, **{key: value})), X, y, X_val, y_val, organizer)
    with pytest.raises(ConfigError, match=r"model.input_dim=7, but X_train has 4 columns"):
        run_hpo_study(replace(config, model=replace(config.model, input_dim=7)), X, y, X_val, y_val, organizer)


def test_what_is_no_configuration_organizer_or_logger_is_refused_before_anything_is_written(
    config: Config, workdir: Path
) -> None:
    before, organizer = sorted(workdir.iterdir()), ExperimentOrganizer(config)
    with pytest.raises(ConfigError, match=r"config is of type NoneType; expected what ConfigurationManager"):
        run_hpo_study(None, *arrays(), organizer)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"organizer is of type NoneType; expected an ExperimentOrganizer"):
        run_hpo_study(config, *arrays(), None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"logger is of type str; expected an EnhancedMLflowLogger, or"):
        run_hpo_study(config, *arrays(), organizer, "study.log")  # type: ignore[arg-type]
    assert sorted(workdir.iterdir()) == before


def test_no_key_of_the_data_is_searched_on_given_arrays(config: Config) -> None:
    config.hpo.param_space = {"data.sequence_length": [1, 5], "batch_size": [16, 32]}
    with pytest.raises(ConfigError, match=r"data.sequence_length cannot be searched by run_hpo_study"):
        run_hpo_study(config, *arrays(), ExperimentOrganizer(config))


def test_the_data_block_of_the_configuration_is_not_read(config: Config) -> None:
    config.hpo.num_trials = 1
    first = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    config.data.sequence_length, config.data.horizon, config.model.input_dim = 20, 5, 4
    config.training.loss, config.hpo.metric = "mse", "val_mse"
    second = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    assert second.best[0].value == pytest.approx(first.best[0].value)


def test_the_winner_on_given_arrays_is_told_by_its_parameters_and_a_mean_as_one(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    config.hpo.repeats = 2
    result = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    said = capsys.readouterr().out
    assert "python -m tradingbot_exp.train" not in said
    assert f"config.training.batch_size = {result.best[0].params['training.batch_size']}" in said
    assert f"config.training.learning_rate = {result.best[0].params['model.learning_rate']}" in said
    assert "val_loss (mean of 2 seeds)" in said


@pytest.mark.parametrize("searched", [False, True])
def test_double_precision_is_that_of_the_arrays(config: Config, searched: bool) -> None:
    config.hpo.num_trials = config.training.epochs = 1
    config.hpo.param_space = {"batch_size": [16]}
    if searched:
        config.hpo.param_space["training.precision"] = ["float64"]
    values = {}
    for precision in ("float32", "float64"):
        if not searched:
            config.training.precision = precision
        X, y, X_val, y_val = (array.double() for array in arrays())
        runs = [run_hpo_study(config, X * scale, y, X_val, y_val, ExperimentOrganizer(config)) for scale in (1, FINE)]
        values[precision] = [run.best[0].value for run in runs]
    # A change too small for float32 is seen in float64 alone.
    assert (values["float32"][0] == values["float32"][1]) != searched
    assert values["float64"][0] != values["float64"][1]


@pytest.mark.parametrize(("key", "value"), [("scheme", "walk_forward"), ("purge", 2), ("embargo", 1)])
def test_arrays_that_come_cut_are_not_cut_again(config: Config, key: str, value: str | int) -> None:
    setattr(config.evaluation, key, value)
    with pytest.raises(ConfigError, match=rf"evaluation.{key}={value} .* run_hpo_study is given arrays that are cut"):
        run_hpo_study(config, *arrays(), ExperimentOrganizer(config))


def test_a_trial_without_a_value_says_why(config: Config) -> None:
    config.hpo.metric, config.hpo.direction, config.hpo.num_trials = "val_ic", "maximize", 1
    config.hpo.max_failure_rate = 1.0
    X, y, X_val, y_val = arrays()
    result = run_hpo_study(config, X, y, torch.ones_like(X_val), y_val, ExperimentOrganizer(config))
    (trial,) = result.study.trials
    error = MlflowClient(config.tracking.uri).get_run(trial.user_attrs["run_id"]).data.tags["error"]
    assert "val_ic is not defined, because the forecast is constant" in error
