"""The names of metrics, and what a target is called, known without loading numpy."""

from __future__ import annotations

BACKTEST_METRICS = ("sharpe", "sortino", "max_drawdown", "turnover", "buy_hold_sharpe")
METRICS = (
    "mse",
    "mae",
    "r2",
    "ic",
    "rank_ic",
    "hit_rate",
    *BACKTEST_METRICS[:4],
    "zero_mse",
    "buy_hold_sharpe",
)

OBJECTIVES = (
    *("val_loss", "train_loss", "final_loss", "best_val_loss"),
    *(f"val_{name}" for name in METRICS if name not in ("zero_mse", "buy_hold_sharpe")),
)
"""What a study may search for: the losses, and the validation metrics that are the model's own."""


BASELINES = ("linear_mse", "linear_ic", "linear_sharpe", "train_mean_mse")
"""Metrics of rivals that are fitted; `METRICS` holds those of rivals that need no fit."""


def neutral_forecast(loss: str, target: str) -> float:
    """Give the forecast that takes no side: halfway for 0/1 targets, else zero.

    Parameters
    ----------
    loss, target : str
        ``training.loss`` and ``data.target``.
    """
    return 0.5 if loss == "bce" or target == "direction" else 0.0


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
