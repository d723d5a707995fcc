"""What simple rivals make of the same rows: a linear model of the same inputs, and the mean of the train target."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradingbot_exp.config.metrics import LINEAR
from tradingbot_exp.evaluation._arrays import Floats, vectors
from tradingbot_exp.evaluation.metrics.evaluate import Evaluation, judge_rows
from tradingbot_exp.evaluation.metrics.forecast import mse
from tradingbot_exp.evaluation.positions import spread_of
from tradingbot_exp.evaluation.rules import Rules

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.data.splits import Block

_CHUNK_VALUES = 2**23  # of float64 inputs in memory at once: 64 MB
_fitted: WeakKeyDictionary[PreparedData, LinearModel] = WeakKeyDictionary()
_spreads: WeakKeyDictionary[PreparedData, float] = WeakKeyDictionary()
_Kept = tuple[dict[str, float], dict[str, str]]
_validated: WeakKeyDictionary[PreparedData, dict[Rules, _Kept]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A linear forecast, ``intercept + x · weights``.

    Attributes
    ----------
    weights : ndarray, shape (K,)
        One for each input value; of windows (L, F) in C order, the oldest bar first.
    intercept : float
    """

    weights: Floats
    intercept: float

    def predict(self, X: NDArray[Any]) -> Floats:
        """Forecast each row of `X`, shape (n, F) or (n, L, F); gives shape (n,), float64."""
        parts = [part @ self.weights for part in _chunks(X)]
        return np.concatenate([np.empty(0), *parts]) + self.intercept


def fit_linear(X: NDArray[Any], y: ArrayLike) -> LinearModel:
    """Fit ordinary least squares with an intercept; of the best weights take the shortest.

    Inputs that are constant, or combinations of others, do no harm: where several sets of weights are best, the
    one of least norm is taken. Rows are read in blocks, which are reduced to their triangular factors (a QR
    decomposition a block), so that windows of a long series never stand in memory at once.

    Parameters
    ----------
    X : ndarray, shape (n, F) or (n, L, F)
        Inputs, any float dtype; computed in float64.
    y : array_like, shape (n,)
        Targets; at least one.

    Raises
    ------
    ValueError
        There are no rows, or their numbers differ, or a value is not finite.

    References
    ----------
    Golub & Van Loan (2013), "Matrix Computations", 4th ed., sections 5.3 and 5.5; Demmel et al. (2012),
    "Communication-optimal parallel and sequential QR", for the blocks.
    """
    (target,) = vectors(y=y)
    if not len(target) or len(X) != len(target):
        raise ValueError(f"X has {len(X)} rows and y {len(target)}; expected the same, at least 1.")
    columns = math.prod(X.shape[1:])
    mean = np.sum([part.sum(axis=0) for part in _chunks(X)], axis=0) / len(X)
    level = float(target.mean())
    factor: Floats = np.empty((0, columns + 1))
    start = 0
    for part in _chunks(X):
        centred = np.column_stack([part - mean, target[start : start + len(part)] - level])
        factor = np.asarray(np.linalg.qr(np.vstack([factor, centred]), mode="r"), dtype=np.float64)
        start += len(part)
    # As numpy's and scikit-learn's own cut-off: by the size of the whole problem, not of its triangle.
    cutoff = float(np.finfo(np.float64).eps) * max(len(X), columns)
    weights: Floats = np.asarray(np.linalg.lstsq(factor[:, :-1], factor[:, -1], rcond=cutoff)[0], dtype=np.float64)
    return LinearModel(weights, level - float(mean @ weights))


def linear_model(data: PreparedData) -> LinearModel:
    """Fit the linear model to the train rows of `data`, once a process for all jobs that share them.

    It sees what a model sees: scaled features, of sequences the whole window; in float64 whatever the precision.
    """
    if data not in _fitted:
        _fitted[data] = fit_linear(data.inputs(data.train, np.float64), data.targets(data.train))
    return _fitted[data]


def linear_spread(data: PreparedData) -> float:
    """Return the `spread_of` the linear model's forecasts of the train rows, computed once as the model is."""
    if data not in _spreads:
        _spreads[data] = spread_of(linear_model(data).predict(data.inputs(data.train, np.float64)))
    return _spreads[data]


def validated_baselines(data: PreparedData, rules: Rules) -> _Kept:
    """Return the `baseline_metrics` of the validation rows, computed once as the model is."""
    known = _validated.setdefault(data, {})
    if rules not in known:
        known[rules] = baseline_metrics(judge_linear(data, data.val, rules))
    return known[rules]


def baseline_metrics(linear: Evaluation) -> _Kept:
    """Return what is kept of the linear model and of the train mean, from `judge_linear` of the rows.

    Returns
    -------
    metrics : dict of str to float
        ``linear_mse``, ``linear_ic``, ``linear_sharpe`` and ``train_mean_mse``, as far as they are defined.
    undefined : dict of str to str
        The others, each with its reason.
    """
    metrics = {f"linear_{name}": linear.metrics[name] for name in LINEAR if name in linear.metrics}
    undefined = {f"linear_{name}": linear.undefined[name] for name in LINEAR if name in linear.undefined}
    error = mse(linear.own.actual, np.full_like(linear.own.actual, linear.own.train_mean))
    if math.isfinite(error):
        metrics["train_mean_mse"] = error
    else:
        undefined["train_mean_mse"] = "not defined, because it is too large for a 64-bit float"
    return metrics, undefined


def judge_linear(data: PreparedData, block: Block, rules: Rules) -> Evaluation:
    """Judge the linear model's forecast of the rows of `block`: see `linear_model`, `validation_metrics`."""
    forecast = linear_model(data).predict(data.inputs(block, np.float64))
    return judge_rows(data, block, forecast, rules, linear_spread(data))


def _chunks(X: NDArray[Any]) -> Iterator[Floats]:
    """Return the rows of `X`, flattened, as float64 blocks that are at least as high as wide."""
    columns = math.prod(X.shape[1:])
    rows = max(_CHUNK_VALUES // max(columns, 1), columns, 1)
    for start in range(0, len(X), rows):
        yield np.asarray(X[start : start + rows], dtype=np.float64).reshape(-1, columns)
