"""What bars and tables have to fulfil before anything is computed from them.

Every check raises a DataError that names the file, the line and the value, and what would be right.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradingbot_exp.data.cells import Cells, FloatArray
from tradingbot_exp.errors import DataError

# Relative. Above what float32 storage or six printed digits do to a price, below any real price step.
RANGE_TOLERANCE = 1e-6


def _first(bad: npt.NDArray[np.bool_]) -> int | None:
    return int(bad.argmax()) if bad.any() else None


def check_index(cells: Cells, index: pd.DatetimeIndex) -> None:
    """Refuse timestamps that occur twice, or go neither up nor down throughout."""
    position = _first(index.duplicated())
    if position is not None:
        first = int((index == index[position]).argmax())
        cells.refuse(
            position,
            f"the timestamp {index[position]} is a duplicate of {cells.unit} {cells.frame.index[first]}; "
            "expected one row for each bar. (Several instruments need a column named symbol.)",
        )
    steps = np.diff(index.asi8)
    position = _first(steps < 0)
    if position is not None and 2 * int((steps < 0).sum()) > len(steps):
        position = _first(steps > 0)
        if position is not None:
            cells.refuse(
                position + 1,
                f"the timestamp {index[position + 1]} is later than {index[position]} in the row before, in a file "
                "that has the newest first; expected one order, so sort the file.",
            )
    if position is not None:
        cells.refuse(
            position + 1,
            f"the timestamp {index[position + 1]} is earlier than {index[position]} in the row before; "
            "expected ascending order, so sort the file.",
        )


def check_prices(cells: Cells, bars: dict[str, FloatArray]) -> None:
    """Refuse prices, as the file holds them, that no market can have made.

    Parameters
    ----------
    cells : Cells
        Where the bars were read.
    bars : dict of str to ndarray of shape (n,)
        Unadjusted ``open high low close`` and, if the file has it, ``adj_close``.
    """
    for name, values in bars.items():
        _check_sign(cells, name, values, values <= 0, "a price above 0")
    high, low = bars["high"], bars["low"]
    position = _first(high < low)
    if position is not None:
        cells.refuse(position, f"high {high[position]:g} is below low {low[position]:g}; are they exchanged?")
    slack = RANGE_TOLERANCE * high
    for name in ("open", "close"):
        position = _first((bars[name] > high + slack) | (bars[name] < low - slack))
        if position is not None:
            cells.refuse(
                position,
                f"{name} {bars[name][position]:g} is outside the bar's range, low {low[position]:g} to high "
                f"{high[position]:g}; expected low <= {name} <= high.",
            )


def check_volume(cells: Cells, volume: FloatArray) -> None:
    """Refuse a volume that is missing or below 0."""
    _check_sign(cells, "volume", volume, volume < 0, "0 or more")


def _check_sign(cells: Cells, name: str, values: FloatArray, bad: npt.NDArray[np.bool_], wanted: str) -> None:
    check_finite(cells, name, values)
    position = _first(bad)
    if position is not None:
        cells.refuse(position, f"{name} is {values[position]:g}; expected {wanted}.")


def check_volume_traded(cells: Cells, volume: FloatArray) -> None:
    """Refuse a volume of 0, whose logarithm the feature ``volume_z_20`` would need."""
    position = _first(volume == 0)
    if position is not None:
        cells.refuse(
            position,
            "volume is 0, and the feature volume_z_20 takes its logarithm; remove such bars, or leave "
            "volume_z_20 out of data.features.",
        )


def check_finite(cells: Cells, name: str, values: FloatArray, start: int = 0, stop: int | None = None) -> None:
    """Refuse NaN, infinite and empty cells in the rows from `start` to before `stop`."""
    position = _first(~np.isfinite(values[start:stop]))
    if position is not None:
        given = "missing" if np.isnan(values[start + position]) else f"{values[start + position]:g}"
        cells.refuse(start + position, f"{name} is {given}; expected a finite number.")


def check_trailing_target(cells: Cells, name: str, target: FloatArray, horizon: int) -> int:
    """Count the missing targets at the end, which a table has where the future is not known yet.

    Returns
    -------
    int
        How many of the last rows, at most `horizon`, have no target. Any other missing target is refused.
    """
    missing = 0
    while missing < min(horizon, len(target)) and np.isnan(target[-1 - missing]):
        missing += 1
    check_finite(cells, name, target, 0, len(target) - missing)
    return missing


def check_features(label: str, features: pd.DataFrame, train_stop: int) -> None:
    """Refuse features that are not finite, or are constant in the train rows ``[0, train_stop)``."""
    check_finite_features(label, features)
    for name, column in features.items():
        values = column.to_numpy()
        check_spread(label, str(name), values[:train_stop])


def check_finite_features(label: str, features: pd.DataFrame) -> None:
    """Refuse features that are not finite."""
    for name, column in features.items():
        values = column.to_numpy()
        position = _first(~np.isfinite(values))
        if position is not None:
            raise DataError(
                f"{label}: the feature {name} is {values[position]:g} on {features.index[position]}; "
                "expected a finite number. Check the bars up to that date, or leave it out of data.features."
            )


def check_spread(label: str, name: str, train: FloatArray) -> None:
    """Refuse a feature that is constant in the rows that a model is trained on."""
    low, high = train.min(), train.max()
    if high - low <= 1e-12 * max(high, -low):
        raise DataError(
            f"{label}: the feature {name} is constant: {train[0]:g} in all {len(train)} train rows. It "
            "cannot be scaled and has nothing to teach; leave it out of data.features."
        )
