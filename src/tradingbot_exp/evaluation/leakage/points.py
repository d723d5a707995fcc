"""The bars after which others are cut or changed, to see whether features know them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradingbot_exp.data.features import WARMUP, warmup_of

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData

CUT, CHANGED = "are left out", "are changed"
MORE = 40
"""Further bars that the data are made to end with, where features are quickly computed.

A feature that looks ahead on a share q of the bars alone, such as one day a month, is seen at each point with the
probability q: at 44 in 90 % of cases for 5 % of the bars, at 4 in 19 %.
"""
_SEARCH = 40  # bars to go back for a row inside its day, week and month


@dataclass(frozen=True)
class Points:
    """The bars after which the others are left out or changed: four, and those for which a feature has to be quick."""

    four: tuple[tuple[int, str], ...]
    more: tuple[int, ...]

    @classmethod
    def of(cls, data: PreparedData, bars: pd.DataFrame) -> Points:
        """Find them inside the train and validation rows."""
        index, warmup = pd.DatetimeIndex(bars.index), warmup_of(data.feature_names)
        train, val = warmup + data.train.start, warmup + data.val.start
        last_train, last_val = warmup + data.train.stop - 1, warmup + data.val.stop - 1
        wanted = [((train + last_train) // 2, CUT), ((val + last_val) // 2, CUT)]
        wanted += [(last_train, CHANGED), (last_val, CHANGED)]
        return cls(
            tuple((inside_its_periods(index, t), deed) for t, deed in wanted),
            tuple(_between(train, last_val, part) for part in range(MORE)),
        )


def _between(first: int, last: int, part: int) -> int:
    """Return a bar of the given one of `MORE` equal parts, at a place in it that keeps no step with any calendar."""
    share = (part + (part + 1) * 0.6180339887498949 % 1) / MORE  # the golden ratio
    return first + int(share * (last - first))


def inside_its_periods(index: pd.DatetimeIndex, t: int) -> int:
    """Return the last position up to `t` whose next bar is of the same day, week and month; `t` if none is near."""
    start = max(WARMUP + 1, t - _SEARCH)
    near = index[start : t + 2].tz_localize(None)
    days = near.to_numpy().astype("datetime64[D]").astype(np.int64)
    weeks, months = (days + 3) // 7, near.to_numpy().astype("datetime64[M]").astype(np.int64)  # weeks from Monday on
    same = (weeks[1:] == weeks[:-1]) & (months[1:] == months[:-1])
    same_day = same & (days[1:] == days[:-1])  # of bars within the day
    found = np.flatnonzero(same_day if same_day.any() else same)
    return start + int(found[-1]) if found.size else t
