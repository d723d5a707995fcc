"""From a `DataConfig` to the bars, or tables, of the instruments that it names: one, or several."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tradingbot_exp.config.checks import check_data
from tradingbot_exp.config.choices import BUNDLED_PANELS
from tradingbot_exp.config.registries import BUILT_IN_SOURCES
from tradingbot_exp.data.cells import Cells
from tradingbot_exp.data.columns import named_columns, select_each
from tradingbot_exp.data.folder import files_by_symbol, is_several, tell_of_others
from tradingbot_exp.data.reading import giving_memory_back, read_cells, refusing
from tradingbot_exp.data.sources import Bars, Table, bars_of, bundled_bars, load_bars, load_table, own_cells, table_of
from tradingbot_exp.data.synthetic import synthetic_card, synthetic_panel
from tradingbot_exp.errors import ConfigError, DataError, near
from tradingbot_exp.runtime.text import at_most, plural

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import DataConfig

log = logging.getLogger(__name__)

_TOLD = 5  # lines of what is said of the files of single symbols
_LISTED = 20


@dataclass(frozen=True, eq=False)
class Loaded:
    """The bars, or the tables, of one instrument or of several.

    Attributes
    ----------
    parts : dict of str to (Bars or Table)
        By symbol, in their order.
    name : str
        ``data.name``.
    card : dict
        What is known of their origin: see `tradingbot_exp.data.sources.Bars`.
    is_panel : bool
        Whether several were asked for.
    """

    parts: dict[str, Bars | Table]
    name: str
    card: dict[str, Any]
    is_panel: bool


def is_panel(config: DataConfig) -> bool:
    """Tell whether a configuration is of several instruments: it says so, or its path is that of many files."""
    if config.symbol is not None:
        return False
    if config.source == "synthetic":
        return config.synthetic.symbols > 1
    if config.source == "bundled":
        return config.name in BUNDLED_PANELS
    return config.symbols is not None or is_of_files(config)


def is_of_files(config: DataConfig) -> bool:
    """Tell whether there are many files to read; what the path of a user's own source is, that source knows."""
    return config.source in BUILT_IN_SOURCES and config.path is not None and is_several(config.path)


def load_all(config: DataConfig) -> Loaded:
    """Load all instruments that a configuration names.

    What is unusual about the files of several is said of the first ones alone.

    Raises
    ------
    ConfigError
        A key is at odds with another or with what the files hold.
    DataError
        A file, a column or a row cannot be used; the message names the symbol.
    """
    if not is_panel(config):
        one = load_table(config) if config.source == "table" else load_bars(config)
        return Loaded({one.symbol: one}, one.name, one.card, is_panel=False)
    check_data(config)
    told: list[str] = []
    with giving_memory_back():
        parts = dict(sorted(_parts(config, told)))
    say_first(told)
    if not parts:
        raise DataError(f"data={config.name}: there are no bars of any symbol.")
    card = next(iter(parts.values())).card
    if config.path is not None:
        card = card | {"source": f"{Path(config.path).name}: {plural(len(parts), 'symbol')}"}
    if config.source == "bundled":
        card = card | {"description": f"daily bars of {', '.join(parts)}"}
    check_zones(
        {symbol: pd.DatetimeIndex(part.frame.index) for symbol, part in parts.items()}, config.path or config.name
    )
    return Loaded(parts, config.name, card, is_panel=True)


def check_zones(dates: Mapping[str, pd.DatetimeIndex], label: str) -> None:
    """Refuse symbols whose times are in different zones."""
    zones = {symbol: index.tz for symbol, index in dates.items()}
    first, *others = zones
    for symbol in others:
        if str(zones[symbol]) != str(zones[first]):
            raise DataError(
                f"{label}: the times of {first} are in the zone {zones[first]}, and those of {symbol} in "
                f"{zones[symbol]}; expected one zone, or none."
            )


def say_first(told: Sequence[str]) -> None:
    """Say the first few of what there is to be said of the files of single symbols, and how many more there are."""
    for line in told[:_TOLD]:
        log.warning("%s", line)
    if len(told) > _TOLD:
        log.warning("%s of this kind on other symbols.", plural(len(told) - _TOLD, "more remark"))


def _parts(config: DataConfig, told: list[str]) -> Iterator[tuple[str, Bars | Table]]:
    if config.source == "synthetic":
        frames: Mapping[str, pd.DataFrame] = synthetic_panel(config.synthetic)
        for symbol in _chosen(config, frames, "the process"):
            yield symbol, Bars(frames[symbol], config.name, symbol, synthetic_card(config.synthetic))
    elif config.source == "bundled":
        bundled = {name.upper(): name for name in BUNDLED_PANELS[config.name]}
        for symbol in _chosen(config, bundled, f"data={config.name}"):
            yield symbol, bundled_bars(config, bundled[symbol])
    else:
        read: Callable[..., Bars | Table] = table_of if config.source == "table" else bars_of
        for symbol, cells in _cells(config):
            yield symbol, read(replace(cells, told=told), of_symbol(config, symbol))


def of_symbol(config: DataConfig, symbol: str) -> DataConfig:
    """Return the configuration of one symbol, from whose rows the column that names it has been taken."""
    return replace(config, symbol=symbol, symbols=None, columns=replace(config.columns, symbol=None))


def _cells(config: DataConfig) -> Iterator[tuple[str, Cells]]:
    """Return the rows of each symbol that is chosen: of one file, or of a file each."""
    if not is_of_files(config):
        cells = own_cells(config) if config.source not in BUILT_IN_SOURCES else read_cells(str(config.path))
        with refusing(cells.label):
            parts = select_each(cells, named_columns(config))
        if parts is None:
            raise ConfigError(
                f"data.symbols={config.symbols}: {cells.label} has no column that names symbols; its columns are "
                f"{cells.listed}. Name it, data.columns={{symbol: NAME}}, or leave data.symbols out."
            )
        for symbol in _chosen(config, parts, cells.label):
            yield symbol, parts[symbol]
        return
    files = files_by_symbol(str(config.path))
    tell_of_others(str(config.path))
    yield from cells_of(files, _chosen(config, files, str(config.path)), named_columns(config))


def cells_of(
    files: Mapping[str, Path], symbols: Iterable[str], named: Mapping[str, str]
) -> Iterator[tuple[str, Cells]]:
    """Return the rows of each of some symbols, of a file each."""
    for symbol in symbols:
        cells = read_cells(str(files[symbol]))
        with refusing(cells.label):
            parts = select_each(cells, named)
        if parts is None:
            yield symbol, cells
        elif len(parts) == 1:
            yield symbol, next(iter(parts.values()))
        else:
            raise DataError(
                f"{files[symbol]} holds {len(parts)} instruments, {at_most(list(parts), _LISTED)}; expected those of "
                "one in each file of a folder. A file of several is read by itself: data.path=FILE data.symbols=all."
            )


def _chosen(config: DataConfig, known: Mapping[str, Any], label: str) -> list[str]:
    """Return the symbols that are wanted, in their order."""
    if config.symbols in (None, "all"):
        return sorted(known)
    wanted = [str(symbol) for symbol in config.symbols]
    for symbol in wanted:
        if symbol not in known:
            listed = at_most(sorted(known), _LISTED)
            raise ConfigError(f"data.symbols: {symbol!r} is not in {label}, which has {listed}.{near(symbol, known)}")
    return sorted(wanted)
