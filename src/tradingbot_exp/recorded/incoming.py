"""New bars for a model that is trained: checked as its own were, with the features that it takes, and no target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from tradingbot_exp.config.schema import ColumnsConfig
from tradingbot_exp.data.bar_frame import feature_names
from tradingbot_exp.data.cells import Cells
from tradingbot_exp.data.checks import check_finite_features
from tradingbot_exp.data.columns import named_columns
from tradingbot_exp.data.features import FittedFeature, compute_features, warmup_of
from tradingbot_exp.data.frequency import describe_frequency, same_spacing
from tradingbot_exp.data.sources import bars_of, table_of
from tradingbot_exp.errors import DataError

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import DataConfig


class Incoming(NamedTuple):
    """Rows to forecast from.

    Attributes
    ----------
    features : pandas.DataFrame of shape (n, F)
        Unscaled, float64, indexed by the bars' times: the rows with enough history for the features.
    symbol : str
    bars : int
        Rows of the file, or of the one instrument that was chosen.
    returns : pandas.Series or None
        The one-bar log return after each bar but the last, by date, as `tradingbot_exp.data.identity.market_returns`
        has them; None of a table.
    """

    features: pd.DataFrame
    symbol: str
    bars: int
    returns: pd.Series[float] | None


def incoming_rows(
    cells: Cells,
    config: DataConfig,
    frequency: str | None,
    symbol_key: str,
    fitted: Mapping[str, FittedFeature] | None = None,
) -> Incoming:
    """Compute the features of new bars, or take those of a new table.

    Parameters
    ----------
    cells : Cells
        Bars; or, where `config` is of a table, its feature columns.
    config : DataConfig
        Of the run; its `symbol` says which instrument is meant.
    frequency : str or None
        How often the run's own bars came, as its data card says.
    symbol_key : str
        What a message calls the choice of an instrument.
    fitted : mapping of str to FittedFeature, optional
        What features learned from the train bars.

    Raises
    ------
    ConfigError, DataError
        Columns, values or frequency do not fit, or there are too few rows.
    """
    names = feature_names(config)
    if config.source == "table":
        table = table_of(
            cells, replace(config, columns=_columns(cells, config)), with_target=False, symbol_key=symbol_key
        )
        features, symbol, history, returns = table.frame[list(names)], table.symbol, 0, None
    else:
        bars = bars_of(cells, replace(config, source="csv", path=None, columns=_columns(cells, config)), symbol_key)
        features, symbol, history = compute_features(bars.frame, names, fitted), bars.symbol, warmup_of(names)
        returns = pd.Series(np.diff(np.log(bars.frame["close"].to_numpy())), bars.frame.index[:-1])
    index = pd.DatetimeIndex(features.index)
    found = describe_frequency(index).name
    if frequency is not None and len(index) > 2 and not same_spacing(frequency, found):
        raise DataError(f"{cells.label}: the bars are {found}, and the model was trained on {frequency} ones.")
    needed = history + config.sequence_length
    if len(features) < needed:
        seen = f", and the model sees {config.sequence_length} at a time" if config.sequence_length > 1 else ""
        raise DataError(
            f"{cells.label}: too few rows: {len(features)}. The features need the first {history} as history{seen}; "
            f"give {needed} or more."
        )
    usable = features.iloc[history:]
    check_finite_features(cells.label, usable)
    return Incoming(usable, symbol, len(features), returns)


def _columns(cells: Cells, config: DataConfig) -> ColumnsConfig:
    """Return the names of columns that the run's file had; none if this file has other ones."""
    named = named_columns(config)
    return config.columns if set(named.values()) <= set(cells.columns) else ColumnsConfig()
