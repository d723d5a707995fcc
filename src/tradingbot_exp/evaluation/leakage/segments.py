"""Features computed once on segments that cover the bars, in place of many times on all bars."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from tradingbot_exp.data.features import compute_features, is_ours, warmup_of
from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.leakage.altered import dated_later, with_another_future
from tradingbot_exp.evaluation.leakage.points import CHANGED, CUT, Points
from tradingbot_exp.evaluation.leakage.recompute import LEFT_OUT, MEMORY, QUICK, TOLERANCE, largest, memory_of

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData


_OURS = 512
"""Bars that a feature of this package is given to settle: the slowest forgets the first by a factor of 0.93 a bar."""


@dataclass(frozen=True)
class Segments:
    """What came of computing features on segments of the bars.

    Attributes
    ----------
    settled : frozenset of str
        Features whose values are those of all bars: neither the first bars, nor what is after a segment, nor the dates
        move them.
    quick : bool
        Whether features seem to be computed quickly enough for more points; if so, each has ended a segment for what
        has settled.
    """

    settled: frozenset[str] = frozenset()
    quick: bool = True


def compute_on_segments(data: PreparedData, bars: pd.DataFrame, names: Sequence[str]) -> Segments:
    """Find features that need not be computed on all bars again, by computing them once on segments that cover them.

    A segment ends with each point at which `check_features_know_no_future` cuts or changes the bars, so that each row
    is computed without what is after the next such point, as there. It starts where the one before has ended, less as
    many bars as a feature is given to settle; its dates are 52 weeks later. A feature that agrees with the data on
    every row passes what is checked on all bars too. One that adds up rounding errors, as a rolling deviation of
    pandas' does, does not agree; it is computed on segments with nearly all of their past then. What does not agree
    there either, be it that it leaks or remembers more, has to be seen on all bars, and so has what raises where all
    bars are changed: it knows the prices, which only a user's own may.

    Parameters
    ----------
    data : PreparedData
    bars : DataFrame of shape (n, ...)
    names : sequence of str
        Registered features among those of `data`.

    Returns
    -------
    Segments
        None is settled where train and validation rows are not longer than two memories, or two points are one.
    """
    points, last = Points.of(data, bars), warmup_of(data.feature_names) + data.val.stop - 1
    begun = memory_of(data) + LEFT_OUT
    if last < 2 * begun or len(dict(points.four)) < len(points.four):
        return Segments()
    ends = {begun - 1: CUT, last: CUT, **dict(points.four)}
    house, own = [name for name in names if is_ours(name)], [name for name in names if not is_ours(name)]
    coarse = _spans(data, ends) if own else []
    times = [time.process_time()]
    own = _agreeing(data, bars, own, coarse[:1], memory_of(data))
    times.append(time.process_time())
    short = _agreeing(data, bars, own, coarse[1:], memory_of(data))
    times.append(time.process_time())
    settled = short + _agreeing(data, bars, [name for name in own if name not in short], coarse[1:], len(bars))
    times.append(time.process_time())
    # What each call takes, however few the bars, and what the bars take, of which the four points want several times as
    # many, but of what was computed with all of its past. Only a user's feature may be slow.
    call, once, past = np.diff(times)
    whole = sum(t + 1 if deed == CUT else len(bars) for t, deed in points.four) / last
    quick = bool(len(points.four) * call + whole * (once - len(coarse[1:]) * call) + past < QUICK)
    if quick:
        spans, again = _spans(data, dict.fromkeys(points.more, CUT) | ends), house + settled
    else:
        spans, again = coarse, house
    brief = _agreeing(data, bars, house, spans, _OURS + warmup_of(data.feature_names))
    close = brief + _agreeing(data, bars, [name for name in again if name in short], spans, memory_of(data))
    far = _agreeing(data, bars, [name for name in again if name not in close], spans, len(bars))
    settled = close + far if quick else close + far + settled
    own = [name for name in settled if not is_ours(name)]
    changed = with_another_future(bars, -1) if own else bars
    return Segments(frozenset(settled).difference(n for n in own if _computed(data, changed, [n]) is None), quick)


class _Span(NamedTuple):
    """Bars `first` to `last`, compared on a segment that ends with them.

    `deed` is done to the bars behind, and `slack` is how far a value of each feature of the data may move.
    """

    first: int
    last: int
    deed: str
    slack: Floats


def _spans(data: PreparedData, ends: Mapping[int, str]) -> list[_Span]:
    warmup, lasts = warmup_of(data.feature_names), sorted(ends)
    firsts = [warmup, *(t + 1 for t in lasts[:-1])]
    rows = [
        slice(max(first - warmup, data.train.start), t + 1 - warmup) for first, t in zip(firsts, lasts, strict=True)
    ]
    sizes = np.maximum.accumulate([[largest(column[each]) for column in data.raw.T] for each in rows])
    return [_Span(*each) for each in zip(firsts, lasts, map(ends.__getitem__, lasts), TOLERANCE * sizes, strict=True)]


def _agreeing(
    data: PreparedData, bars: pd.DataFrame, names: Sequence[str], spans: Iterable[_Span], memory: int
) -> list[str]:
    """Name the features that agree with the data, computed on segments that end with bars that are cut or changed.

    Each has `memory` bars before its first row, but the first segment all, and no other the first bars of all.
    """
    if not names:
        return []
    later, begun, warmup = dated_later(bars), memory_of(data) + LEFT_OUT, warmup_of(data.feature_names)
    # Ours in one call, and each of a user's by itself, which may raise.
    ours = [name for name in names if is_ours(name)]
    groups = [ours] * bool(ours) + [[name] for name in names if name not in ours]
    columns = {name: data.feature_names.index(name) for name in names}
    for first, last, deed, slack in sorted(spans, key=lambda span: span.last - span.first):  # speed: the longest last
        start = max(first - memory, LEFT_OUT) if first >= begun else 0
        segment = later.iloc[start : last + 1]
        if deed == CHANGED and groups:
            segment = with_another_future(later.iloc[start : last + 1 + MEMORY], last - start)
        for group in groups:
            again = _computed(data, segment, group)
            for place, name in enumerate(list(group)):
                known = data.raw[first - warmup : last + 1 - warmup, columns[name]]
                rows = slice(first - start, last + 1 - start)
                # What is NaN has moved.
                if again is None or not largest(known - again[rows, place]) <= slack[columns[name]]:
                    group.remove(name)
        groups = [group for group in groups if group]
    return [name for name in names if any(name in group for group in groups)]


def _computed(data: PreparedData, bars: pd.DataFrame, names: Sequence[str]) -> Floats | None:
    """Compute features; None where one raises, which is said where it is computed on all bars."""
    try:
        return compute_features(bars, names, data.fitted).to_numpy()
    except Exception:
        return None
