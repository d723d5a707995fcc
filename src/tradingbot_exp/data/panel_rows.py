"""The rows of all symbols: each one's own, split by date, brought into one order."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from tradingbot_exp.config.choices import is_across
from tradingbot_exp.data.cells import FloatArray
from tradingbot_exp.data.features import FittedFeature
from tradingbot_exp.data.fitted import fit_features, is_fitted
from tradingbot_exp.data.panel import Integers, Layout, across_rank
from tradingbot_exp.data.panel_blocks import Panel, naming
from tradingbot_exp.data.panel_sources import Loaded
from tradingbot_exp.data.rows import Rows, make_rows, usable_rows
from tradingbot_exp.data.sources import Bars
from tradingbot_exp.data.splits import Split, split_rows
from tradingbot_exp.errors import DataError
from tradingbot_exp.runtime.text import at_most, listed, plural

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import DataConfig

log = logging.getLogger(__name__)

_LISTED = 20


@dataclass(frozen=True, eq=False)
class PanelRows:
    """The n rows of all symbols, in order of date and symbol.

    Attributes
    ----------
    rows : Rows
    panel : Panel
    split : Split
        In rows.
    loaded : DatetimeIndex
        The dates of all bars that were loaded of them.
    left_out : dict of str to str
        Symbols that are not among them, each with the reason.
    """

    rows: Rows
    panel: Panel
    split: Split
    loaded: pd.DatetimeIndex
    left_out: dict[str, str]


class _Part(NamedTuple):
    """What is usable of one symbol."""

    usable: slice
    dates: pd.DatetimeIndex


def panel_rows(source: Loaded, names: tuple[str, ...], config: DataConfig) -> PanelRows:
    """Split the symbols' rows by date, and compute features and targets.

    Of several, a symbol without a row before the test part is left out, by name, with a warning.

    Raises
    ------
    ConfigError, DataError
        The split is impossible, or leaves too few symbols or rows.
    """
    label = config.path or source.name
    parts, left_out = _usable(source, names, config)
    while True:
        if not parts:
            raise DataError(f"{label}: no symbol has enough bars: {_said(left_out)}.")
        calendar = union([part.dates for part in parts.values()])
        loaded = union([pd.DatetimeIndex(source.parts[symbol].frame.index) for symbol in parts])
        split = split_rows(calendar, config.horizon, config.split, config.sequence_length, loaded, label=label)
        late = _late(parts, calendar, split, _learning(names, config))
        if not late:
            break
        left_out |= late
        parts = {symbol: part for symbol, part in parts.items() if symbol not in late}
    if left_out:
        log.warning("%s: %s left out: %s.", label, plural(len(left_out), "symbol"), _said(left_out))
    train_end = calendar[split.train.stop - 1]
    fitted: dict[str, dict[str, FittedFeature]] = {}
    rows = []
    for symbol, part in parts.items():
        given = source.parts[symbol]
        with naming(symbol if source.is_panel else ""):
            learned = {}
            if isinstance(given, Bars):
                stop = given.frame.index.searchsorted(train_end, side="right")
                learned = fit_features(names, given.frame.iloc[:stop])
            if learned:
                fitted[symbol] = learned
            rows.append(make_rows(given, part.usable, names, config, learned))
    panel = replace(_panel(source, parts, calendar, config), fitted=fitted)
    together = _together(rows, panel.layout, calendar, config)
    if is_across(config.source, config.target):  # of all symbols of a date, whichever is known last
        panel = _known_together(panel)
    blocks = Split(*(panel.in_rows(block) for block in split))
    for block, least in zip(blocks, (2, 1, 1), strict=True):
        if len(block) < least:
            raise DataError(
                f"{label}: too few rows: {len(block)} for {block.name}, with data.sequence_length="
                f"{config.sequence_length}; expected at least {least}. Give more bars, or change data.split."
            )
    return PanelRows(together, panel, blocks, loaded, left_out)


def _usable(source: Loaded, names: tuple[str, ...], config: DataConfig) -> tuple[dict[str, _Part], dict[str, str]]:
    parts, left_out = {}, {}
    for symbol, part in source.parts.items():
        try:
            usable = usable_rows(part, names, config)
        except DataError:
            if not source.is_panel:
                raise
            left_out[symbol] = f"{plural(len(part.frame), 'bar')}, too few for the features"
            continue
        index = pd.DatetimeIndex(part.frame.index[usable])
        if len(index) or not source.is_panel:
            parts[symbol] = _Part(usable, index)
        else:
            left_out[symbol] = f"{plural(len(part.frame), 'row')}, none with a target"
    return parts, left_out


def _learning(names: tuple[str, ...], config: DataConfig) -> list[str]:
    """Name what is learned of the train rows of each symbol by itself."""
    features = [f"the feature {name}" for name in names if config.source != "table" and is_fitted(name)]
    return [*(["data.scaling=symbol"] if config.scaling == "symbol" else []), *features]


def _late(parts: dict[str, _Part], calendar: pd.DatetimeIndex, split: Split, learning: Sequence[str]) -> dict[str, str]:
    """Return the symbols without a row in train and validation part, or with too few train rows to learn from."""
    train, validated = calendar[split.train.stop - 1], calendar[split.val.stop - 1]
    found = {}
    for symbol, part in parts.items():
        if part.dates[0] > validated:
            found[symbol] = f"no row before the test part, up to {validated.date()}"
        elif learning and (part.dates <= train).sum() < 2:
            found[symbol] = f"fewer than 2 train rows for {listed(learning)}, up to {train.date()}"
    return found


def _said(left_out: dict[str, str]) -> str:
    return at_most([f"{symbol} ({why})" for symbol, why in left_out.items()], _LISTED)


def union(indices: Sequence[pd.DatetimeIndex]) -> pd.DatetimeIndex:
    """Return the dates that any of the indices has, ascending; all are in one zone."""
    stamps = np.sort(np.concatenate([index.asi8 for index in indices]), kind="stable")  # speed: np.unique hashes
    dates = pd.DatetimeIndex(stamps[np.diff(stamps, prepend=stamps[:1] - 1) != 0].view("datetime64[ns]"), name="date")
    zone = indices[0].tz
    return dates if zone is None else dates.tz_localize("UTC").tz_convert(zone)


def _panel(source: Loaded, parts: dict[str, _Part], calendar: pd.DatetimeIndex, config: DataConfig) -> Panel:
    """Return whose rows there are."""
    bars = {symbol: given.frame for symbol in parts if isinstance(given := source.parts[symbol], Bars)}
    times = [np.concatenate(each) for each in zip(*_times(source, parts, config), strict=True)]
    symbol, names = np.repeat(np.arange(len(parts)), [len(part.dates) for part in parts.values()]), tuple(parts)
    order = np.lexsort((symbol, times[0]))
    date, known, following = (np.searchsorted(calendar.asi8, each[order]) for each in times)
    layout = Layout.of_one(len(date), names[0], is_panel=source.is_panel)
    if len(names) > 1:
        layout = Layout(date, symbol[order], np.maximum(following - date, 1), names, source.is_panel)
    return Panel(layout, calendar, known, config.horizon, config.sequence_length, bars)


def _times(source: Loaded, parts: dict[str, _Part], config: DataConfig) -> Iterator[tuple[Integers, ...]]:
    """Return of each symbol the time of each row, when its target is known, and that of its next bar."""
    for symbol, part in parts.items():
        stamps = pd.DatetimeIndex(source.parts[symbol].frame.index).asi8
        ends = np.arange(part.usable.start, part.usable.stop)
        yield tuple(stamps[np.minimum(ends + ahead, len(stamps) - 1)] for ahead in (0, config.horizon, 1))


def _together(parts: Sequence[Rows], layout: Layout, calendar: pd.DatetimeIndex, config: DataConfig) -> Rows:
    rows = parts[0]  # memory: those of one symbol are in order, and need no copy
    if len(parts) > 1:
        values = _in_order([each.features.to_numpy() for each in parts], layout)
        features = pd.DataFrame(values, calendar[layout.date], rows.features.columns, copy=False)
        returns = [each.next_return for each in parts if each.next_return is not None]
        target = _in_order([each.target for each in parts], layout)
        rows = Rows(features, target, _in_order(returns, layout) if returns else None)
    if not is_across(config.source, config.target):
        return rows
    own = rows.target - layout.means(rows.target)[layout.days]
    return replace(rows, target=across_rank(rows.target, layout) if config.target == "rank" else own)


def _in_order(parts: Sequence[FloatArray], layout: Layout) -> FloatArray:
    """Bring the rows of each symbol into the order of all; memory: without a copy of all beside it."""
    rows = np.empty((len(layout), *parts[0].shape[1:]))
    for code, own in enumerate(parts):
        rows[layout.rows_of(code)] = own
    return rows


def _known_together(panel: Panel) -> Panel:
    last = np.maximum.reduceat(panel.known, panel.layout.starts)
    return replace(panel, known=last[panel.layout.days])
