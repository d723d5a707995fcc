"""How near a forecast came: errors, correlations and signs, one number each.

Every function takes vectors of shape (n,), a value a bar in time order, and returns a float. NaN or an
infinity in an input raises `ValueError` with the argument's name. A number that is not defined for its input
comes back as ``nan``, never as 0; each function says when.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradingbot_exp.evaluation._arrays import Floats, is_constant, vectors


def mse(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Mean squared error, mean((actual − forecast)²).

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
        In the target's unit.

    Returns
    -------
    float
        In the target's unit squared; ``nan`` for no bars, ``inf`` where a square is too large for a float.

    References
    ----------
    Hyndman & Koehler (2006), "Another look at measures of forecast accuracy", International Journal of Forecasting
    22(4), section 2.1.
    """
    a, f = vectors(actual=actual, forecast=forecast)
    with np.errstate(over="ignore"):
        return float(np.mean((a - f) ** 2)) if a.size else float("nan")


def mae(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Mean absolute error, mean(|actual − forecast|).

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
        In the target's unit.

    Returns
    -------
    float
        In the target's unit; ``nan`` for no bars.

    References
    ----------
    Hyndman & Koehler (2006), see `mse`.
    """
    a, f = vectors(actual=actual, forecast=forecast)
    return float(np.mean(np.abs(a - f))) if a.size else float("nan")


def r2(actual: ArrayLike, forecast: ArrayLike, reference_mean: float) -> float:
    """Out-of-sample R², 1 − Σ(actual − forecast)² / Σ(actual − reference_mean)².

    The rival is the mean of the *train* target, which was known beforehand, and not the mean of `actual`,
    which was not; so a forecast that stays at the train mean scores exactly 0.

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
        In the target's unit.
    reference_mean : float
        Mean of the target over the train rows.

    Returns
    -------
    float
        At most 1, unbounded below; ``nan`` if every actual equals the reference (or there are no bars).

    References
    ----------
    Campbell & Thompson (2008), "Predicting excess stock returns out of sample", Review of Financial Studies
    21(4), equation 2; there with the mean of all bars up to each one.
    """
    if not np.isfinite(reference_mean):
        raise ValueError(f"reference_mean is {reference_mean}; expected the finite mean of the train target.")
    a, f = vectors(actual=actual, forecast=forecast)
    with np.errstate(over="ignore"):
        residual, total = float(np.sum((a - f) ** 2)), float(np.sum((a - reference_mean) ** 2))
    return 1.0 - residual / total if total > 0 else float("nan")


def ic(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Information coefficient: Pearson's correlation of forecast and actual.

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
        In any unit.

    Returns
    -------
    float
        Between −1 and 1; ``nan`` for fewer than 2 bars, or if either is constant.

    References
    ----------
    Grinold & Kahn (1999), "Active Portfolio Management", chapter 6.
    """
    a, f = vectors(actual=actual, forecast=forecast)
    if is_constant(a) or is_constant(f):
        return float("nan")
    a, f = _unit(a), _unit(f)
    return float(np.clip(a @ f, -1.0, 1.0))


def rank_ic(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Rank information coefficient: Spearman's correlation, ties given their average rank.

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
        In any unit: only the order counts.

    Returns
    -------
    float
        Between −1 and 1; ``nan`` for fewer than 2 bars, or if either is constant.

    References
    ----------
    Spearman (1904), "The proof and measurement of association between two things", American Journal of Psychology
    15(1); Grinold & Kahn (1999), see `ic`.
    """
    a, f = vectors(actual=actual, forecast=forecast)
    return ic(ranks(places(a)), ranks(places(f)))


def hit_rate(actual: ArrayLike, forecast: ArrayLike, threshold: float = 0.0) -> float:
    """Share of bars whose forecast lies on the same side of the threshold as the actual value.

    A bar whose actual value is the threshold itself went nowhere and is left out. A forecast that is the
    threshold itself took no side and is a miss: left out, it would flatter a model that seldom speaks.

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
        In the target's unit.
    threshold : float
        0 for returns, 0.5 for directions (0 or 1, and the probability of 1).

    Returns
    -------
    float
        Between 0 and 1; ``nan`` if no bar's actual value is off the threshold.

    References
    ----------
    Pesaran & Timmermann (1992), "A simple nonparametric test of predictive performance", Journal of Business &
    Economic Statistics 10(4): the proportion of times that the sign is predicted correctly.
    """
    a, f = vectors(actual=actual, forecast=forecast)
    moved = a != threshold
    if not moved.any():
        return float("nan")
    return float(np.mean(np.sign(a[moved] - threshold) == np.sign(f[moved] - threshold)))


def _unit(values: Floats) -> Floats:
    """Centre a vector that is not constant and give it length 1, safe from under- and overflow."""
    scaled = values / np.max(np.abs(values))
    centred = scaled - scaled.mean()
    centred /= np.max(np.abs(centred))
    return np.asarray(centred / np.linalg.norm(centred))


def places(values: Floats) -> NDArray[np.intp]:
    """Return the place of each value among those that differ, ascending, from 0."""
    return np.unique(values, return_inverse=True)[1]


def ranks(of: NDArray[np.intp]) -> Floats:
    """Rank values from 1 to n by their `places`, or some of them; equal ones share the mean of the ranks they span."""
    count = np.bincount(of)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[of], dtype=np.float64)
