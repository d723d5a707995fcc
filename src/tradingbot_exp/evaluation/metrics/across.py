"""How well forecasts order the symbols of a date: correlations across symbols, date by date.

A series of such correlations has a value for each date that has enough symbols; its statistics are ``nan`` where they
are not defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradingbot_exp.evaluation._arrays import Floats, is_constant

if TYPE_CHECKING:
    from tradingbot_exp.data.panel import Layout

_LAGS = 5


def known(series: Floats) -> Floats:
    """Return the correlations of the dates that have one, in time order: see `by_date`."""
    return series[np.isfinite(series)]


def by_date(actual: Floats, forecast: Floats, layout: Layout, least: int) -> Floats:
    """Return Pearson's correlation over the symbols of each date, shape (dates,).

    Parameters
    ----------
    actual, forecast : ndarray, shape (n,)
    layout : Layout
    least : int
        Symbols that a date takes; others have NaN, and so have those on which either is constant.
    """
    if not len(layout):
        return np.empty(0)

    sums = layout.sums
    moves = [values - layout.means(values)[layout.days] for values in (actual, forecast)]
    # Rounding is all that is left where all symbols of a date are alike.
    some = [
        sums(each**2) > (1e-12 * sums(np.abs(values))) ** 2
        for each, values in zip(moves, (actual, forecast), strict=True)
    ]
    kept = (layout.counts >= max(least, 2)) & some[0] & some[1]
    size = np.sqrt(sums(moves[0] ** 2) * sums(moves[1] ** 2))
    found = np.full(len(kept), np.nan)
    found[kept] = np.clip(sums(moves[0] * moves[1])[kept] / size[kept], -1.0, 1.0)
    return found


def mean(series: Floats) -> float:
    """Mean over dates."""
    return float(series.mean()) if series.size else float("nan")


def ratio(series: Floats) -> float:
    """Mean over dates / standard deviation (ddof 1), not annualised.

    References
    ----------
    Grinold & Kahn (1999), "Active Portfolio Management", chapter 6, for the information ratio of which it is the
    cross-sectional form.
    """
    return float("nan") if is_constant(series) else float(series.mean() / series.std(ddof=1))


def t_value(series: Floats, horizon: int) -> float:
    """Return the mean over dates / its standard error of Newey and West, with max(5, horizon − 1) lags.

    References
    ----------
    Newey & West (1987), "A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent covariance
    matrix", Econometrica 55(3), equation 5, for a mean: Bartlett's kernel, no small-sample factor.
    """
    if is_constant(series):
        return float("nan")
    moves, n = series - series.mean(), series.size
    lags = min(max(_LAGS, horizon - 1), n - 1)
    variance = float(moves @ moves) / n
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(moves[lag:] @ moves[:-lag]) / n
    return float(series.mean() / np.sqrt(variance / n)) if variance > 0 else float("nan")
