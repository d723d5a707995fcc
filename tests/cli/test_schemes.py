"""Validation schemes on the command line: what a run over several folds logs, and a study that goes by the worst."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler
from support import artifact_folder, in_ci, train

from tradingbot_exp import load_run
from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.data.folds import make_folds
from tradingbot_exp.recorded.evaluate import open_test_set

QUICK = ["data=synthetic", "training.epochs=3", "model.hidden_layers=[8]"]


@in_ci
@pytest.mark.parametrize("scheme", ["walk_forward", "purged_kfold"])
def test_a_run_over_folds_has_metrics_of_each_and_of_all_its_forecasts(workdir: Path, scheme: str) -> None:
    done = train(workdir, *QUICK, f"evaluation.scheme={scheme}", "evaluation.folds=3", "evaluation.embargo=20")
    assert done.status == 0, done.err
    lines = done.err.splitlines()
    assert [line[:11] for line in lines if line.startswith("fold")] == [f"fold {number} of 3" for number in (1, 2, 3)]
    run, metrics = done.run, done.run.data.metrics
    assert run.data.tags["model.fold"] == "3" and run.data.params["evaluation.scheme"] == scheme
    data = prepare_data(DataConfig(name="synthetic", source="synthetic"))
    folds = make_folds(data.train, data.val, 1, scheme, 3, None, 20)

    # Curves: of each fold, and their mean.
    def curve(name: str) -> list[float]:
        return [point.value for point in done.client.get_metric_history(run.info.run_id, name)]

    for name in ("train_loss", "val_loss"):
        each = [curve(f"fold_{number}_{name}") for number in (1, 2, 3)]
        assert curve(name) == pytest.approx(np.mean(each, axis=0)) and len(curve(name)) == 3
    assert metrics["final_loss"] == curve("val_loss")[-1]

    # The forecasts, in time order and without a gap; errors and correlations are means over folds.
    table = load_run(run.info.run_id, f"sqlite:///{workdir / 'mlflow.db'}").predictions
    rows = slice(folds[0].val.start, data.val.stop)
    assert table["date"].tolist() == data.index[rows].tolist()
    assert table["fold"].tolist() == np.repeat([1, 2, 3], [len(fold.val) for fold in folds]).tolist()
    parts = [part for _, part in table.groupby("fold")]
    mse = [np.mean((part["forecast"] - part["actual"]) ** 2) for part in parts]
    ic = [np.corrcoef(part["forecast"], part["actual"])[0, 1] for part in parts]
    zero = [np.mean(part["actual"] ** 2) for part in parts]
    for number in (1, 2, 3):
        assert metrics[f"fold_{number}_val_mse"] == pytest.approx(mse[number - 1])
        assert metrics[f"fold_{number}_val_ic"] == pytest.approx(ic[number - 1])
    assert metrics["val_mse"] == pytest.approx(np.mean(mse)) and metrics["val_ic"] == pytest.approx(np.mean(ic))
    assert metrics["val_zero_mse"] == pytest.approx(np.mean(zero))

    # Returns: of all forecasts, positions carried over; by itself each fold starts flat.
    def net(forecast: pd.Series, following: pd.Series) -> np.ndarray:
        position = np.sign(forecast.to_numpy())[:-1]
        position = np.concatenate([[0.0], position])
        return position * np.expm1(following.to_numpy()) - 5e-4 * np.abs(np.diff(position, prepend=0.0))

    def sharpe(returns: np.ndarray) -> float:
        return float(returns.mean() / returns.std(ddof=1) * np.sqrt(float(run.data.tags["periods_per_year"])))

    whole = net(table["forecast"], table["next_log_return"])
    np.testing.assert_allclose(table["strategy_return"], whole, atol=1e-15)
    assert metrics["val_sharpe"] == metrics["val_sharpe_lag1"] == pytest.approx(sharpe(whole))
    for number, part in enumerate(parts, 1):
        alone = sharpe(net(part["forecast"], part["next_log_return"]))
        assert metrics[f"fold_{number}_val_sharpe"] == pytest.approx(alone)

    # The rivals are fitted to each fold's own train rows.
    linear, level = [], []
    for fold in folds:
        train_rows, val_rows = fold.train.numbers, fold.val.numbers
        fitted = LinearRegression().fit(data.raw[train_rows], data.target[train_rows])
        linear.append(fitted.predict(data.raw[val_rows]))
        level.append(np.mean((data.target[val_rows] - data.target[train_rows].mean()) ** 2))
    assert metrics["val_train_mean_mse"] == pytest.approx(np.mean(level))
    rival = net(pd.Series(np.concatenate(linear)), table["next_log_return"])
    assert metrics["val_linear_sharpe"] == pytest.approx(sharpe(rival), rel=1e-6)

    # Model and scaler are the last fold's, which saw nothing of the last block.
    last = folds[-1]
    assert last.train.stop < last.val.start
    scaler = json.loads((done.artifacts() / "data" / "scaler.json").read_text())
    oracle = StandardScaler().fit(data.raw[last.train.numbers])
    np.testing.assert_allclose(scaler["mean"], oracle.mean_, rtol=1e-10)
    card = json.loads((done.artifacts() / "data" / "data_card.json").read_text())
    assert [fold["val"]["rows"] for fold in card["folds"]] == [len(fold.val) for fold in folds]
    model = load_run(run.info.run_id, f"sqlite:///{workdir / 'mlflow.db'}").model
    features = pd.DataFrame(data.raw[last.val.rows], columns=list(data.feature_names))
    np.testing.assert_allclose(model.predict(features), parts[-1]["forecast"], rtol=0, atol=1e-6)

    # It is the one that is judged when the test set is opened, and told to be the one that the run recorded.
    opened = open_test_set(run.info.run_id, f"sqlite:///{workdir / 'mlflow.db'}")
    assert opened.bars == len(data.test) and math.isfinite(opened.metrics["test_mse"])


@in_ci
def test_a_study_over_folds_goes_by_its_worst_fold(workdir: Path) -> None:
    study = ["--multirun", *QUICK, "training.progress=off", "evaluation.scheme=walk_forward", "evaluation.folds=3"]
    study += ["hpo.metric=val_ic", "hpo.direction=maximize", "hpo.aggregate=worst", "hpo.num_trials=2"]
    done = train(workdir, *study)
    assert done.status == 0, done.err
    assert "val_ic (worst of 3 folds)" in done.out
    (parent,) = [run for run in done.runs() if run.data.tags["run.kind"] == "study"]
    children = [run for run in done.runs() if run.data.tags["run.kind"] == "trial"]
    values = {}
    for child in children:
        (values[child.info.run_id],) = json.loads(child.data.tags["trial.values"])
        folds = [child.data.metrics[f"fold_{number}_val_ic"] for number in (1, 2, 3)]
        assert child.data.metrics["val_ic"] == pytest.approx(np.mean(folds))
        steps = [point.step for point in done.client.get_metric_history(child.info.run_id, "val_loss")]
        assert steps == [1, 2, 3]
        assert values[child.info.run_id] == min(folds)
    assert parent.data.metrics["best_value"] == max(values.values())
    best = next(child for child in children if child.info.run_id == parent.data.tags["best.run_id"])
    assert values[best.info.run_id] == max(values.values())
    table = pd.read_csv(artifact_folder(best) / "evaluation" / "validation_returns.csv")
    returns = pd.read_parquet(artifact_folder(parent) / "evaluation" / "trial_returns.parquet")
    column = returns[best.data.tags["trial.number"]]
    np.testing.assert_array_equal(column, table["strategy_return"])
    data = prepare_data(DataConfig(name="synthetic", source="synthetic"))
    assert column.index.tolist() == data.dates(data.val).tolist()


def test_a_scheme_that_the_data_cannot_bear_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    done = train(tmp_path, "data=synthetic", "evaluation.scheme=walk_forward", "evaluation.folds=295")
    assert done.status == 1 and list(tmp_path.iterdir()) == []
    assert done.err.startswith(
        "Error: evaluation.folds must be 2 to 294, as evaluation.scheme=walk_forward cuts 294 validation rows"
    )
