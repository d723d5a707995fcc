"""Which features a fitted model leans on, found by shuffling them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradingbot_exp.evaluation._arrays import Floats, vectors
from tradingbot_exp.evaluation.metrics.forecast import mse

MAX_BATCH_VALUES = 2**23
"""Values in the largest array handed to `predict` (32 MB as float32), unless `X` itself is larger."""


@dataclass(frozen=True, eq=False)
class Importance:
    """Increase of the loss when each feature is shuffled.

    Attributes
    ----------
    names : tuple of str
        Features in the order of the columns.
    mean : ndarray, shape (F,)
        Mean increase over the repeats, in the loss's unit; below 0 where the model does better without.
    std : ndarray, shape (F,)
        Standard deviation over the repeats (ddof 1); ``nan`` for a single repeat.
    baseline : float
        Loss on the untouched rows.
    """

    names: tuple[str, ...]
    mean: Floats
    std: Floats
    baseline: float


def permutation_importance(
    predict: Callable[[NDArray[Any]], NDArray[Any]],
    X: NDArray[Any],
    y: ArrayLike,
    feature_names: Sequence[str],
    *,
    n_repeats: int = 5,
    seed: int = 0,
    loss: Callable[[Floats, Floats], float] = mse,
) -> Importance:
    """Measure each feature by how much worse the forecast gets when the feature is shuffled over the rows.

    A window of bars moves as a whole: row i gets another row's path of the feature, in its order in time.
    Features that stand in for each other share their importance, so each of them can look unimportant.

    Parameters
    ----------
    predict : callable
        From an array like `X` with any number of rows to one forecast a row, shape (rows,) or (rows, 1). Each
        row's forecast must depend on that row alone (a torch model: in ``eval`` mode).
    X : ndarray, shape (n, F) or (n, L, F)
        Inputs; never modified, so a read-only strided view will do.
    y : array_like, shape (n,)
        Targets.
    feature_names : sequence of str, length F
        Names of the last axis.
    n_repeats : int
        Shuffles of each feature, at least 1.
    seed : int
        Seed of the shuffles: the same seed gives the same numbers.
    loss : callable
        ``loss(y, forecast)``, lower is better.

    Returns
    -------
    Importance
        In the order of the columns.

    Raises
    ------
    ValueError
        Shapes do not fit together, or a target or forecast is NaN or infinite.

    References
    ----------
    Breiman (2001), "Random forests", Machine Learning 45, section 10; Fisher, Rudin & Dominici (2019), "All
    models are wrong, but many are useful", JMLR 20(177), section 3, as a difference.
    """
    (target,) = vectors(y=y)
    rows = len(target)
    if X.ndim not in (2, 3) or len(X) != rows or X.shape[-1] != len(feature_names):
        raise ValueError(
            f"X has the shape {X.shape}; expected ({rows}, {len(feature_names)}) or "
            f"({rows}, L, {len(feature_names)}) for {rows} targets and {len(feature_names)} feature names."
        )
    if n_repeats < 1:
        raise ValueError(f"n_repeats is {n_repeats}; expected at least 1.")
    if rows == 0:
        raise ValueError("X has no rows; expected at least 1 to measure a loss.")

    def losses(batch: NDArray[Any], copies: int) -> list[float]:
        forecast = np.asarray(predict(batch), dtype=np.float64)
        if forecast.size != copies * rows:
            raise ValueError(
                f"predict gave the shape {forecast.shape} for {copies * rows} rows; expected one value a row."
            )
        return [float(loss(target, part)) for part in forecast.reshape(copies, rows)]

    (baseline,) = losses(X.copy(), 1)
    rng = np.random.default_rng(seed)
    at_once = max(1, min(n_repeats, MAX_BATCH_VALUES // max(X.size, 1)))
    batch = np.concatenate([X] * at_once)  # one buffer: a column is shuffled, judged, and put back
    increase = np.empty((len(feature_names), n_repeats))
    for column in range(len(feature_names)):
        values = X[..., column]
        for start in range(0, n_repeats, at_once):
            copies = min(at_once, n_repeats - start)
            order = np.concatenate([rng.permutation(rows) for _ in range(copies)])
            part = batch[: copies * rows]
            part[..., column] = values[order]
            increase[column, start : start + copies] = losses(part, copies)
            part[..., column] = np.concatenate([values] * copies)
    increase -= baseline
    std = increase.std(axis=1, ddof=1) if n_repeats > 1 else np.full(len(feature_names), np.nan)
    return Importance(tuple(feature_names), increase.mean(axis=1), std, baseline)
