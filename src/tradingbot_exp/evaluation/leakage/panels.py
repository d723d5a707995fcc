"""The leak gate's look at what is computed from bars: closely of some symbols, of the others once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tradingbot_exp.data.features import warmup_of
from tradingbot_exp.data.panel import Layout
from tradingbot_exp.data.panel_blocks import naming
from tradingbot_exp.data.splits import Block
from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.leakage.recompute import (
    check_features_know_no_future,
    features_of_more_than_bars,
    see_cut,
)
from tradingbot_exp.evaluation.leakage.segments import Segments, compute_on_segments
from tradingbot_exp.runtime.text import listed

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData

_LOOKED_AT = 3  # symbols, as closely as one instrument
_LONG = 50_000
"""Bars from which features are computed on segments first: with fewer that takes as long as what it spares."""


def check_bars(data: PreparedData, names: Sequence[str]) -> tuple[str, list[str]]:
    """Compute features of each symbol again, closely of those with most rows.

    The features are the same functions for all symbols, so that what knows its future is seen on any; the others'
    are computed once more, on bars that end inside their validation rows.

    Returns
    -------
    words : str
        What was done.
    beside : list of str
        Features that come of more than the bars.

    Raises
    ------
    DataError
        A row moved; of several symbols, the message names the one.
    """
    layout, beside = data.layout, list[str]()
    rows = np.bincount(layout.symbol, minlength=len(layout.names))
    closely = sorted(np.argsort(-rows, kind="stable")[:_LOOKED_AT].tolist())
    for code, symbol in enumerate(layout.names):
        own, bars = of_symbol(data, code), data.panel.bars[symbol]
        with naming(symbol if layout.is_panel else ""):
            if code not in closely:
                see_cut(own, bars, names)
                continue
            segments = compute_on_segments(own, bars, names) if len(bars) >= _LONG else Segments()
            points = check_features_know_no_future(own, bars, names, segments.settled, quick=segments.quick)
            beside += features_of_more_than_bars(own, bars, names, segments.settled)
    if layout.is_panel:
        where = (
            f", of {listed([layout.names[code] for code in closely])} on bars that are cut, and changed, at many "
            "points, of all other symbols on bars that are cut once"
        )
    else:
        where = f" on bars that end with {listed(points[0])}, and on bars changed after {listed(points[1])}"
    return f"{len(names)} features computed again{where}: no row moved", list(dict.fromkeys(beside))


def of_symbol(data: PreparedData, code: int) -> PreparedData:
    """Return the rows of one symbol as data of one instrument.

    Where it has hardly any train or validation rows, those before the test part are halved for them: the gate wants
    points inside of both.
    """
    if data.layout.is_alone:
        return data
    rows, symbol = data.layout.rows_of(code), data.layout.names[code]
    ends = [int(np.searchsorted(rows, edge)) for edge in (data.train.stop, data.val.start, data.val.stop)]
    if min(ends[0], ends[2] - ends[1]) < 2:
        ends = [ends[2] // 2, ends[2] // 2, ends[2]]
    return replace(
        data,
        symbol=symbol,
        index=data.index[rows],
        raw=data.raw[rows],
        scaled=data.scaled[rows],
        target=data.target[rows],
        next_return=None if data.next_return is None else data.next_return[rows],
        train=Block("train", 0, ends[0]),
        val=Block("val", ends[1], ends[2]),
        test=Block("test", ends[2], len(rows)),
        panel=replace(data.panel, layout=Layout.of_one(len(rows), symbol)),
    )


def columns_by_symbol(data: PreparedData) -> Iterator[Floats]:
    """Return each column of the bars, or each feature without bars, one symbol after another, and the symbols' numbers.

    Each of shape (n,); what a symbol lacks is 0, as is NaN. Of bars, since a feature that looks back may differ in its
    last bits where the bars are the same.
    """
    layout, bars = data.layout, data.panel.bars
    symbol = layout.ordered(layout.symbol)
    if not bars:
        yield from map(layout.ordered, data.raw.T)
    warmup, rows = warmup_of(data.feature_names), np.bincount(symbol)
    for column in dict.fromkeys(column for frame in bars.values() for column in frame.columns):
        parts = [
            bars[name][column].to_numpy()[warmup : warmup + count] if column in bars[name] else np.zeros(count)
            for name, count in zip(layout.names, rows, strict=True)
        ]
        values = np.concatenate(parts)
        yield np.where(np.isnan(values), 0.0, values)
    yield symbol.astype(np.float64)
