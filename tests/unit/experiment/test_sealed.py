"""The test set is sealed: nothing that is trained or searched depends on a test row, whatever stands in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.schema import Config
from tradingbot_exp.data import PreparedData
from tradingbot_exp.data.features import WARMUP
from tradingbot_exp.experiment.data import given_data, load_data
from tradingbot_exp.experiment.steps import finish, fit, prepare
from tradingbot_exp.hpo.results.bars import load_bars
from tradingbot_exp.hpo.trial_run import run_trial
from tradingbot_exp.hpo.trial_spec import TrialSpec
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

SMALL = ["data=synthetic", "data.synthetic.bars=400", "training.epochs=3", "training.progress=off"]
SHAPES = {
    "rows": [],
    "folds": ["evaluation.scheme=purged_kfold", "evaluation.folds=3"],
    "windows ahead": ["data.sequence_length=5", "data.horizon=3", "training.early_stopping=2"],
}


def poisoned(data: PreparedData) -> PreparedData:
    """Put NaN into everything that a test row holds, and into its bars."""
    raw, scaled, target, next_return = (
        np.array(part) for part in (data.raw, data.scaled, data.target, data.next_return)
    )
    for part in (raw, scaled, target, next_return):
        part[data.test.rows] = np.nan
    assert data.bars is not None
    bars = data.bars.copy()
    bars.iloc[WARMUP + data.test.start :] = np.nan
    panel = replace(data.panel, bars={data.symbol: bars})
    return replace(data, raw=raw, scaled=scaled, target=target, next_return=next_return, panel=panel)


def run_once(config: Config, data: PreparedData) -> tuple[dict[str, float], pd.DataFrame]:
    """Train in a run of its own; give all its metrics and its forecasts."""
    with given_data(data), ExperimentOrganizer(config).start_run() as run:
        job = prepare(config, run)
        (history,) = fit([job])
        finish(job, history)
    found = MlflowClient(config.tracking.uri).get_run(run.run_id)
    file = Path(found.info.artifact_uri.removeprefix("file://")) / "evaluation" / "validation_returns.csv"
    return found.data.metrics, pd.read_csv(file)


def trial_once(config: Config, data: PreparedData, folder: Path) -> tuple[list[float], dict[str, float]]:
    """Run one trial of a study; give its values and all its metrics."""
    folder.mkdir()
    with given_data(data), ExperimentOrganizer(config).start_run(kind="trial") as run:
        values = run_trial(config, run, TrialSpec("study", 0, run.run_id, "none"), folder)
    assert isinstance(values, list)
    return values, MlflowClient(config.tracking.uri).get_run(run.run_id).data.metrics


@pytest.fixture(params=SHAPES)
def config(request: pytest.FixtureRequest, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(workdir)
    return compose_config([*SMALL, *SHAPES[request.param], "hpo.metric=val_sharpe", "hpo.direction=maximize"])


def test_no_metric_or_forecast_of_a_run_moves_if_the_test_rows_are_poisoned(config: Config) -> None:
    data = load_data(config)
    metrics, forecasts = run_once(config, data)
    again, same = run_once(config, poisoned(data))
    assert np.isfinite(list(metrics.values())).all() and len(metrics) > 15
    assert again == metrics
    pd.testing.assert_frame_equal(forecasts, same, check_exact=True)
    assert not [name for name in metrics if name.startswith("test_")]


def test_no_value_or_metric_of_a_trial_moves_if_the_test_rows_are_poisoned(config: Config, tmp_path: Path) -> None:
    config.hpo.repeats, config.hpo.keep = 2, "none"
    data = load_data(config)
    clean = trial_once(config, data, tmp_path / "clean")
    assert clean == trial_once(config, poisoned(data), tmp_path / "poisoned")
    saved = [load_bars(tmp_path / name, data.index) for name in ("clean", "poisoned")]
    for field in ("forecast", "return"):
        pd.testing.assert_series_equal(saved[0][field], saved[1][field])
    assert not [name for name in clean[1] if name.startswith("test_")]
    target = np.array(data.target)
    target[data.val.stop - 1] += 1e-3  # what a model is judged on would be seen
    assert trial_once(config, replace(data, target=target), tmp_path / "seen")[1] != clean[1]
