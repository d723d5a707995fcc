"""Columns that are too good to be true: where a feature cannot be computed again, its correlation with the target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.runtime.text import plural

THRESHOLD = 0.4
"""Correlation with what the target's newest known value leaves open, above which a column is suspicious.

An information coefficient of 0.1 is excellent on daily bars (Grinold & Kahn 1999, chapter 6), and the best honest
predictors known, from the order book over seconds, stay below 0.4, which is 16 % of the variance.
"""
ROWS_AHEAD = 5
"""A column that leaks a later target by mistake of a few rows is found as well."""
_ROWS = 20_000  # of a longer series, as many are compared, evenly spread
_FEWEST = 30
_CHANCE = 4.0  # standard errors of a correlation of unrelated series, 1/√n


@dataclass(frozen=True)
class Suspicion:
    """A column that is too good to be true.

    Attributes
    ----------
    name : str
    correlation : float
        Pearson's or Spearman's, whichever is further from 0.
    ahead : int
        Rows after the column's own of the target that it is correlated with; 0 is the one that is to be forecast.
    known : float
        Correlation of the target with its own newest value that is known at the time.
    rows : int
        Rows compared.
    """

    name: str
    correlation: float
    ahead: int
    known: float
    rows: int

    @property
    def short(self) -> str:
        """Name and correlation."""
        later = f", {self.ahead} rows later" if self.ahead else ""
        return f"{self.name} ({self.correlation:.2f}{later})"

    def __str__(self) -> str:
        where = f"the target {plural(self.ahead, 'row')} later" if self.ahead else "the target"
        return (
            f"The column {self.name} looks too good to be true: its correlation with {where} is "
            f"{self.correlation:.2f} on {self.rows} train and validation rows, where the newest known target has "
            f"{self.known:.2f}; 0.1 is excellent on daily bars. Is it known at the close of its own bar? A value that "
            "only comes later makes every result on these data worthless."
        )


def suspicious_columns(
    features: Floats, target: Floats, names: Sequence[str], horizon: int, order: NDArray[np.intp]
) -> tuple[Suspicion, ...]:
    """Find the columns whose correlation with the target no honest feature reaches.

    A column is suspicious if its correlation with the target, of its own row or of one of the next `ROWS_AHEAD`,
    exceeds √(k² + `THRESHOLD`² (1 − k²)). There k is the correlation of the target with its own value `horizon` rows
    before, the newest that is known at the time, so that a persistent target such as a volatility raises no alarm.

    Parameters
    ----------
    features : ndarray, shape (n, F)
    target : ndarray, shape (n,)
        Finite.
    names : sequence of str, length F
    horizon : int
        Rows after its own at which a target is known.
    order : ndarray of int
        The train and validation rows, in time order; of several symbols, of one after another.

    Returns
    -------
    tuple of Suspicion
        In the order of the columns; none for fewer than 30 rows, or for correlations that chance explains.
    """
    n = len(order) - max(ROWS_AHEAD, horizon)
    if n < _FEWEST:
        return ()
    rows = np.linspace(0, n - 1, min(n, _ROWS)).astype(np.int64)
    x, y = features.T[:, order[rows]].T, target[order]  # columns that lie side by side
    compared = np.zeros(len(y), bool)
    compared[rows[:, None] + [*range(ROWS_AHEAD + 1), horizon]] = True
    x_ranks, y_ranks = np.stack([_ranks(column) for column in x.T]).T, np.zeros(len(y))
    y_ranks[compared] = _ranks(y[compared])
    strongest = np.zeros((ROWS_AHEAD + 1, len(names)))
    known = 0.0
    for columns, label in ((x, y), (x_ranks, y_ranks)):
        later: Floats = np.stack([label[rows + ahead] for ahead in range(ROWS_AHEAD + 1)]).T
        found = _correlations(later, columns)
        strongest = np.where(np.abs(found) > np.abs(strongest), found, strongest)
        own = float(_correlations(label[rows + horizon, None], label[rows, None])[0, 0])
        known = own if abs(own) > abs(known) else known
    bound = max(math.sqrt(known**2 + THRESHOLD**2 * (1 - known**2)), _CHANCE / math.sqrt(len(rows)))
    suspicious = []
    for column, name in enumerate(names):
        ahead = int(np.abs(strongest[:, column]).argmax())
        # The row's own target is the plain case, and named where it suffices.
        ahead = 0 if abs(strongest[0, column]) > bound else ahead
        value = float(strongest[ahead, column])
        if abs(value) > bound:
            suspicious.append(Suspicion(name, value, ahead, known, len(rows)))
    return tuple(suspicious)


def _ranks(values: Floats) -> Floats:
    """Rank finite values from 1, equal ones by the mean of their ranks, in two thirds of the time that pandas takes."""
    order = np.argsort(values)
    ordered = values[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, len(values))  # of runs of equal values
    ranks = np.empty(len(values))
    ranks[order] = np.repeat((ends + np.append(0, ends[:-1]) + 1) / 2, np.diff(ends, prepend=0))
    return ranks


def _correlations(first: Floats, second: Floats) -> Floats:
    """Correlate each column of `first` with each of `second`; 0 where one is constant."""
    product = np.einsum("ij,ik->jk", _units(first), _units(second))  # speed: BLAS would wait for threads
    return np.asarray(np.clip(product, -1.0, 1.0))


def _units(values: Floats) -> Floats:
    """Centre columns and give them length 1; those that are constant, but for rounding, become 0."""
    centred = values - values.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    varies = length > 1e-12 * np.linalg.norm(values, axis=0)
    return np.asarray(np.where(varies, centred / np.where(varies, length, 1.0), 0.0))
