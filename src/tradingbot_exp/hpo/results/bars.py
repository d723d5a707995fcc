"""What a trial leaves of each validated bar, in a file of its folder: its forecast, and its net return.

Of a panel it is what it leaves of each date: means over its symbols, of forecasts, of their products with the outcome
and of their squares; see `tradingbot_exp.evaluation.significance.across`. Beside them stand sums over the rows that its
models knew before these bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from tradingbot_exp.evaluation.significance.across import by_own_means, date_means
from tradingbot_exp.evaluation.significance.series import Before

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.experiment.results import Evaluated

BARS_FILE = "validation_bars.npz"


class Kept(NamedTuple):
    """What trials leave: the field in their files, its type, and the name of the matrix."""

    field: str
    dtype: str
    name: str


RETURNS = Kept("return", "float64", "trial_returns.parquet")
FORECASTS = Kept("forecast", "float32", "trial_forecasts.parquet")
MEANS = Kept("mean", "float64", "trial_forecast_means.parquet")  # less their products, what is constant leaves 0
PRODUCTS = Kept("product", "float64", "trial_products.parquet")
SQUARES = Kept("square", "float64", "trial_squares.parquet")
BEFORE = Kept("before", "float64", "trial_sums_before.parquet")
ALL = (RETURNS, FORECASTS, MEANS, PRODUCTS, SQUARES, BEFORE)


def kept_of(config: Config, data: PreparedData, result: Evaluated) -> dict[Kept, ArrayLike]:
    """Return what a trial leaves of each validated bar, of a panel of each date."""
    kept: dict[Kept, ArrayLike] = {BEFORE: result.before}
    if result.net is not None:
        kept[RETURNS] = result.net
    if not data.symbols:
        return kept | {FORECASTS: result.forecast}
    layout, own = data.layout.take(result.rows.rows), by_own_means(config)
    means = date_means(result.actual, result.forecast, layout, own=own)
    return kept | {MEANS: means.forecast, PRODUCTS: means.product, SQUARES: means.square}


def save_bars(folder: Path, dates: pd.DatetimeIndex, kept: Mapping[Kept, ArrayLike]) -> None:
    """Save what a trial's forecasts and net returns were on each validated bar, or date, and its sums.

    Dates are kept as steps from the one before, in nanoseconds, the first from 1970 (UTC): of a study of 1,000
    trials they would else weigh as much as all the rest of these files.
    """
    stamps = dates.to_numpy(dtype="datetime64[ns]").astype("int64")
    columns: dict[str, Any] = {each.field: np.asarray(values, each.dtype) for each, values in kept.items()}
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
    """Index sums of the shape (folds, 9) by fold, from 1, and by the names of `Before`."""
    sums = np.asarray(before, np.float64)
    labels = pd.MultiIndex.from_product([range(1, len(sums) + 1), Before._fields], names=["fold", "sum"])
    return pd.Series(sums.ravel(), labels)
