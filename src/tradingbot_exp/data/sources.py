"""From a `DataConfig` to checked bars, or to a checked table of the user's own features and target."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tradingbot_exp.config.checks import check_data
from tradingbot_exp.config.choices import BUNDLED_PANELS
from tradingbot_exp.config.registries import SOURCES
from tradingbot_exp.data import checks
from tradingbot_exp.data.bar_frame import bars_frame, feature_names
from tradingbot_exp.data.cells import Cells, FloatArray
from tradingbot_exp.data.columns import named_columns, select_symbol, time_columns
from tradingbot_exp.data.folder import file_of
from tradingbot_exp.data.reading import frame_cells, giving_memory_back, parse_csv, read_cells, refusing
from tradingbot_exp.data.synthetic import synthetic_bars, synthetic_card, synthetic_panel
from tradingbot_exp.data.timestamps import in_order, parse_times
from tradingbot_exp.errors import ConfigError, DataError, TradingBotError, near
from tradingbot_exp.runtime.text import at_most, listed, qualified_name

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import DataConfig

_LISTED = 20


@dataclass(frozen=True, eq=False)
class Bars:
    """Checked market bars, oldest first.

    Attributes
    ----------
    frame : pandas.DataFrame
        float64 columns ``open high low close volume``, prices back-adjusted by ``adj_close / close`` where
        the file has it, then any other numeric columns under the file's own names. There is no ``volume`` where the
        file has none that can be used and no feature reads it. The DatetimeIndex is named
        ``date`` and keeps the file's time zone.
    name, symbol : str
        ``data.name``, and the instrument.
    card : dict
        What is known of their origin: ``description``, ``source``, ``licence``, ``adjustment``, JSON-able.
    """

    frame: pd.DataFrame
    name: str
    symbol: str
    card: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Table:
    """The user's own features and target, oldest first; attributes as in `Bars`.

    `frame` holds, in float64, the columns ``data.features``, ``data.target`` and ``data.returns``. NaN may
    be the target of at most the last ``data.horizon`` rows, which `unknown` counts, and the first return.
    """

    frame: pd.DataFrame
    name: str
    symbol: str
    card: dict[str, Any]
    unknown: int


def load_bars(config: DataConfig) -> Bars:
    """Load the bars of ``data.source`` ``bundled``, ``csv`` or ``synthetic``, or of a source of the user's own.

    Raises
    ------
    ConfigError
        If a key is at odds with another or with what the file holds.
    DataError
        If the file, a column or a row cannot be used.
    """
    check_data(config)
    if config.source == "bundled":
        return _bundled(config)
    if config.source == "csv":
        with giving_memory_back():
            return bars_of(read_cells(file_of(str(config.path), config.symbol)), config)
    if config.source == "synthetic":
        card = synthetic_card(config.synthetic)
        if config.synthetic.symbols > 1:  # one of them
            panel = synthetic_panel(config.synthetic)
            if config.symbol not in panel:
                known = at_most(list(panel), _LISTED)
                raise ConfigError(f"data.symbol={config.symbol}: the process has the symbols {known}.")
            return Bars(panel[config.symbol], config.name, str(config.symbol), card)
        return Bars(synthetic_bars(config.synthetic), config.name, config.symbol or "SYNTHETIC", card)
    if config.source == "table":
        raise ConfigError("data.source=table has features and a target, and no bars.")
    return bars_of(own_cells(config), config)


def bars_of(cells: Cells, config: DataConfig, symbol_key: str = "data.symbol") -> Bars:
    """Check the cells of a user's bars, and adjust their prices.

    Raises
    ------
    ConfigError, DataError
        See `load_bars`.
    """
    named = named_columns(config)
    with refusing(cells.label):
        cells, symbol = select_symbol(cells, config.symbol, named, symbol_key)
        frame, adjustment = bars_frame(cells, config, named, symbol)
    return Bars(frame, config.name, symbol or config.name, _user_card(config, adjustment))


def load_table(config: DataConfig, *, with_target: bool = True) -> Table:
    """Load the columns that a ``table`` is told to use.

    Parameters
    ----------
    config : DataConfig
        ``features`` and ``target`` name columns; ``returns``, if given, the column of the bar's own one-bar
        log return, known at its close.
    with_target : bool
        False reads the features alone, for forecasts from rows whose future is not known.

    Raises
    ------
    ConfigError
        If a named column is not there, or the target is among the features.
    DataError
        If the file, a column or a row cannot be used.
    """
    check_data(config)
    with giving_memory_back():
        return table_of(
            read_cells(file_of(str(config.path), config.symbol)),
            config,
            with_target=with_target,
            with_returns=with_target,
        )


def table_of(
    cells: Cells,
    config: DataConfig,
    *,
    with_target: bool = True,
    with_returns: bool = True,
    symbol_key: str = "data.symbol",
) -> Table:
    """Check the cells of a table; see `load_table`."""
    with refusing(cells.label):
        return _table_of(cells, config, with_target, with_returns, symbol_key)


def _table_of(cells: Cells, config: DataConfig, with_target: bool, with_returns: bool, symbol_key: str) -> Table:
    named = named_columns(config)
    beside = next((role for role in named if role not in ("date", "time", "symbol")), None)
    if beside is not None:
        raise ConfigError(f"data.columns.{beside} is not read with data=table; name columns in data.features.")
    cells, symbol = select_symbol(cells, config.symbol, named, symbol_key)
    if cells.layout:
        cells.say(f"read as {cells.layout}.")
    cells, index = in_order(cells, parse_times(cells, *time_columns(cells, named)))
    features = feature_names(config)
    if config.target in features:
        raise ConfigError(f"data.features holds the target column {config.target!r}; the answer cannot be an input.")
    keys = dict.fromkeys(features, "data.features")
    if with_target:
        keys[config.target] = "data.target"
    if config.returns and with_returns:
        keys[config.returns] = "data.returns"
    columns: dict[str, FloatArray] = {}
    for column, key in keys.items():
        if column not in cells.columns:
            raise ConfigError(
                f"{key}: {cells.label} has no column {column!r}; it has {cells.listed}.{near(column, cells.columns)}"
            )
        columns[column] = cells.numbers(column)
    for name in features:
        checks.check_finite(cells, name, columns[name])
    unknown = 0
    if with_target:
        unknown = checks.check_trailing_target(cells, config.target, columns[config.target], config.horizon)
    if config.returns in columns and config.returns not in features:  # the first bar has no bar before it
        checks.check_finite(cells, config.returns, columns[config.returns], start=1)
    frame = pd.DataFrame(columns, index=index)
    return Table(frame, config.name, symbol or config.name, _user_card(config, "as the file has it"), unknown)


def bundled_bars(config: DataConfig, name: str) -> Bars:
    """Load the bars of one file that the package brings along."""
    folder = resources.files("tradingbot_exp.data") / "bars"
    cards: dict[str, dict[str, Any]] = json.loads((folder / "cards.json").read_text(encoding="utf-8"))
    card = cards[name]
    content = (folder / f"{name}.csv").read_bytes()
    if hashlib.sha256(content).hexdigest() != card["sha256"]:
        raise DataError(f"the bundled file {name}.csv is not the one that was shipped; reinstall the package.")
    cells = replace(parse_csv(content, f"{name}.csv"), told=[])  # its jumps are known, and real
    frame, _ = bars_frame(cells, config, {}, card["symbol"])
    return Bars(frame, config.name, card["symbol"], card)


def _bundled(config: DataConfig) -> Bars:
    files = BUNDLED_PANELS.get(config.name, (config.name,))
    wanted = files[0] if config.symbol is None else config.symbol.lower()
    if wanted not in files:
        known = listed([name.upper() for name in files])
        raise ConfigError(f"data.symbol={config.symbol}: the bundled bars {config.name} are those of {known}.")
    return bundled_bars(config, wanted)


def own_cells(config: DataConfig) -> Cells:
    """Call the user's own source; what it raises, or gives, is named with it."""
    function = SOURCES[config.source]
    label = f"data.source={config.source} ({qualified_name(function)})"
    try:
        frame = function(config)
    except TradingBotError:
        raise
    except Exception as error:
        raise DataError(f"{label} raised {type(error).__name__}: {error}") from error
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"{label} gave {type(frame).__name__}; expected a pandas data frame of bars.")
    return frame_cells(frame, label)


def _user_card(config: DataConfig, adjustment: str) -> dict[str, Any]:
    source = f"file {Path(config.path).name}" if config.path else "given"
    description = "the user's own file"
    if function := SOURCES.get(config.source):
        source = f"{config.source}, by {qualified_name(function)}"
        description = (function.__doc__ or "the user's own source").strip().partition("\n")[0]
    return {
        "description": description,
        "source": source,
        "licence": "not stated",
        "adjustment": adjustment,
    }
