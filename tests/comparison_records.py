"""Runs for tests of the comparison: records with forecasts of one random market, made as a run makes them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from tradingbot_exp.data.panel import Layout
from tradingbot_exp.evaluation.metrics import backtest
from tradingbot_exp.evaluation.metrics.forecast import mse
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.tracking.reading.records import TrainingRecord
from tradingbot_exp.tracking.reading.run_record import Artifacts, Curve, RunRecord

BARS = 300
DATES = pd.bdate_range("2020-01-01", periods=BARS)
MARKET = np.random.default_rng(0).normal(0.0004, 0.01, BARS)
PARAMS = {
    "seed": "42",
    "data.name": "ibm",
    "data.target": "return",
    "data.horizon": "1",
    "data.split.train": "0.7",
    "model.name": "mlp",
    "model.learning_rate": "0.001",
    "training.learning_rate": "0.001",
    "training.loss": "mse",
    "evaluation.cost_bps": "5.0",
    "evaluation.execution_lag": "1",
    "evaluation.periods_per_year": "252",
    "tracking.uri": "sqlite:///mlflow.db",
}
TAGS = {"data.fingerprint": "3513f4f719e9", "mlflow.source.git.commit": "0123456789abcdef", "git.dirty": "false"}


def forecasts(skill=0.0, seed=1, market=MARKET, dates=DATES):
    """Give the table of validation forecasts whose error is `1 - skill` of the market's moves, plus a little noise."""
    noise = np.random.default_rng(seed).normal(0, 0.003, len(market))
    forecast = skill * market + noise
    layout = Layout.of_one(len(market))
    position = Rules(lag=0).positions(forecast, layout)
    return pd.DataFrame(
        {
            "date": dates,
            "actual": market,
            "forecast": forecast,
            "position": position,
            "next_log_return": market,
            "strategy_return": Rules().earned(position, market, layout).net,
            "buy_hold_return": np.expm1(market),
        }
    )


def made(name="run", predictions=None, params=None, tags=None, **fields):
    """Give a finished run's record; its metrics are those of `predictions`, and `fields` replace those of the run."""
    metrics = {}
    if predictions is not None and "forecast" in predictions and np.isfinite(predictions.iloc[:, 1:]).all(axis=None):
        metrics = {
            "val_mse": mse(predictions["actual"], predictions["forecast"]),
            "val_sharpe": backtest.sharpe(predictions["strategy_return"], 252),
            "val_zero_mse": mse(predictions["actual"], 0 * predictions["actual"]),
            "val_buy_hold_sharpe": backtest.sharpe(predictions["buy_hold_return"], 252),
        }
    started = datetime(2026, 11, 24, tzinfo=UTC)
    run = RunRecord(
        run_id=f"id-{name}",
        name=name,
        experiment_id="1",
        experiment="tradingbot",
        kind="training",
        status="FINISHED",
        started=started,
        ended=started + timedelta(seconds=12),
        params=PARAMS | (params or {}),
        tags=TAGS | (tags or {}),
        metrics=metrics,
        curves={"val_loss": Curve((1, 2, 3), (0.3, 0.1, 0.2))},
    )
    return TrainingRecord(replace(run, **fields), Artifacts(predictions=predictions))


def foreign(name="other", metrics=None):
    """Give a run that something else logged: a few params and metrics."""
    given = {"accuracy": 0.5} if metrics is None else metrics
    record = made(name, kind="", metrics=given, curves={})
    return replace(record, run=replace(record.run, params={"lr": "0.1"}, tags={}))


def with_artifacts(record, **artifacts):
    """Give the record with other artifacts."""
    return replace(record, artifacts=replace(record.artifacts, **artifacts))
