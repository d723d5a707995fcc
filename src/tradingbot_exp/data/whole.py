"""All bars up to a date, as a model learns from them that is not to be judged any more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradingbot_exp.data.folds import LEAST_TRAIN_ROWS, learned_from
from tradingbot_exp.data.identity import known_dates
from tradingbot_exp.data.splits import Block, moments_of
from tradingbot_exp.errors import DataError
from tradingbot_exp.runtime.text import day

if TYPE_CHECKING:
    from tradingbot_exp.data.dataset import PreparedData


def whole_view(data: PreparedData, through: str | None = None, key: str = "through") -> PreparedData:
    """Return the data as a model has them that learns from all rows up to a date, with no others to validate or test.

    Parameters
    ----------
    data : PreparedData
    through : str, optional
        A date, or a time: no row is used whose target was not known by then. If not given, the last bar.
    key : str
        What messages call it.

    Raises
    ------
    ConfigError
        `through` is no date.
    DataError
        The bars end before that date, or there are too few rows.
    """
    panel, bars_end = data.panel, pd.Timestamp(data.card["period"][1])
    dates, first = panel.calendar, panel.in_dates(data.train).start
    stop, late = len(dates), np.empty(0, np.intp)
    if through is not None:
        start, end = moments_of(key, through, dates)
        if start > bars_end:
            raise DataError(
                f"{key}={through}: the bars of {data.name} end on {day(bars_end)}. Append those that came since."
            )
        is_late = np.asarray(known_dates(data) > end)
        stop, late = int(data.layout.date[~is_late].max(initial=-1)) + 1, np.flatnonzero(is_late)
    train = panel.in_rows(Block("train", first, max(stop, first)))
    late = late[(late >= train.start) & (late < train.stop)]
    train = replace(train, without=tuple(np.union1d(train.without, late).astype(int).tolist()))
    if len(train) < LEAST_TRAIN_ROWS:
        until = "" if through is None else f" up to {key}={through}"
        raise DataError(f"{data.name}: {len(train)} rows to train on{until}; expected at least {LEAST_TRAIN_ROWS}.")
    used = data.index[train.numbers]
    described = {"rows": len(train), "start": used[0].isoformat(), "end": used[-1].isoformat()}
    if data.symbols:
        described["dates"] = len(panel.in_dates(train))
    after = [Block(name, train.stop, train.stop) for name in ("val", "test")]
    card = data.card | {"split": {"train": described}}
    return learned_from(replace(data, train=train, val=after[0], test=after[1], card=card))
