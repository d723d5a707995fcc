"""The main job, as a newcomer runs it: what it prints, and what MLflow holds afterwards."""

from __future__ import annotations

import csv
import json

import mlflow
import numpy as np
import pandas as pd
import pytest
import skops.io
from omegaconf import OmegaConf
from support import Finished

from tradingbot_exp.config.choices import DEFAULT_FEATURES
from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data import prepare_data

ARTIFACTS = {
    "config/config.yaml",
    "config/overrides.yaml",
    "environment/environment.json",
    "environment/requirements.txt",
    "model_architecture.txt",
    "data/data_card.json",
    "data/scaler.json",
    "data/scaler.skops",
    "data/feature_distributions.html",
    "data/feature_histograms.json",
    "plots/training_history.html",
    "plots/prediction_vs_actual.html",
    "plots/prediction_distribution.html",
    "plots/feature_importance.html",
    "evaluation/validation_returns.csv",
    "evaluation/feature_importance.csv",
    "model/MLmodel",
    "model/input_example.json",
}
METRICS = {
    *("train_loss", "val_loss", "final_loss", "best_val_loss", "best_epoch"),
    *("val_mse", "val_mae", "val_r2", "val_ic", "val_rank_ic", "val_hit_rate", "val_sharpe", "val_sortino"),
    *("val_max_drawdown", "val_turnover", "val_zero_mse", "val_buy_hold_sharpe"),
    *("val_linear_mse", "val_linear_ic", "val_linear_sharpe", "val_train_mean_mse"),
    *("val_cagr", "val_calmar", "val_sharpe_lag0", "val_sharpe_lag1", "val_cagr_lag0", "val_cagr_lag1"),
    *("val_alpha", "val_beta", *(f"val_{name}_{end}" for name in ("ic", "sharpe", "alpha") for end in ("low", "high"))),
    *("val_buy_hold_cagr", "train_mse", "train_mae", "train_r2", "train_ic", "train_rank_ic", "train_hit_rate"),
    "train_sharpe",
}
TAGS = {
    *("run.kind", "model.name", "model.version", "data.name", "data.fingerprint", "config.sha256", "engine"),
    *("periods_per_year", "leakage.checked"),
    *("project", "process.host", "process.pid", "process.started", "process.boot", "mlflow.user", "mlflow.source.name"),
}


def test_the_main_job_ends_well_and_its_summary_says_what_a_newcomer_wants(default_run: Finished) -> None:
    assert default_run.status == 0, default_run.err
    run = default_run.run
    for expected in (
        run.info.run_name,
        run.info.run_id,
        "zero forecast",
        "buy and hold",
        str(default_run.artifacts()),
        "mlflow ui",
        f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}",
        f"{run.data.metrics['val_mse']:.4e}",
        f"{run.data.metrics['val_zero_mse']:.4e}",
    ):
        assert expected in default_run.out


def test_piped_progress_is_a_few_plain_lines_and_nothing_else(default_run: Finished) -> None:
    lines = default_run.err.splitlines()
    assert 3 <= len(lines) <= 10
    assert all(line.startswith("epoch ") and "left" in line for line in lines), default_run.err
    assert lines[0].startswith("epoch  1/50") and lines[-1].startswith("epoch 50/50")


def test_the_run_holds_every_tag_param_and_metric_of_the_contract(default_run: Finished) -> None:
    run = default_run.run
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("mlp-ibm-20")
    assert run.data.tags.keys() >= TAGS
    assert run.data.tags["run.kind"] == "training" and run.data.tags["engine"] == "single"
    assert run.data.metrics.keys() == METRICS
    for key, value in {
        "model.learning_rate": "0.001",
        "training.learning_rate": "0.001",
        "model.input_dim": "10",
        "model.version": run.data.tags["model.version"],
        "data.split.train": "0.7",
        "experiment.tags.project": "TradingBot",
        "hpo.param_space.learning_rate.low": "0.0001",
    }.items():
        assert run.data.params[key] == value
    composed = OmegaConf.load(default_run.artifacts() / "config" / "config.yaml")
    assert composed.model.hidden_layers == [64, 32]


def test_losses_are_there_for_each_epoch_and_agree_with_the_final_ones(default_run: Finished) -> None:
    run = default_run.run
    for name in ("train_loss", "val_loss"):
        points = default_run.client.get_metric_history(run.info.run_id, name)
        assert [point.step for point in points] == list(range(1, 51))
    losses = [point.value for point in points]
    assert run.data.metrics["final_loss"] == losses[-1]
    assert run.data.metrics["best_val_loss"] == min(losses)
    assert losses[int(run.data.metrics["best_epoch"]) - 1] == min(losses)


def test_artifacts_are_those_of_the_contract_and_weigh_at_most_15_mb(default_run: Finished) -> None:
    folder = default_run.artifacts()
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert files.keys() >= ARTIFACTS
    assert sum(files.values()) <= 15e6


def test_scaler_card_and_input_describe_the_data(default_run: Finished) -> None:
    folder, run = default_run.artifacts(), default_run.run
    data = prepare_data(DataConfig())
    scaler = json.loads((folder / "data" / "scaler.json").read_text())
    assert scaler["feature_names"] == list(DEFAULT_FEATURES)
    np.testing.assert_array_equal(scaler["mean"], data.scaler.mean_)
    np.testing.assert_array_equal(scaler["scale"], data.scaler.scale_)
    loaded = skops.io.load(folder / "data" / "scaler.skops")
    np.testing.assert_array_equal(loaded.transform(data.raw[:5]), data.scaler.transform(data.raw[:5]))
    card = json.loads((folder / "data" / "data_card.json").read_text())
    assert card["fingerprint"] == run.data.tags["data.fingerprint"] == data.fingerprint
    assert [card["split"][part]["rows"] for part in ("train", "val", "test")] == [2264, 484, 486]
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("ibm", data.fingerprint)


def test_the_logged_model_predicts_from_unscaled_features_what_the_run_logged(default_run: Finished) -> None:
    data = prepare_data(DataConfig())
    frame = pd.DataFrame(data.raw[data.val.rows], columns=list(data.feature_names))
    model = mlflow.pyfunc.load_model(str(default_run.artifacts() / "model"))
    assert model.metadata.signature.inputs.input_names() == list(DEFAULT_FEATURES)
    logged = pd.read_csv(default_run.artifacts() / "evaluation" / "validation_returns.csv")
    np.testing.assert_allclose(model.predict(frame), logged["forecast"], rtol=0, atol=1e-9)
    shuffled = frame[list(reversed(frame.columns))]
    np.testing.assert_allclose(model.predict(shuffled), logged["forecast"], rtol=0, atol=1e-9)
    assert len(logged) == 484 and logged["date"].iloc[0] == "2009-04-22"


def test_validation_returns_add_up_to_the_metrics(default_run: Finished) -> None:
    with (default_run.artifacts() / "evaluation" / "validation_returns.csv").open() as file:
        rows = list(csv.DictReader(file))
    position = np.array([float(row["position"]) for row in rows])
    forecast = np.array([float(row["forecast"]) for row in rows])
    actual = np.array([float(row["actual"]) for row in rows])
    returns = np.array([float(row["strategy_return"]) for row in rows])
    np.testing.assert_array_equal(position[1:], np.sign(forecast)[:-1])
    paid = 5e-4 * np.abs(np.diff(position, prepend=0.0))
    np.testing.assert_allclose(returns, position * np.expm1(actual) - paid, atol=1e-15)
    metrics = default_run.run.data.metrics
    assert metrics["val_sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(252))
    assert metrics["val_mse"] == pytest.approx(np.mean((forecast - actual) ** 2))


def test_it_leaves_a_store_of_one_file_that_can_be_copied(default_run: Finished) -> None:
    assert (default_run.cwd / "stores.txt").read_text() == "mlflow.db"
