"""The names of metrics, known without loading numpy."""

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
