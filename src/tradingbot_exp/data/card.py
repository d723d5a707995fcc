"""The data card: where the data of a run come from and how they were cut, in plain JSON types."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tradingbot_exp.data.sources import Bars, Table
from tradingbot_exp.data.splits import Split

# The source on a data card of arrays that `run_hpo_study` was given.
GIVEN_ARRAYS = "arrays given to run_hpo_study"


def data_card(source: Bars | Table, index: pd.DatetimeIndex, split: Split, frequency: str) -> dict[str, Any]:
    """Describe loaded data and their split.

    Parameters
    ----------
    source : Bars or Table
        What was loaded; `period` and `rows` of the card are its own.
    index : pandas.DatetimeIndex of shape (n,)
        The timestamps of the usable rows, which the blocks of `split` count.
    split : Split
        The three blocks.
    frequency : str
        In words.
    """
    loaded = pd.DatetimeIndex(source.frame.index)
    return {
        "name": source.name,
        "symbol": source.symbol,
        **{key: source.card[key] for key in ("description", "source", "licence", "adjustment")},
        "rows": len(loaded),
        "usable_rows": len(index),
        "period": [loaded[0].isoformat(), loaded[-1].isoformat()],
        "frequency": frequency,
        "time_zone": None if loaded.tz is None else str(loaded.tz),
        "columns": [str(column) for column in source.frame.columns],
        "split": {
            block.name: {
                "rows": len(block),
                "start": index[block.start].isoformat(),
                "end": index[block.stop - 1].isoformat(),
            }
            for block in split
        },
    }
