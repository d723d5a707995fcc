"""Two features of bars: the overnight gap, and a slow momentum."""

import numpy as np
import pandas as pd

from tradingbot_exp.data.features import feature


@feature("overnight_gap")
def overnight_gap(bars: pd.DataFrame) -> pd.Series:
    """ln(O / C₋₁): known at the open, so at the close too."""
    return np.log(bars["open"] / bars["close"].shift(1))


@feature("momentum_120", warmup=120)
def momentum_120(bars: pd.DataFrame) -> pd.Series:
    """ln(C / C₋₁₂₀)."""
    return np.log(bars["close"] / bars["close"].shift(120))
