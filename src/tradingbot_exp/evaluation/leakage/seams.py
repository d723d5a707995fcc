"""What one block of rows may know of the next: neither the scaler nor a label reaches into it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tradingbot_exp.errors import DataError

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.data.splits import Block


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
    # The windows of the first train rows reach back.
    seen_in_training = replace(data.train, start=data.train.start - data.sequence_length + 1)
    scaler, rows = data.scaler, data.raw[seen_in_training.rows]
    mean = rows.mean(axis=0) if scaler.with_mean else np.zeros(rows.shape[1])
    scale = rows.std(axis=0) if scaler.with_std else np.ones(rows.shape[1])
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
    seen = data.raw[: data.val.stop]
    expected = (seen - given[0]) / given[1]
    step = float(np.finfo(data.scaled.dtype).eps)
    wrong = ~(np.abs(expected - data.scaled[: data.val.stop]) <= 4 * step * np.abs(expected) + 1e-8)
    if wrong.any():
        row, column = (int(part[0]) for part in np.nonzero(wrong))
        raise DataError(
            f"the feature {data.feature_names[column]} on {data.index[row]} is not scaled by the scaler of the train "
            f"rows: it is {data.scaled[row, column]:.10g}, and would be {expected[row, column]:.10g}."
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
    reaching = rows[(rows + data.horizon >= second.start) & (rows < second.stop + data.horizon - 1)]
    if reaching.size and len(second):
        raise DataError(
            f"the label of the {first.name} row {data.index[reaching[0]]} looks {data.horizon} bar(s) ahead and "
            f"overlaps the {second.name} rows, {data.index[second.start]} to {data.index[second.stop - 1]}: "
            f"{reaching.size} row(s) too many. Leave out as many rows beside {second.name} as data.horizon has bars."
        )
