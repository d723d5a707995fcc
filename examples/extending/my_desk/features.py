"""Three features of bars: the overnight gap, a slow momentum, and one that learns from the train bars."""

import numpy as np
import pandas as pd

from tradingbot_exp.data.features import feature
from tradingbot_exp.data.fitted import fitted_feature


@feature("overnight_gap")
def overnight_gap(bars: pd.DataFrame) -> pd.Series:
    """ln(O / C₋₁): known at the open, so at the close too."""
    return np.log(bars["open"] / bars["close"].shift(1))


@feature("momentum_120", warmup=120)
def momentum_120(bars: pd.DataFrame) -> pd.Series:
    """ln(C / C₋₁₂₀)."""
    return np.log(bars["close"] / bars["close"].shift(120))


@fitted_feature("range_rank")
class RangeRank:
    """The share of the train bars whose range, ln(H / L), was below the bar's own."""

    def fit(self, bars: pd.DataFrame) -> None:
        """Remember the ranges of the train bars, sorted."""
        self.ranges = np.sort(np.log(bars["high"] / bars["low"]).to_numpy())

    def transform(self, bars: pd.DataFrame) -> pd.Series:
        """Give each bar's place among them, from 0 to 1."""
        own = np.log(bars["high"] / bars["low"])
        return pd.Series(np.searchsorted(self.ranges, own) / len(self.ranges), bars.index)
