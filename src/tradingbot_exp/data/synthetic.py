"""Seeded synthetic bars with a known amount of signal, to see whether a pipeline finds what is there.

With σ = 0.01 and independent standard normal ε, the log return of a bar is an AR(1) process of coefficient
φ = ``data.synthetic.signal``::

    r[0] = σ ε[0],   r[t] = φ r[t−1] + σ √(1 − φ²) ε[t]

so its standard deviation is σ whatever φ is, and φ = 0 is a random walk. The best forecast of r[t+1] is
φ r[t], a multiple of the feature ``ret_1``. Its information coefficient (Pearson) is |φ|, its R² is φ²
(0.3 gives 0.3 and 0.09); nothing can do better. The forecast 0 has R² 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradingbot_exp.config.facts import wrong

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import SyntheticConfig

SIGMA = 0.01
_START = "2000-01-03"
_MOST_BARS = 68_000  # business days from the start to the end of what nanosecond timestamps reach


def synthetic_bars(config: SyntheticConfig) -> pd.DataFrame:
    """Draw the bars of one seed; more bars extend the same path.

    Returns
    -------
    pandas.DataFrame
        ``open high low close volume`` (float64) on business days from 2000-01-03. A bar opens near the last
        close, and its range grows from the larger of open and close; volume is log-normal around 1e6.

    Raises
    ------
    ConfigError
        If ``bars`` or ``signal`` is out of range.
    """
    n, phi = config.bars, config.signal
    if not 2 <= n <= _MOST_BARS:
        raise wrong("data.synthetic.bars", f"2 to {_MOST_BARS}", n)
    if not -1 < phi < 1:
        raise wrong("data.synthetic.signal", "between -1 and 1, both excluded", phi)
    noise = np.random.default_rng(config.seed).standard_normal((n, 5))
    returns = SIGMA * noise[:, 0]
    for t in range(1, n):
        returns[t] = phi * returns[t - 1] + np.sqrt(1 - phi**2) * returns[t]
    close = 100 * np.exp(np.cumsum(returns))
    before = np.concatenate([[100.0], close[:-1]])
    opened = before * np.exp(0.2 * SIGMA * noise[:, 1])
    high = np.maximum(opened, close) * np.exp(0.5 * SIGMA * np.abs(noise[:, 2]))
    low = np.minimum(opened, close) * np.exp(-0.5 * SIGMA * np.abs(noise[:, 3]))
    volume = np.round(1e6 * np.exp(0.3 * noise[:, 4]))
    index = pd.bdate_range(_START, periods=n, name="date").as_unit("ns")
    return pd.DataFrame({"open": opened, "high": high, "low": low, "close": close, "volume": volume}, index=index)
