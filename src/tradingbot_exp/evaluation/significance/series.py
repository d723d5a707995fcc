"""The series that a verdict tests: a value a bar that is above 0 on average where there is skill, and else is not.

Of forecasts it is the centred product of forecast and outcome: it asks whether the forecast *moves with* the outcome,
and neither the market's drift nor the forecast's scale enter. Of returns it is alpha: what is left of them without the
share of the market that they move with.

Both need means, or a slope, and which dates these are of matters. Those of the validation dates themselves hold the
outcomes that are judged, which makes forecasts that oppose long spans of past returns look skilled. Those of the dates
before each date lag behind where the drift changes, which makes persistent forecasts look skilled. No forecast that was
tried profits of both, so each series is taken twice, and the larger of the two p-values counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradingbot_exp.evaluation._arrays import Floats, vectors

LEAST_BEFORE = 60
"""Dates before a fold below which it borrows those after it: a mean, and a slope, take a few."""
_FLAT = 1e-6  # of the largest value: forecasts are kept in single precision


class Before(NamedTuple):
    """Sums over the dates that a trial knew before each fold's bars: train rows, shape (folds, K) each.

    Attributes
    ----------
    dates : ndarray
        How many.
    actual, forecast : ndarray
        Of targets and forecasts.
    market, squares : ndarray
        Of the market's returns, and of their squares; 0 without one-bar returns, as the next two.
    returns, products : ndarray
        Of the trial's net returns, and of these times the market's.
    """

    dates: Floats
    actual: Floats
    forecast: Floats
    market: Floats
    squares: Floats
    returns: Floats
    products: Floats


class Twice(NamedTuple):
    """A series by both kinds of means, shape (n, K) each.

    Attributes
    ----------
    within : ndarray
        By those of the validation dates.
    before : ndarray
        By those of all dates before each date, train dates included.
    """

    within: Floats
    before: Floats


def sums_before(
    actual: ArrayLike, forecast: ArrayLike, market: ArrayLike | None = None, returns: ArrayLike | None = None
) -> Floats:
    """Sum up what `Before` holds of one trial in one fold.

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
        Of the rows that the trial knew before the fold's bars.
    market, returns : array_like, shape (n,), optional
        Simple returns of the market and of the trial; none without one-bar returns.

    Returns
    -------
    ndarray, shape (7,)
        In the order of `Before`.
    """
    a, f = vectors(actual=actual, forecast=forecast)
    earned = np.zeros(4)
    if market is not None and returns is not None:
        m, r = vectors(market=market, returns=returns)
        earned = np.array([m.sum(), m @ m, r.sum(), m @ r])
    return np.concatenate([[a.size, a.sum(), f.sum()], earned])


def forecast_series(
    actual: ArrayLike, forecasts: ArrayLike, before: Before, folds: ArrayLike | None = None, horizon: int = 1
) -> Twice:
    """Return (y − ȳ)(f − f̄) / sd(f), fold by fold.

    Parameters
    ----------
    actual : array_like, shape (n,)
        Targets y, in time order.
    forecasts : array_like, shape (n, K)
        f; finite. One that is constant in a fold has a series of zeros there.
    before : Before
        For the means of the dates before each date.
    folds : array_like of int, shape (n,), optional
        Row of `before` that belongs to each bar; each fold's forecasts are another model's, and centred and scaled by
        themselves. All bars are one fold if not given.
    horizon : int
        Bars after which a target is known: the means before a date are of targets that were known then.

    Returns
    -------
    Twice
        In the target's unit. Zeros where no date is before a date.
    """
    (y,) = vectors(actual=actual)
    f = _columns("forecasts", forecasts, y.size)
    within, earlier = np.zeros(f.shape), np.zeros(f.shape)
    for fold, rows in _folds(folds, y.size):
        a, b = y[rows], f[rows]
        spread = b.std(axis=0)
        moves = np.ptp(b, axis=0) > _FLAT * np.abs(b).max(axis=0)
        scale = np.where(moves, 1 / np.where(moves, spread, 1.0), 0.0)
        within[rows] = (a - a.mean())[:, None] * (b - b.mean(axis=0)) * scale
        dates = before.dates[fold] + _known(np.ones_like(b), horizon)
        some = dates > 0
        divisor = np.where(some, dates, 1.0)
        level = (before.actual[fold] + _known(np.repeat(a[:, None], b.shape[1], axis=1), horizon)) / divisor
        middle = (before.forecast[fold] + _known(b, horizon)) / divisor
        earlier[rows] = np.where(some, (a[:, None] - level) * (b - middle) * scale, 0.0)
    return Twice(within, earlier)


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
        Simple returns. What is nothing but a share of the market is 0 throughout. β is 0 where the market does not
        move.

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
        dates = before.dates[fold] + _known(np.ones_like(earned), 1)
        market_sum = before.market[fold] + _known(np.broadcast_to(held, earned.shape), 1)
        square_sum = before.squares[fold] + _known(np.broadcast_to(held**2, earned.shape), 1)
        return_sum = before.returns[fold] + _known(earned, 1)
        product_sum = before.products[fold] + _known(held * earned, 1)
        covariance = dates * product_sum - market_sum * return_sum
        earlier[rows] = earned - held * _ratio(covariance, dates * square_sum - market_sum**2, dates * square_sum)
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


def _known(values: Floats, lag: int) -> Floats:
    """Sum up, for each bar, the values of the bars that are at least `lag` bars before it."""
    total = np.zeros(values.shape)
    total[lag:] = np.cumsum(values, axis=0)[: max(len(values) - lag, 0)]
    return total


def _ratio(over: Floats, under: Floats, size: Floats) -> Floats:
    """Divide, where what is divided by is more than rounding of `size`; else give 0."""
    some = under > 1e-12 * size
    return np.asarray(np.where(some, over / np.where(some, under, 1.0), 0.0))


def _without_rounding(alpha: Floats, returns: Floats) -> Floats:
    """Take what is left of returns that are a share of the market, but for rounding, as nothing."""
    return np.where(
        np.abs(alpha).max(axis=0, initial=0.0) > 1e-9 * np.abs(returns).max(axis=0, initial=0.0), alpha, 0.0
    )
