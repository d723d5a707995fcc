"""The arithmetic of a portfolio: from a weight and a return a row to values a date.

Rows are those of a `Layout`; D is the number of dates that have rows, S that of symbols.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradingbot_exp.evaluation._arrays import Floats

if TYPE_CHECKING:
    from tradingbot_exp.data.panel import Layout


def shares(position: Floats, layout: Layout, *, invested: bool) -> Floats:
    """Return what part of wealth the position of each row is, shape (n,): position / symbols of its date.

    With `invested`, position / Σ |position| of its date: together they are all of wealth.
    """
    size = np.bincount(layout.days, np.abs(position), len(layout.starts)) if invested else layout.counts
    return np.asarray(position / np.where(size > 0, size, 1)[layout.days])


def weights_by_date(weight: Floats, layout: Layout) -> Floats:
    """Return each symbol's weight on each date, shape (D, S): 0 before its first row; see `Layout.holding`.

    Parameters
    ----------
    weight : ndarray, shape (n,)
    layout : Layout
    """
    return np.asarray(np.concatenate([[0.0], weight])[layout.holding])


def changes_of(weights: Floats) -> Floats:
    """Return Σ |Δ weight| of each date, shape (D,), flat before the first: what `weights_by_date` gives, shape (D, S).

    References
    ----------
    DeMiguel, Garlappi & Uppal (2009), "Optimal versus naive diversification", Review of Financial Studies 22(5), where
    turnover is the mean of that; there against weights that have drifted with prices.
    """
    return np.asarray(np.abs(np.diff(weights, axis=0, prepend=0.0)).sum(axis=1))


def sums_by_date(values: Floats, layout: Layout) -> Floats:
    """Add up what rows earn by the date over which it is booked, shape (D,): that before the symbol's next bar.

    What is booked beyond the last date is left out.

    Parameters
    ----------
    values : ndarray, shape (n,)
    layout : Layout
    """
    rows, day = layout.booked
    return np.asarray(np.bincount(day, values[rows], len(layout.starts)), dtype=np.float64)


def sums_by_symbol(values: Floats, layout: Layout) -> Floats:
    """Set what rows earn by date and symbol, shape (D, S): see `sums_by_date`, of which these are the parts."""
    rows, day = layout.booked
    found = np.zeros((len(layout.starts), len(layout.names)))
    np.add.at(found, (day, layout.symbol[rows]), values[rows])
    return found
