"""The names of metrics, and what a target is called, known without loading numpy."""

from __future__ import annotations

from collections.abc import Mapping

FORECAST_METRICS = ("mse", "mae", "r2", "ic", "rank_ic", "hit_rate")
STRATEGY_METRICS = ("sharpe", "sortino", "max_drawdown", "turnover", "cagr", "calmar")
LAGS = (0, 1)
"""Execution lags whose results stand side by side, whatever `evaluation.execution_lag` is."""
LAGGED_METRICS = tuple(f"{name}_lag{lag}" for name in ("sharpe", "cagr") for lag in LAGS)
BACKTEST_METRICS = (*STRATEGY_METRICS, *LAGGED_METRICS, "buy_hold_sharpe", "buy_hold_cagr")
METRICS = (*FORECAST_METRICS, "zero_mse", *BACKTEST_METRICS)
OWN_METRICS = (*FORECAST_METRICS, *STRATEGY_METRICS)
"""Metrics that are the model's own, at the lag that was asked for."""
TRAIN_METRICS = (*FORECAST_METRICS, "sharpe")
"""Metrics that are logged for the train rows too: beside those of validation they show what was learned by heart."""

OBJECTIVES = (
    *("val_loss", "train_loss", "final_loss", "best_val_loss"),
    *(f"val_{name}" for name in OWN_METRICS),
)
"""What a study may search for: the losses, and the validation metrics that are the model's own."""


BASELINES = ("linear_mse", "linear_ic", "linear_sharpe", "train_mean_mse")
"""Metrics of rivals that are fitted; `METRICS` holds those of rivals that need no fit."""


SCHEMES = ("chronological", "walk_forward", "purged_kfold")
WINDOWS = ("expanding", "rolling")
AGGREGATES = ("mean", "worst", "mean_less_std")
"""How `hpo.metric` is made of its values in the folds."""


def neutral_forecast(loss: str, target: str) -> float:
    """Give the forecast that takes no side: halfway for 0/1 targets, else zero.

    Parameters
    ----------
    loss, target : str
        ``training.loss`` and ``data.target``.
    """
    return 0.5 if loss == "bce" or target == "direction" else 0.0


NAIVE = {0.0: "zero forecast", 0.5: "coin flip"}
"""What reports call the forecast that takes no side, by its value."""


def naive_name(params: Mapping[str, object]) -> str:
    """Name the forecast that takes no side, by a run's params.

    Parameters
    ----------
    params : mapping of str
        ``training.loss`` and ``data.target`` are read; one that is not there has its default.
    """
    loss, target = params.get("training.loss", "mse"), params.get("data.target", "return")
    return NAIVE[neutral_forecast(str(loss), str(target))]


def target_unit(source: str, target: str, horizon: int) -> str:
    """Name what is forecast, with its unit.

    Parameters
    ----------
    source, target : str
        ``data.source`` and ``data.target``.
    horizon : int
        Bars ahead.
    """
    if source == "table":
        return target
    if target == "direction":
        return "probability of a rise"
    return f"log return over {'the next bar' if horizon == 1 else f'the next {horizon} bars'}"
