"""What data are called across runs: the instrument, and dates as text that sorts and compares."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradingbot_exp.config.choices import is_across

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import DataConfig
    from tradingbot_exp.data.dataset import PreparedData

Span = tuple[str, str]
"""First and last moment, ends included, as `stamp` writes them."""
Returns: TypeAlias = "pd.Series[float] | pd.DataFrame"
"""What a market is known by: see `market_returns`."""
TARGETS = "target"
"""Name of the series that stands for a market's returns where there are none."""
ALWAYS: Span = ("", "~")  # sorts before and behind every moment
LEAST_SHARED, SAME_CORRELATION = 60, 0.99
_DAILY = 20 * 3600  # seconds between bars from which they are told apart by their day
_FILE = "file "
_PANEL = "panel of "
_NAMED = 5  # symbols
_UNNAMED = ("csv", "table")  # names that the options bring along, and that say nothing of the instrument


def instrument(config: DataConfig, data: PreparedData) -> str:
    """Name what is traded, so that runs on the same market can be found, whatever part of its bars they use.

    Returns
    -------
    str
        The symbol where there is one, in capitals; of a user's file without one `data.name` or, if that is not set,
        the file's name; of a panel its symbols, of many how many, the first and the last; of a synthetic process what
        defines its path; of arrays that were given, their fingerprint.
    """
    return plain_name(_instrument(config, data))


def _instrument(config: DataConfig, data: PreparedData) -> str:
    if config.source == "synthetic":
        symbols = f"{config.synthetic.symbols} symbols " if config.synthetic.symbols > 1 else ""
        which = f"{data.symbol} of a panel " if symbols and not data.symbols else symbols
        return f"SYNTHETIC {which}signal={config.synthetic.signal:g} seed={config.synthetic.seed}"
    if names := data.symbols:
        several = f"{_PANEL}{len(names)} symbols {names[0]} to {names[-1]}"
        return "+".join(names).upper() if len(names) <= _NAMED else several
    if not data.symbol:
        return f"{data.name} {data.fingerprint}"
    if data.symbol == data.name and data.name in _UNNAMED and config.path:
        return f"{_FILE}{Path(config.path).name}"
    return data.symbol.upper()


def is_file(instrument: str) -> bool:
    """Return whether a market is named after a file, or by what other panels may have in common, for want of better."""
    return instrument.startswith((_FILE, _PANEL))


def plain_name(name: str) -> str:
    """Write a market's name so that a query can name it."""
    return re.sub(r"[^\w .=+&-]", "_", name)[:100]


def market_returns(data: PreparedData) -> pd.DataFrame:
    """Return what a market is known by: the one-bar returns of all rows before the test part, by date.

    Returns
    -------
    DataFrame of shape (D, S)
        Log returns; of data without one-bar returns the targets. A column a symbol, named ``return`` or ``target``, of
        a panel with the symbol, NaN where it has no row.
    """
    values, name = (data.target, TARGETS) if data.next_return is None else (data.next_return, "return")
    layout = data.layout.take(slice(0, data.val.stop))
    grid = np.full((len(layout.starts), len(layout.names)), np.nan)
    grid[layout.days, layout.symbol] = values[: data.val.stop]
    return pd.DataFrame(grid, data.index[layout.starts], [f"{name} {symbol}" for symbol in data.symbols] or [name])


def write_returns(returns: Returns, file: Path) -> None:
    """Write what a market is known by as Parquet: a column, or one a symbol, by date, in float32."""
    _framed(returns).rename_axis("date").astype("float32").to_parquet(file)


def is_same_market(first: Returns, second: Returns) -> bool | None:
    """Return whether two series of returns are of one market: on at least 60 shared dates they hardly differ.

    So a copy, other bars before or after, or rounded prices are the same market. Bars of a day or longer are compared
    by their day, whatever the time of day in their dates. A panel is the market of each of its symbols.

    Parameters
    ----------
    first, second : Series or DataFrame
        By date, a column a symbol.

    Returns
    -------
    bool or None
        None for fewer shared dates, which tell nothing, and where targets that differ stand for returns.
    """
    found = is_same_by_column(first, second)
    return True if True in found else (False if False in found else None)


def is_same_by_column(first: Returns, second: Returns) -> list[bool | None]:
    """Return of each column of the second whether it is of the market of the first; see `is_same_market`."""
    one, other = _by_day(_framed(first)), _by_day(_framed(second))
    shared = one.index.intersection(other.index)
    found = _correlations(*(frame.loc[shared].to_numpy(dtype=np.float64) for frame in (one, other)))
    targets = any(str(column).startswith(TARGETS) for frame in (one, other) for column in frame)
    otherwise = None if targets else False
    return [
        None if np.isnan(column).all() else bool(np.nanmax(column) > SAME_CORRELATION) or otherwise
        for column in found.T
    ]


def _framed(returns: Returns) -> pd.DataFrame:
    return returns.to_frame() if isinstance(returns, pd.Series) else returns


def _correlations(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlate each column of one with each of the other, over the rows that both have.

    Returns
    -------
    ndarray of shape (S, T)
        NaN for fewer than `LEAST_SHARED` rows, 0 where one is constant.
    """
    x, y = ((each - np.nan_to_num(np.nanmean(each))) if np.isfinite(each).any() else each for each in (first, second))
    has = [np.isfinite(each).astype(np.float64) for each in (x, y)]
    x, y = np.nan_to_num(x), np.nan_to_num(y)
    count = has[0].T @ has[1]
    sums = x.T @ has[1], has[0].T @ y
    squares = (
        (x**2).T @ has[1] - sums[0] ** 2 / np.maximum(count, 1),
        has[0].T @ y**2 - sums[1] ** 2 / np.maximum(count, 1),
    )
    size = np.sqrt(np.maximum(squares[0], 0) * np.maximum(squares[1], 0))
    moves = size > 1e-12 * np.sqrt(((x**2).T @ has[1]) * (has[0].T @ y**2))
    together = x.T @ y - sums[0] * sums[1] / np.maximum(count, 1)
    found = np.where(moves, together / np.where(moves, size, 1.0), 0.0)
    return np.where(count >= LEAST_SHARED, found, np.nan)


def _by_day(returns: pd.DataFrame) -> pd.DataFrame:
    index = pd.DatetimeIndex(returns.index)
    if len(index) > 1 and np.median(np.diff(index.as_unit("s").asi8)) >= _DAILY:
        index = index.tz_localize(None).normalize()
    elif index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    found = returns.set_axis(index.as_unit("ns"))
    return found[~found.index.duplicated()]


def stamp(moment: pd.Timestamp) -> str:
    """Write a time as text that sorts: in UTC where it has a zone, to the second, such as 2009-04-22T00:00:00."""
    naive = moment if moment.tz is None else moment.tz_convert("UTC").tz_localize(None)
    return naive.strftime("%Y-%m-%dT%H:%M:%S")


def overlap(first: Span, second: Span) -> bool:
    """Return whether two spans share a moment."""
    return first[0] <= second[1] and second[0] <= first[1]


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Join the spans that share a moment."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return tuple(found)


def identity_tags(config: DataConfig, data: PreparedData) -> dict[str, str]:
    """Return the tags by which runs on the same market and dates are found.

    Parameters
    ----------
    config : DataConfig
    data : PreparedData
        Of several folds those of any one: the dates are of all of them, as the data card has them.
    """
    tags = {
        "data.instrument": instrument(config, data),
        "data.train_start": stamp(data.index[data.train.numbers[0]]),
        "data.known_end": stamp(_known_end(data)),
    }
    if not len(data.val):  # learned from, and judged by none
        return tags
    first, last = (data.index[row] for row in (data.val.numbers[0], data.val.stop - 1))
    folds = data.card.get("folds")
    if folds:
        tags["data.train_start"] = stamp(min(pd.Timestamp(fold["train"]["start"]) for fold in folds))
        first, last = pd.Timestamp(folds[0]["val"]["start"]), pd.Timestamp(folds[-1]["val"]["end"])
    return {**tags, "data.val_start": stamp(first), "data.val_end": stamp(last)}


def _known_end(data: PreparedData) -> pd.Timestamp:
    """Return the last date that a target of the train and validation rows reaches."""
    rows = np.concatenate([data.train.numbers, data.val.numbers])
    return known_dates(data)[rows].max()


def known_dates(data: PreparedData) -> pd.DatetimeIndex:
    """Return the date on which each row's target is known, shape (n,).

    Of a table, whose later dates are not kept, those after its last row are the last date of all.
    """
    panel, zone = data.panel, data.panel.calendar.tz
    calendar = panel.calendar.as_unit("ns").asi8
    period = data.card.get("period")
    end = calendar[-1] if period is None else pd.Timestamp(period[1]).value
    known = np.append(calendar, end)[panel.known]
    late, date = panel.known == len(calendar), panel.layout.date
    for symbol, bars in panel.bars.items():
        rows = panel.layout.rows_of(panel.layout.names.index(symbol))
        rows, times = rows[late[rows]], pd.DatetimeIndex(bars.index).as_unit("ns").asi8
        known[rows] = times[times.searchsorted(calendar[date[rows]]) + data.horizon]
    if panel.bars and is_across("", data.card.get("target", "")):  # of all symbols of a date
        known = np.maximum.reduceat(known, panel.layout.starts)[panel.layout.days]
    found = pd.DatetimeIndex(known.view("datetime64[ns]"))
    return found if zone is None else found.tz_localize("UTC").tz_convert(zone)
