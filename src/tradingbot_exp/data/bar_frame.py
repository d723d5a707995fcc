"""From the cells of one instrument to bars in float64: columns found, times in order, prices checked and adjusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from tradingbot_exp.data import checks
from tradingbot_exp.data.cells import Cells, FloatArray
from tradingbot_exp.data.columns import PRICES, bar_columns, missing, time_columns
from tradingbot_exp.data.features import FEATURES, reads_volume, warmup_of
from tradingbot_exp.data.jumps import warn_of_jumps
from tradingbot_exp.data.timestamps import in_order, parse_times
from tradingbot_exp.errors import ConfigError, DataError, near

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import DataConfig


def bars_frame(
    cells: Cells, config: DataConfig, named: Mapping[str, str], symbol: str | None
) -> tuple[pd.DataFrame, str]:
    """Check the cells of bars, and adjust their prices.

    Parameters
    ----------
    cells : Cells
        Of one instrument.
    config : DataConfig
        Its features say which other columns are needed.
    named : mapping of str to str
        Columns by role, as ``data.columns`` names them.
    symbol : str or None
        The instrument, if known.

    Returns
    -------
    tuple of DataFrame and str
        float64 as `tradingbot_exp.data.sources.Bars` has them, and in words how prices were adjusted.

    Raises
    ------
    ConfigError, DataError
        A column or a row cannot be used.
    """
    wanted = feature_names(config)
    reading_volume = [name for name in wanted if name == "volume" or (name in FEATURES and reads_volume(name))]
    times = time_columns(cells, named)
    names = bar_columns(cells, named, symbol, bool(reading_volume))
    cells, index = in_order(cells, parse_times(cells, *times))
    bars = {role: cells.numbers(column) for role, column in names.items() if role != "volume"}
    checks.check_prices(cells, bars)
    adjusted = bars.pop("adj_close", None)
    if adjusted is not None:
        factor = adjusted / bars["close"]
        bars |= {name: bars[name] * factor for name in PRICES}
    warn_of_jumps(cells, index, bars["close"])
    bars |= _volume(cells, names.get("volume"), reading_volume)
    used = {*names.values(), *times}
    others = _other_columns(cells, [column for column in cells.columns if column and column not in used], wanted)
    how = "none: no adj_close column" if adjusted is None else "prices times adj_close / close; volume as it is"
    # A column `close` of the file is not the close where data.columns says that another one is.
    return pd.DataFrame(bars | others | bars, index=index), how


def _volume(cells: Cells, column: str | None, reading: list[str]) -> dict[str, FloatArray]:
    """Convert the volume for the features that may read it; without any, one that cannot be used is left out."""
    if column is None:
        certain = next((name for name in reading if name in ("volume", "volume_z_20")), None)
        if certain is not None:
            raise DataError(
                f"{missing(cells, 'volume')} The feature {certain} reads it; without it, leave that out of "
                f"data.features.{near('volume', cells.columns)}{cells.hint}"
            )
        return {}
    try:
        volume = cells.numbers(column)
        checks.check_volume(cells, volume)
    except DataError as error:
        if reading:
            raise
        cells.say(f"the volume is not used: {error}")
        return {}
    if "volume_z_20" in reading:
        checks.check_volume_traded(cells, volume)
    return {"volume": volume}


def _other_columns(cells: Cells, columns: list[str], wanted: tuple[str, ...]) -> dict[str, FloatArray]:
    """Convert the user's own columns: a feature must be finite from the warm-up on; text is left out."""
    found: dict[str, FloatArray] = {}
    for column in dict.fromkeys(columns):
        if column in wanted and column not in FEATURES:
            found[column] = cells.numbers(column)
            checks.check_finite(cells, column, found[column], start=warmup_of(wanted))
            continue
        try:
            found[column] = cells.numbers(column)
        except DataError:
            continue
    return found


def feature_names(config: DataConfig) -> tuple[str, ...]:
    """Return ``data.features``, refusing a name that stands in it twice."""
    names = tuple(str(name) for name in config.features)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"data.features has {twice!r} twice; name each feature once.")
    return names
