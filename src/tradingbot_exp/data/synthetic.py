"""Seeded synthetic bars with a known amount of signal, to see whether a pipeline finds what is there.

With σ = 0.01 and independent standard normal ε, the log return of a bar is an AR(1) process of coefficient
φ = ``data.synthetic.signal``::

    r[0] = σ ε[0],   r[t] = φ r[t−1] + σ √(1 − φ²) ε[t]

so its standard deviation is σ whatever φ is, and φ = 0 is a random walk. The best forecast of r[t+1] is
φ r[t], a multiple of the feature ``ret_1``. Its information coefficient (Pearson) is |φ|, its R² is φ²
(0.3 gives 0.3 and 0.09); nothing can do better. The forecast 0 has R² 0.

A panel, ``data.synthetic.symbols`` of 2 and more, adds a market that cannot be forecast: with m[t] = σ ε′[t] and each
symbol's own AR(1) process u as r above, the log return of a symbol is √½ (m[t] + u[t]). What a symbol returns more than
the mean of all is then forecast best by φ times what it returned more before: across the symbols of a date that has an
information coefficient of |φ|, however many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradingbot_exp.data.cells import FloatArray

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import SyntheticConfig

SIGMA = 0.01
_START = "2000-01-03"


def synthetic_bars(config: SyntheticConfig) -> pd.DataFrame:
    """Draw the bars of one seed; more bars extend the same path.

    Returns
    -------
    pandas.DataFrame
        ``open high low close volume`` (float64) on business days from 2000-01-03. A bar opens near the last
        close, and its range grows from the larger of open and close; volume is log-normal around 1e6.
    """
    noise = np.random.default_rng(config.seed).standard_normal((config.bars, 5))
    return _bars(_returns(noise, config.signal), noise)


def synthetic_panel(config: SyntheticConfig) -> dict[str, pd.DataFrame]:
    """Draw the bars of several symbols, S001 and on: see `synthetic_bars`. More leave the others as they are."""
    width = max(len(str(config.symbols)), 3)
    market = SIGMA * np.random.default_rng([config.seed, 0]).standard_normal(config.bars)
    panel = {}
    for number in range(1, config.symbols + 1):
        noise = np.random.default_rng([config.seed, number]).standard_normal((config.bars, 5))
        panel[f"S{number:0{width}d}"] = _bars(np.sqrt(0.5) * (market + _returns(noise, config.signal)), noise)
    return panel


def synthetic_card(config: SyntheticConfig) -> dict[str, Any]:
    """Describe the process: see `tradingbot_exp.data.sources.Bars`."""
    process = "a market and AR(1) log returns" if config.symbols > 1 else "AR(1) log returns"
    symbols = f"symbols={config.symbols}, " if config.symbols > 1 else ""
    return {
        "description": f"{process}, see tradingbot_exp.data.synthetic",
        "source": f"synthetic: {symbols}bars={config.bars}, signal={config.signal}, seed={config.seed}",
        "licence": "none needed",
        "adjustment": "none",
    }


def _returns(noise: FloatArray, phi: float) -> FloatArray:
    """Return the process of the module's docstring, shape (n,)."""
    returns = SIGMA * noise[:, 0]
    for t in range(1, len(noise)):
        returns[t] = phi * returns[t - 1] + np.sqrt(1 - phi**2) * returns[t]
    return returns


def _bars(returns: FloatArray, noise: FloatArray) -> pd.DataFrame:
    close = 100 * np.exp(np.cumsum(returns))
    before = np.concatenate([[100.0], close[:-1]])
    opened = before * np.exp(0.2 * SIGMA * noise[:, 1])
    high = np.maximum(opened, close) * np.exp(0.5 * SIGMA * np.abs(noise[:, 2]))
    low = np.minimum(opened, close) * np.exp(-0.5 * SIGMA * np.abs(noise[:, 3]))
    volume = np.round(1e6 * np.exp(0.3 * noise[:, 4]))
    index = pd.bdate_range(_START, periods=len(returns), name="date").as_unit("ns")
    return pd.DataFrame({"open": opened, "high": high, "low": low, "close": close, "volume": volume}, index=index)
