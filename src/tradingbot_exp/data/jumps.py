"""Prices that jump as no market does: one warning, with the line, the size, and what it looks like."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tradingbot_exp.data.cells import Cells, FloatArray
from tradingbot_exp.runtime.text import plural

_JUMP = 0.33  # of log prices: 28 % down, 39 % up
_SPIKE = 0.05  # of log prices, where the next bar is back
_UNUSUAL = 10.0  # times the usual step between bars
_NEAR = 0.06  # of log prices: how near to a split's ratio
_SPLITS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 1.5)
_UNITS = (10.0, 100.0, 1000.0, 10_000.0)


def warn_of_jumps(cells: Cells, index: pd.DatetimeIndex, close: FloatArray) -> None:
    """Warn of the largest jump from one close to the next, and of how many there are.

    Parameters
    ----------
    cells, index
        Of the bars, oldest first.
    close : ndarray of shape (n,)
        As it is used: adjusted where it can be.
    """
    steps = np.diff(np.log(close))
    if len(steps) < 2 or np.abs(steps).max() <= _SPIKE:
        return
    usual = _UNUSUAL * float(np.median(np.abs(steps)))
    back = np.append(np.abs(steps[1:] + steps[:-1]) < 0.2 * np.abs(steps[:-1]), False)
    spikes = back & (np.abs(steps) > max(_SPIKE, 2 * usual))
    found = np.flatnonzero(((np.abs(steps) > _JUMP) & (np.abs(steps) > usual)) | spikes)
    if not found.size:
        return
    largest = int(found[np.abs(steps[found]).argmax()])
    before, after = close[largest], close[largest + 1]
    others = f" So {'does' if found.size == 2 else 'do'} {plural(found.size - 1, 'other')}." if found.size > 1 else ""
    cells.say(
        f"{cells.unit} {cells.frame.index[largest + 1]}, {index[largest + 1]}: the close jumps from {before:g} to "
        f"{after:g} ({after / before - 1:+.0%}): {_cause(float(steps[largest]), bool(back[largest]))}{others}"
    )


def _cause(step: float, back: bool) -> str:
    if back:
        return "a faulty tick? The next bar is back."
    ratio = min((*_SPLITS, *_UNITS), key=lambda each: abs(np.log(each) - abs(step)))
    if abs(np.log(ratio) - abs(step)) > _NEAR:
        return "a split, another unit, or a contract rolled over?"
    words = f"a split {ratio:g} for 1" if step < 0 else f"a reverse split 1 for {ratio:g}"
    if ratio in _UNITS:
        return f"another unit (such as pence for pounds), or {words}?"
    return f"{words}? Prices have to be adjusted, by a column adj_close."
