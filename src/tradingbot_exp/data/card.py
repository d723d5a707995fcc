"""The data card: where the data of a run come from and how they were cut, in plain JSON types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tradingbot_exp.data.panel_blocks import Panel
from tradingbot_exp.data.panel_rows import PanelRows
from tradingbot_exp.data.panel_sources import Loaded

# The source on a data card of arrays that `run_hpo_study` was given.
GIVEN_ARRAYS = "arrays given to run_hpo_study"


def data_card(source: Loaded, made: PanelRows, frequency: str) -> dict[str, Any]:
    """Describe loaded data and their split, of a panel symbol by symbol.

    Parameters
    ----------
    source : Loaded
        What was loaded; `period` and `rows` of the card are its own, of the symbols that are kept.
    made : PanelRows
        The usable rows, which the blocks of its split count.
    frequency : str
        In words.
    """
    panel, index, several = made.panel, pd.DatetimeIndex(made.rows.features.index), source.is_panel
    loaded = {symbol: pd.DatetimeIndex(source.parts[symbol].frame.index) for symbol in panel.layout.names}
    columns = [str(column) for symbol in loaded for column in source.parts[symbol].frame.columns]
    zone = made.loaded.tz
    return {
        "name": source.name,
        **({} if several else {"symbol": panel.layout.names[0]}),
        **{key: source.card[key] for key in ("description", "source", "licence", "adjustment")},
        "rows": sum(map(len, loaded.values())),
        "usable_rows": len(index),
        **({"dates": len(panel.calendar)} if several else {}),
        "period": [made.loaded[0].isoformat(), made.loaded[-1].isoformat()],
        "frequency": frequency,
        "time_zone": None if zone is None else str(zone),
        "columns": sorted(set(columns)) if several else columns,
        **({"symbols": _symbols(panel, loaded), "left_out": made.left_out} if several else {}),
        "split": {
            block.name: {
                "rows": len(block),
                **({"dates": len(panel.layout.take(block.rows).starts)} if several else {}),
                "start": index[block.numbers[0]].isoformat(),
                "end": index[block.stop - 1].isoformat(),
            }
            for block in made.split
        },
    }


def _symbols(panel: Panel, loaded: Mapping[str, pd.DatetimeIndex]) -> dict[str, dict[str, Any]]:
    """Describe the bars of each symbol."""
    found = {}
    for (symbol, dates), count in zip(loaded.items(), np.bincount(panel.layout.symbol), strict=True):
        span = panel.calendar.slice_indexer(dates[0], dates[-1])
        found[symbol] = {
            "bars": len(dates),
            "usable_rows": int(count),
            "start": dates[0].isoformat(),
            "end": dates[-1].isoformat(),
            # Dates between its first and its last on which others have bars and it has none.
            "missing": int(span.stop) - int(span.start) - int(panel.calendar.isin(dates).sum()),
        }
    return found
