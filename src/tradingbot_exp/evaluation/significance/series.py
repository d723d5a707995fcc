"""The series that a verdict tests: a value a bar that is above 0 on average where there is skill, and else is not.

Of forecasts it is the centred product of forecast and outcome: it asks whether the forecast *moves with* the outcome,
and neither the market's drift nor the forecast's scale enter. Of returns it is alpha: what is left of them without the
share of the market that they move with.

Both need means, or a slope, and which dates these are of matters. Those of the validation dates themselves hold the
outcomes that are judged, which makes forecasts that oppose long spans of past returns look skilled. Those that were
known before each date lag behind where the drift changes, which makes persistent forecasts look skilled. No forecast
that was tried profits of both, so each series is taken twice, and the larger of the two p-values counts.

What is known before a date is the mean of the forecasts until then, and of the targets that of the train rows: a mean
of the targets until then would move with forecasts that oppose it. Such forecasts (against the level of prices, on
purged folds) were called real in 30 % of studies by that mean, and by the spread of a fold's own forecasts, which is
small where prices came back; by what is taken here, in 4 %.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradingbot_exp.evaluation._arrays import Floats, vectors
from tradingbot_exp.evaluation.significance.across import Across

LEAST_BEFORE = 60
"""Dates before a date below which it is held against nothing: a mean, and a slope, take a few."""
_NEAR = 61
_FLAT = 1e-6  # of the largest value: forecasts are kept in single precision


class Before(NamedTuple):
    """What a trial knew before each fold's bars, shape (folds, K) each.

    Attributes
    ----------
    level, spread : ndarray
        Mean of the train rows' targets, and standard deviation of their forecasts; of `purged_kfold` these are also
        rows after the fold.
    dates : ndarray
        Train rows before the fold. The rest are sums over these.
    forecast : ndarray
        Of forecasts.
    market, squares : ndarray
        Of the market's returns, and of their squares; 0 without one-bar returns, as the next two.
    returns, products : ndarray
        Of the trial's net returns, and of these times the market's.
    memory : ndarray
        Of a panel, the bars that a block of the trial's forecasts of one symbol takes, on the fold's own bars: see
        `tradingbot_exp.evaluation.significance.across.memory_of`. 0 of one instrument, whose forecasts are kept.
    """

    level: Floats
    spread: Floats
    dates: Floats
    forecast: Floats
    market: Floats
    squares: Floats
    returns: Floats
    products: Floats
    memory: Floats


class Twice(NamedTuple):
    """A series by both kinds of means, shape (n, K) each.

    Attributes
    ----------
    within : ndarray
        By those of the validation dates.
    before : ndarray
        By what was known before each date.
    """

    within: Floats
    before: Floats


def sums_before(  # noqa: PLR0917 - outcomes, forecasts, and what else is known of the same rows
    actual: ArrayLike,
    forecast: ArrayLike,
    market: ArrayLike | None = None,
    returns: ArrayLike | None = None,
    early: ArrayLike | None = None,
    square: ArrayLike | None = None,
    memory: float = 0.0,
) -> Floats:
    """Return what `Before` holds of one trial in one fold.

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
        Of the train rows.
    market, returns : array_like, shape (n,), optional
        Simple returns of the market and of the trial; none without one-bar returns.
    early : array_like of bool, shape (n,), optional
        Which rows are before the fold's bars; all if not given.
    square : array_like, shape (n,), optional
        Of a panel, whose values are means over a date, the mean of the forecasts' squares.
    memory : float
        See `Before`.

    Returns
    -------
    ndarray, shape (9,)
        In the order of `Before`.
    """
    a, f = vectors(actual=actual, forecast=forecast)
    rows = np.ones(a.size, bool) if early is None else np.asarray(early, bool)
    earned = np.zeros(4)
    if market is not None and returns is not None:
        m, r = (each[rows] for each in vectors(market=market, returns=returns))
        earned = np.array([m.sum(), m @ m, r.sum(), m @ r])
    spread = f.std() if square is None else np.sqrt(max(float(np.asarray(square).mean()) - f.mean() ** 2, 0.0))
    return np.concatenate([[a.mean(), spread, rows.sum(), f[rows].sum()], earned, [memory]])


def forecast_series(
    actual: ArrayLike,
    forecasts: ArrayLike,
    before: Before,
    folds: ArrayLike | None = None,
    across: Across | None = None,
) -> Twice:
    """Return (y − ȳ)(f − f̄) / sd(f), fold by fold.

    Parameters
    ----------
    actual : array_like, shape (n,)
        Targets y, in time order.
    forecasts : array_like, shape (n, K)
        f; finite. One that is constant in a fold has a series of zeros there.
    before : Before
        For the means and the spread that were known before each date.
    folds : array_like of int, shape (n,), optional
        Row of `before` that belongs to each bar; each fold's forecasts are another model's, and centred and scaled by
        themselves. All bars are one fold if not given.
    across : Across, optional
        Of a panel, whose outcomes and forecasts are means over a date.

    Returns
    -------
    Twice
        In the target's unit. Zeros where fewer than `LEAST_BEFORE` dates are before a date.
    """
    (y,) = vectors(actual=actual)
    f = _columns("forecasts", forecasts, y.size)
    within, earlier = np.zeros(f.shape), np.zeros(f.shape)
    for fold, rows in _folds(folds, y.size):
        a, b = y[rows], f[rows]
        largest, spread = np.abs(b).max(axis=0), b.std(axis=0)
        moves = np.ptp(b, axis=0) > _FLAT * largest
        if across is not None:
            largest = np.sqrt(across.forecasts[rows].max(axis=0))
            spread = np.sqrt(np.maximum(across.forecasts[rows].mean(axis=0) - b.mean(axis=0) ** 2, 0.0))
            moves = spread > _FLAT * largest
        products = None if across is None else across.products[rows]

        scale = np.where(moves, 1 / np.where(moves, spread, 1.0), 0.0)
        within[rows] = _product(a, b, float(a.mean()), b.mean(axis=0), products) * scale
        known = np.where(before.spread[fold] > _FLAT * largest, before.spread[fold], spread)
        dates = before.dates[fold] + _known(np.ones_like(b))
        middle = (before.forecast[fold] + _known(b)) / np.maximum(dates, 1.0)
        moved = _product(a, b, before.level[fold], middle, products) / np.where(moves, known, 1.0)
        earlier[rows] = np.where(moves & (dates >= LEAST_BEFORE), moved, 0.0)
    return Twice(within, earlier)


def spread_apart(actual: ArrayLike, forecasts: ArrayLike, folds: ArrayLike | None = None) -> Floats:
    """Return the standard deviation that `forecast_series` would have if forecasts and outcome were independent.

    That is, if how large the one is on a bar said nothing of the other: how large both are over the bars around it, as
    volatility is, may hang together. It is the root of the mean of E[(y − ȳ)²] · E[(f − f̄)²] / sd(f)², with means over
    the `_NEAR` bars around each.

    Parameters
    ----------
    actual, forecasts, folds
        See `forecast_series`.

    Returns
    -------
    ndarray, shape (K,)
        In the target's unit; a fold in which a forecast is constant adds nothing.
    """
    (y,) = vectors(actual=actual)
    f = _columns("forecasts", forecasts, y.size)
    total = np.zeros(f.shape[1])
    for _, rows in _folds(folds, y.size):
        a, b = y[rows], f[rows]
        moves = np.ptp(b, axis=0) > _FLAT * np.abs(b).max(axis=0)
        unit = (b - b.mean(axis=0)) / np.where(moves, b.std(axis=0), np.inf)
        total += np.sum(_around((a - a.mean())[:, None] ** 2) * _around(unit**2), axis=0)
    return np.asarray(np.sqrt(total / y.size))


def alpha_series(market: ArrayLike, returns: ArrayLike, before: Before, folds: ArrayLike | None = None) -> Twice:
    """Return r − β·m, fold by fold: what is left of returns without the share of the market that they move with.

    Parameters
    ----------
    market : array_like, shape (n,)
        Simple returns of buy and hold.
    returns : array_like, shape (n, K)
        Net simple returns of each trial, finite.
    before : Before
        For the slope over the dates before each date.
    folds : array_like of int, shape (n,), optional
        See `forecast_series`.

    Returns
    -------
    Twice
        Simple returns. What is nothing but a share of the market is 0 throughout, and so are bars with fewer than
        `LEAST_BEFORE` dates before them. β is 0 where the market does not move.

    References
    ----------
    Jensen (1968), "The performance of mutual funds in the period 1945–1964", Journal of Finance 23(2).
    """
    (m,) = vectors(market=market)
    r = _columns("returns", returns, m.size)
    within, earlier = np.zeros(r.shape), np.zeros(r.shape)
    for fold, rows in _folds(folds, m.size):
        held, earned = m[rows, None], r[rows]
        moves = held - held.mean()
        within[rows] = earned - held * _ratio(
            np.sum(moves * earned, axis=0), np.sum(moves**2, axis=0), np.sum(held**2, axis=0)
        )
        dates = before.dates[fold] + _known(np.ones_like(earned))
        market_sum = before.market[fold] + _known(np.broadcast_to(held, earned.shape))
        square_sum = before.squares[fold] + _known(np.broadcast_to(held**2, earned.shape))
        return_sum = before.returns[fold] + _known(earned)
        product_sum = before.products[fold] + _known(held * earned)
        covariance = dates * product_sum - market_sum * return_sum
        slope = _ratio(covariance, dates * square_sum - market_sum**2, dates * square_sum)
        earlier[rows] = np.where(dates >= LEAST_BEFORE, earned - held * slope, 0.0)
    return Twice(_without_rounding(within, r), _without_rounding(earlier, r))


def centred(values: Floats, folds: NDArray[np.intp]) -> Floats:
    """Return each value less the mean of its fold, shape (n,)."""
    return values - (np.bincount(folds, values) / np.maximum(np.bincount(folds), 1))[folds]


def _columns(name: str, values: ArrayLike, bars: int) -> Floats:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) != bars or not np.isfinite(matrix).all():
        raise ValueError(f"{name} has the shape {matrix.shape}; expected finite numbers of the shape ({bars}, trials).")
    return matrix


def _folds(folds: ArrayLike | None, bars: int) -> list[tuple[int, NDArray[np.intp]]]:
    """Return each fold with its bars."""
    numbers = np.zeros(bars, np.intp) if folds is None else np.asarray(folds, np.intp)
    return [(int(fold), np.flatnonzero(numbers == fold)) for fold in np.unique(numbers)]


def _product(a: Floats, b: Floats, level: Floats | float, middle: Floats, products: Floats | None) -> Floats:
    """Return (y − level)(f − middle) of outcomes and forecasts; of means over symbols, from that of their products."""
    if products is None:
        return np.asarray((a[:, None] - level) * (b - middle))
    return np.asarray(products - level * b - middle * a[:, None] + level * middle)


def _known(values: Floats) -> Floats:
    """Sum up, for each bar, the values of the bars before it."""
    return np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)[:-1]])


def _around(values: Floats) -> Floats:
    """Return the mean over the `_NEAR` bars around each bar, or what there is of them."""
    total, bars = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)]), np.arange(len(values))
    first, last = np.maximum(bars - _NEAR // 2, 0), np.minimum(bars + _NEAR // 2 + 1, len(values))
    return np.asarray((total[last] - total[first]) / (last - first)[:, None])


def _ratio(over: Floats, under: Floats, size: Floats) -> Floats:
    """Divide, where what is divided by is more than rounding of `size`; else give 0."""
    some = under > 1e-12 * size
    return np.asarray(np.where(some, over / np.where(some, under, 1.0), 0.0))


def _without_rounding(alpha: Floats, returns: Floats) -> Floats:
    """Take what is left of returns that are a share of the market, but for rounding, as nothing."""
    return np.where(
        np.abs(alpha).max(axis=0, initial=0.0) > 1e-9 * np.abs(returns).max(axis=0, initial=0.0), alpha, 0.0
    )
