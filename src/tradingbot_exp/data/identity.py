"""What data are called across runs: the instrument, and dates as text that sorts and compares."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import DataConfig
    from tradingbot_exp.data.dataset import PreparedData

Span = tuple[str, str]
"""First and last moment, ends included, as `stamp` writes them."""
TARGETS = "target"
"""Name of the series that stands for a market's returns where there are none."""
ALWAYS: Span = ("", "~")  # sorts before and behind every moment
LEAST_SHARED, SAME_CORRELATION = 60, 0.99
_DAILY = 20 * 3600  # seconds between bars from which they are told apart by their day
_FILE = "file "
_UNNAMED = ("csv", "table")  # names that the options bring along, and that say nothing of the instrument


def instrument(config: DataConfig, data: PreparedData) -> str:
    """Name what is traded, so that runs on the same market can be found, whatever part of its bars they use.

    Returns
    -------
    str
        The symbol where there is one, in capitals; of a user's file without one `data.name` or, if that is not set,
        the file's name; of a synthetic process what defines its path; of arrays that were given, their fingerprint.
    """
    return plain_name(_instrument(config, data))


def _instrument(config: DataConfig, data: PreparedData) -> str:
    if config.source == "synthetic":
        return f"SYNTHETIC signal={config.synthetic.signal:g} seed={config.synthetic.seed}"
    if not data.symbol:
        return f"{data.name} {data.fingerprint}"
    if data.symbol == data.name and data.name in _UNNAMED and config.path:
        return f"{_FILE}{Path(config.path).name}"
    return data.symbol.upper()


def is_file(instrument: str) -> bool:
    """Return whether a market is named after a file, as nothing better was known."""
    return instrument.startswith(_FILE)


def plain_name(name: str) -> str:
    """Write a market's name so that a query can name it."""
    return re.sub(r"[^\w .=+&-]", "_", name)[:100]


def market_returns(data: PreparedData) -> pd.Series[float]:
    """Return what a market is known by: the one-bar returns of the train and validation rows, by date.

    Returns
    -------
    Series of shape (n,)
        Log returns; of data without one-bar returns the targets. The test rows are left out.
    """
    values, name = (data.target, TARGETS) if data.next_return is None else (data.next_return, "return")
    return pd.Series(values[: data.val.stop], data.index[: data.val.stop], name=name)


def write_returns(returns: pd.Series[float], file: Path) -> None:
    """Write what a market is known by as Parquet: one column by date, of the series' name, in float32."""
    returns.rename_axis("date").astype("float32").to_frame().to_parquet(file)


def is_same_market(first: pd.Series[float], second: pd.Series[float]) -> bool | None:
    """Return whether two series of returns are of one market: on at least 60 shared dates they hardly differ.

    So a copy, other bars before or after, or rounded prices are the same market. Bars of a day or longer are compared
    by their day, whatever the time of day in their dates.

    Parameters
    ----------
    first, second : Series
        By date.

    Returns
    -------
    bool or None
        None for fewer shared dates, which tell nothing, and where targets that differ stand for returns.
    """
    pair = pd.concat([_by_day(first), _by_day(second)], axis=1, join="inner").dropna().to_numpy(dtype=np.float64)
    if len(pair) < LEAST_SHARED:
        return None
    alike = bool(np.ptp(pair, axis=0).all() and np.corrcoef(pair, rowvar=False)[0, 1] > SAME_CORRELATION)
    return None if not alike and TARGETS in (first.name, second.name) else alike


def _by_day(returns: pd.Series[float]) -> pd.Series[float]:
    index = pd.DatetimeIndex(returns.index)
    if len(index) > 1 and np.median(np.diff(index.as_unit("s").asi8)) >= _DAILY:
        index = index.tz_localize(None).normalize()
    elif index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    found = pd.Series(returns.to_numpy(dtype=np.float64), index.as_unit("ns"))
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
    train, first, last = (data.index[row] for row in (data.train.start, data.val.start, data.val.stop - 1))
    folds = data.card.get("folds")
    if folds:
        train = min(pd.Timestamp(fold["train"]["start"]) for fold in folds)
        first, last = pd.Timestamp(folds[0]["val"]["start"]), pd.Timestamp(folds[-1]["val"]["end"])
    return {
        "data.instrument": instrument(config, data),
        "data.train_start": stamp(train),
        "data.val_start": stamp(first),
        "data.val_end": stamp(last),
        "data.known_end": stamp(data.index[min(data.val.stop - 1 + data.horizon, len(data.index) - 1)]),
    }
