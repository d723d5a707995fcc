"""What one block of rows may know of the next: neither the scaler nor a label reaches into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradingbot_exp.data.panel_scaler import DateScaler, SymbolScaler
from tradingbot_exp.errors import DataError
from tradingbot_exp.runtime.text import plural

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.data.splits import Block

_ROWS = 8192  # compared at once, so that they stay in the cache


def check_fold(data: PreparedData) -> None:
    """See that scaler and labels of the train rows know nothing of the validation rows: of data, or of one fold.

    Raises
    ------
    DataError
        See `check_scaler` and `check_gap`.
    """
    check_scaler(data)
    if "split" in data.card:
        check_gap(data, data.train, data.val)


def check_scaler(data: PreparedData) -> None:
    """See that the scaler is that of the train rows, and that what a model sees was scaled by it.

    Raises
    ------
    DataError
        Mean or scale of a feature is that of other rows, or a value up to the end of validation is not scaled by them.
    """
    scaler, rows = data.scaler, data.raw[data.seen_in_training.rows]
    if isinstance(scaler, SymbolScaler | DateScaler):
        _check_scaled_apart(data)
        return
    mean, scale = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
    if scaler.with_mean:
        mean = np.array([column.mean() for column in rows.T])
    if scaler.with_std:
        scale = np.array([column.std() for column in rows.T])
    given = (
        scaler.mean_ if scaler.with_mean else np.zeros(rows.shape[1]),
        scaler.scale_ if scaler.with_std else np.ones(rows.shape[1]),
    )
    size = scale + np.abs(mean)
    for word, wanted, found in (("mean", mean, given[0]), ("scale", scale, given[1])):
        # Two ways to sum differ by rounding.
        wrong = ~(np.abs(wanted - found) <= 1e-8 * size)
        if wrong.any():
            column = int(wrong.argmax())
            raise DataError(
                f"the scaler knows more than the train rows: its {word} of {data.feature_names[column]} is "
                f"{found[column]:.10g}, and that of the train rows, up to {data.index[data.train.stop - 1]}, is "
                f"{wanted[column]:.10g}. Fit it to the train rows alone."
            )
    step = float(np.finfo(data.scaled.dtype).eps)
    for start in range(0, data.val.stop, _ROWS):
        part = slice(start, min(start + _ROWS, data.val.stop))
        expected, scaled = (data.raw[part] - given[0]) / given[1], data.scaled[part]
        if np.all((expected.astype(scaled.dtype, order="C") == scaled) & np.isfinite(scaled)):  # speed: nearly always
            continue
        wrong = ~(np.abs(expected - scaled) <= 4 * step * np.abs(expected) + 1e-8)
        if wrong.any():
            row, column = (int(each[0]) for each in np.nonzero(wrong))
            raise DataError(
                f"the feature {data.feature_names[column]} on {data.index[start + row]} is not scaled by the scaler of "
                f"the train rows: it is {data.scaled[start + row, column]:.10g}, and would be "
                f"{expected[row, column]:.10g}."
            )


def _check_scaled_apart(data: PreparedData) -> None:
    """See that each symbol's rows are scaled by its own train rows, or those of a date by each other."""
    layout, stop = data.layout, data.val.stop
    raw, given = pd.DataFrame(data.raw[:stop]), data.scaled[:stop]
    train = pd.DataFrame(data.raw[data.seen_in_training.rows])
    if isinstance(data.scaler, DateScaler):
        groups = raw.groupby(layout.days[:stop])
        mean = np.asarray(groups.transform("mean"))
        scale = np.asarray(groups.transform("std", ddof=0))
    else:
        fitted = train.groupby(layout.symbol[data.seen_in_training.rows])
        mean, scale = (np.asarray(each.loc[layout.symbol[:stop]]) for each in (fitted.mean(), fitted.std(ddof=0)))
    flat = np.asarray(scale <= 1e-9 * np.abs(raw.to_numpy()))  # rounding is all that varies, and what it is scaled by
    expected = np.asarray(raw - mean) / np.where(flat, 1.0, scale)
    step = float(np.finfo(given.dtype).eps)
    wrong = ~flat & ~(np.abs(expected - given) <= 4 * step * np.abs(expected) + 1e-7)
    if wrong.any():
        row, column = (int(each[0]) for each in np.nonzero(wrong))
        raise DataError(
            f"the feature {data.feature_names[column]} of {layout.names[layout.symbol[row]]} on {data.index[row]} is "
            f"not scaled by what data.scaling says: it is {given[row, column]:.10g}, and would be "
            f"{expected[row, column]:.10g}."
        )


def check_gap(data: PreparedData, first: Block, second: Block) -> None:
    """See that no label of a row of `first` overlaps `second`: row i is out if i + horizon >= start.

    Of rows after `second`, none may lie within the labels of `second`.

    Raises
    ------
    DataError
        A label reaches into the other block.
    """
    rows = np.arange(len(data.index))[first.rows]
    date, known = data.layout.date[rows], data.panel.known[rows]
    second = data.panel.in_dates(second)
    reaching = rows[(known >= second.start) & (date < second.stop + data.horizon - 1)]
    if reaching.size and len(second):
        dates = data.panel.calendar
        raise DataError(
            f"the label of the {first.name} row {data.index[reaching[0]]} looks {plural(data.horizon, 'bar')} ahead "
            f"and overlaps the {second.name} rows, {dates[second.start]} to {dates[second.stop - 1]}: "
            f"{plural(reaching.size, 'row')} too many. Leave out as many rows beside {second.name} as data.horizon "
            "has bars."
        )
