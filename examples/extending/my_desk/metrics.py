"""The gain-to-pain ratio."""

import numpy as np

from tradingbot_exp.plugins import metric


@metric("gain_to_pain")
def gain_to_pain(actual: np.ndarray, forecast: np.ndarray, returns: np.ndarray | None) -> float:
    """Sum of all net returns over the sum of all losses (Schwager, Hedge Fund Market Wizards, 2012)."""
    if returns is None:
        return float("nan")
    losses = -returns[returns < 0].sum()
    return float(returns.sum() / losses) if losses > 0 else float("nan")
