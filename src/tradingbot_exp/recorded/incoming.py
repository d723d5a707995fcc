"""New bars for a model that is trained: checked as its own were, with the features that it takes, and no target."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from tradingbot_exp.data.bar_frame import feature_names
from tradingbot_exp.data.cells import Cells
from tradingbot_exp.data.checks import check_finite_features
from tradingbot_exp.data.columns import named_columns, select_each
from tradingbot_exp.data.features import FittedFeature, compute_features, warmup_of
from tradingbot_exp.data.folder import file_of, files_by_symbol, is_several, symbol_of, tell_of_others
from tradingbot_exp.data.frequency import describe_frequency, same_spacing
from tradingbot_exp.data.panel_rows import union
from tradingbot_exp.data.panel_sources import cells_of, check_zones, of_symbol, say_first
from tradingbot_exp.data.reading import frame_cells, giving_memory_back, read_cells, refusing
from tradingbot_exp.data.sources import bars_of, table_of
from tradingbot_exp.errors import ConfigError, DataError
from tradingbot_exp.recorded.incoming_symbols import LISTED, Wanted
from tradingbot_exp.runtime.text import at_most, listed, plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradingbot_exp.config.schema import Config, DataConfig

log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """What is to be forecast, and what the run says of its own bars.

    Attributes
    ----------
    bars : DataFrame or str
        Or the path of a file, a folder or a glob.
    symbol : str or None
        The instrument that is wanted, if one is.
    keys : (str, str)
        What messages call the two.
    frequency : str or None
        How often the run's own bars came, as its data card says.
    fitted : mapping
        What features learned from the train bars, by name; of a panel by symbol and name.
    with_past : bool
        Whether a table's ``data.returns`` are read too.
    """

    bars: pd.DataFrame | str
    symbol: str | None
    keys: tuple[str, str]
    frequency: str | None
    fitted: Mapping[str, Any]
    with_past: bool

    @property
    def label(self) -> str:
        """What messages call the bars."""
        return self.bars if isinstance(self.bars, str) else self.keys[0]

    @property
    def is_several(self) -> bool:
        """Whether there is a file for each symbol."""
        return isinstance(self.bars, str) and is_several(self.bars)

    def cells(self, path: str | None = None) -> Cells:
        """Read the bars, or one file of them."""
        if isinstance(self.bars, str):
            return read_cells(path or self.bars, self.keys[0])
        return frame_cells(self.bars, self.keys[0])


class Incoming(NamedTuple):
    """Rows of one instrument to forecast from.

    Attributes
    ----------
    features : pandas.DataFrame of shape (n, F)
        Unscaled, float64, indexed by the bars' times: the rows with enough history for the features.
    symbol : str
    dates : pandas.DatetimeIndex of shape (bars,)
        The times of all bars.
    returns : pandas.Series or None
        The one-bar log return after each bar but the last, by date, as `tradingbot_exp.data.identity.market_returns`
        has them; None of a table.
    past : ndarray of shape (bars − 1,), or None
        The one-bar log return of each bar but the first, known at its close; None of a table, unless they were asked
        for.
    """

    features: pd.DataFrame
    symbol: str
    dates: pd.DatetimeIndex
    returns: pd.Series[float] | None
    past: NDArray[Any] | None


def incoming_rows(asked: Asked, config: DataConfig) -> Incoming:
    """Compute the features of new bars of one instrument, or take those of a new table.

    Raises
    ------
    ConfigError, DataError
        Columns, values or frequency do not fit, or there are too few rows.
    """
    symbol = asked.symbol or config.symbol
    if asked.is_several and symbol is None:
        names = at_most(list(files_by_symbol(asked.label, asked.keys[0])), LISTED)
        raise ConfigError(
            f"{asked.label} has a file for each of {names}, and the model was trained on one instrument. Choose one "
            f"with {asked.keys[1]}."
        )
    cells = asked.cells(file_of(asked.label, symbol, asked.keys) if asked.is_several else None)
    found = _read(cells, replace(config, symbol=symbol), asked, asked.fitted)
    _check_frequency(cells.label, found.dates, asked.frequency)
    if len(found.features) < config.sequence_length:
        raise DataError(_too_few(cells.label, len(found.dates), config))
    return found


def incoming_panel(asked: Asked, config: Config, known: Sequence[str]) -> list[Incoming]:
    """Compute the features of new bars of several instruments, each by itself, in order of symbol.

    Those with too few bars are left out, by name, with a warning.

    Parameters
    ----------
    asked : Asked
    config : Config
        Of the run.
    known : sequence of str
        The symbols that it was trained on; empty if that is not on record.

    Raises
    ------
    ConfigError, DataError
        See `incoming_rows`; or the model cannot do without several symbols, or without what it learned of each.
    """
    data, told = config.data, list[str]()
    with giving_memory_back():
        wanted = Wanted(config, list(asked.fitted) or known, asked.symbol, asked.keys[1])
        found = [
            _read(replace(cells, told=told), of_symbol(data, symbol), asked, asked.fitted.get(symbol))
            for symbol, cells in _by_symbol(asked, data, wanted)
        ]
    say_first(told)
    check_zones({each.symbol: each.dates for each in found}, asked.label)
    _check_frequency(asked.label, union([each.dates for each in found]), asked.frequency)
    enough = [each for each in found if len(each.features) >= data.sequence_length]
    kept = {each.symbol for each in enough}
    short = [f"{each.symbol} ({plural(len(each.dates), 'bar')})" for each in found if each.symbol not in kept]
    most = max(len(each.dates) for each in found)
    if asked.symbol is not None and asked.symbol not in kept:
        most = next(len(each.dates) for each in found if each.symbol == asked.symbol)
        raise DataError(_too_few(f"{asked.label}, {asked.symbol}", most, data))
    if not enough:
        raise DataError(_too_few(asked.label, most, data))
    if short:
        log.warning("%s: too few bars, left out: %s.", asked.label, at_most(short, LISTED))
        wanted.require_several(sorted(kept), asked.label)
    return enough


def _by_symbol(asked: Asked, config: DataConfig, wanted: Wanted) -> Iterable[tuple[str, Cells]]:
    """Return the rows of each symbol: of a file each, or of one with a column that names them."""
    named = named_columns(config)
    if asked.is_several:
        files = files_by_symbol(asked.label, asked.keys[0])
        tell_of_others(asked.label)
        return cells_of(files, wanted.of(sorted(files), asked.label), named)
    cells = asked.cells()
    _require_columns(cells, config)
    with refusing(cells.label):
        parts = select_each(cells, named)
    if parts is None:  # of one instrument, and named after it
        own = symbol_of(Path(asked.bars)) if isinstance(asked.bars, str) else config.name
        parts = {asked.symbol or own: cells}
    return [(symbol, parts[symbol]) for symbol in wanted.of(list(parts), cells.label)]


def _read(cells: Cells, config: DataConfig, asked: Asked, fitted: Mapping[str, FittedFeature] | None) -> Incoming:
    """Compute the features of the bars of one instrument, or take those of its table."""
    names, key = feature_names(config), asked.keys[1]
    _require_columns(cells, config)
    returns = past = None
    if config.source == "table":
        table = table_of(cells, config, with_target=False, with_returns=asked.with_past, symbol_key=key)
        features, symbol, history = table.frame[list(names)], table.symbol, 0
        if asked.with_past:
            past = table.frame[config.returns].to_numpy()[1:]
    else:
        bars = bars_of(cells, replace(config, source="csv", path=None), key)
        features, symbol, history = compute_features(bars.frame, names, fitted), bars.symbol, warmup_of(names)
        past = np.diff(np.log(bars.frame["close"].to_numpy()))
        returns = pd.Series(past, bars.frame.index[:-1])
    usable = features.iloc[history:]
    check_finite_features(cells.label, usable)
    return Incoming(usable, symbol, pd.DatetimeIndex(features.index), returns, past)


def _check_frequency(label: str, dates: pd.DatetimeIndex, frequency: str | None) -> None:
    """Refuse bars that come at other times than those that the model was trained on."""
    if len(dates) > 2:
        check_spacing(label, describe_frequency(dates).name, frequency)


def check_spacing(label: str, found: str, frequency: str | None) -> None:
    """Refuse bars of another frequency than that of the run's own, as its data card says, if it does."""
    if frequency is not None and not same_spacing(frequency, found):
        raise DataError(f"{label}: the bars are {found}, and the model was trained on {frequency} ones.")


def _too_few(label: str, bars: int, config: DataConfig) -> str:
    history = 0 if config.source == "table" else warmup_of(feature_names(config))
    seen = f", and the model sees {config.sequence_length} at a time" if config.sequence_length > 1 else ""
    return (
        f"{label}: too few rows: {bars}. The features need the first {history} as history{seen}; "
        f"give {history + config.sequence_length} or more."
    )


def _require_columns(cells: Cells, config: DataConfig) -> None:
    """Refuse a file without the columns that `data.columns` named in the run's own."""
    named = named_columns(config)
    lacking = [column for column in named.values() if column not in cells.columns]
    if lacking:
        said = ", ".join(f"{role}: {column}" for role, column in named.items())
        raise DataError(
            f"{cells.label} has no column {listed(lacking)}: its columns are {cells.listed}, and the model was trained "
            f"with data.columns={{{said}}}. Name the columns as they were there."
        )
