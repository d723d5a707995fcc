"""What a trial leaves of each validated bar, in a file of its folder: its forecast, and its net return.

Beside them stand sums over the rows that its models knew before these bars.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from tradingbot_exp.evaluation.significance.series import Before

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

BARS_FILE = "validation_bars.npz"


class Kept(NamedTuple):
    """What trials leave: the field in their files, its type, and the name of the matrix."""

    field: str
    dtype: str
    name: str


RETURNS = Kept("return", "float64", "trial_returns.parquet")
FORECASTS = Kept("forecast", "float32", "trial_forecasts.parquet")
BEFORE = Kept("before", "float64", "trial_sums_before.parquet")


def save_bars(
    folder: Path, dates: pd.DatetimeIndex, forecast: ArrayLike, returns: ArrayLike | None, before: ArrayLike
) -> None:
    """Save what a trial's forecasts and net returns were on each validated bar, if it has returns, and its sums.

    Dates are kept as steps from the one before, in nanoseconds, the first from 1970 (UTC): of a study of 1,000
    trials they would else weigh as much as all the rest of these files.
    """
    stamps = dates.to_numpy(dtype="datetime64[ns]").astype("int64")
    fields = {FORECASTS: forecast, BEFORE: before} | ({} if returns is None else {RETURNS: returns})
    columns: dict[str, Any] = {kept.field: np.asarray(values, kept.dtype) for kept, values in fields.items()}
    np.savez_compressed(folder / BARS_FILE, step=np.diff(stamps, prepend=0), **columns)


def load_bars(folder: Path, index: pd.DatetimeIndex) -> dict[str, pd.Series]:
    """Read what `save_bars` saved, by field, with its dates as those of `index` are; empty if there is no file.

    Sums are indexed by fold, from 1, and by the names of `Before`.

    Raises
    ------
    ValueError, EOFError, KeyError, zipfile.BadZipFile
        It is damaged.
    """
    if not (folder / BARS_FILE).is_file():
        return {}
    with np.load(folder / BARS_FILE) as saved:
        dates = pd.DatetimeIndex(np.cumsum(saved["step"]).astype("datetime64[ns]")).as_unit(index.unit)
        if index.tz is not None:
            dates = dates.tz_localize("UTC").tz_convert(index.tz)
        dates = dates.rename(index.name)
        found = {name: pd.Series(saved[name], dates) for name in saved.files if name not in ("step", BEFORE.field)}
        return found | {BEFORE.field: as_sums(saved[BEFORE.field])}


def as_sums(before: ArrayLike) -> pd.Series:
    """Index sums of the shape (folds, 7) by fold, from 1, and by the names of `Before`."""
    sums = np.asarray(before, np.float64)
    labels = pd.MultiIndex.from_product([range(1, len(sums) + 1), Before._fields], names=["fold", "sum"])
    return pd.Series(sums.ravel(), labels)
