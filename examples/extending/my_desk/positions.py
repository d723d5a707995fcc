"""Positions in quiet times alone."""

import numpy as np

from tradingbot_exp.evaluation.positions import Signals
from tradingbot_exp.plugins import position


@position("cautious")
def cautious(signals: Signals) -> np.ndarray:
    """Hold the forecast in standard deviations, within ± `max_position`, where volatility is below twice its target."""
    size = np.clip(signals.score / signals.spread, -signals.sizing.max_position, signals.sizing.max_position)
    return np.where(signals.volatility < 2 * signals.sizing.vol_target, size, 0.0)
