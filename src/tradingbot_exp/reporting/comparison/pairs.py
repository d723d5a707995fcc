"""Two runs on the validation bars that both have: what can be compared bar by bar, and why not where it cannot.

Of a panel a bar is a date: its error is the mean over the symbols that both have, its return the portfolio's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.significance.bootstrap import MIN_BARS
from tradingbot_exp.tracking.reading.records import TrainingRecord

_SAME = 1e-6  # relative: prices that were written and read again


@dataclass(frozen=True, eq=False)
class Pair:
    """Two runs on the n bars that both have, the reference first; `rows` are those, of a panel by date and symbol."""

    rows: pd.Index
    dates: pd.Index
    errors: tuple[Floats, Floats] | None  # squared; None if the targets differ
    returns: tuple[Floats, Floats] | None  # net, simple, a bar; None if the markets differ, or a run has none
    # Why not; empty where they are there.
    no_errors: str = ""
    no_returns: str = ""


def pair(reference: TrainingRecord, other: TrainingRecord) -> Pair:
    """Put two runs side by side, by date."""
    left, right, nothing = bars_of(reference), bars_of(other), pd.Index([])
    if left is None or right is None:
        return _unpaired(nothing, "there are no forecasts on record")
    if left.index.nlevels != right.index.nlevels:
        return _unpaired(nothing, "one run is of several symbols, the other of one instrument")
    if _dating(left.index) != _dating(right.index):
        return _unpaired(nothing, "the two runs' bars are dated in different ways")
    if dates_of(left.index).inferred_type == "integer" and reference.fingerprint != other.fingerprint:
        return _unpaired(nothing, "their bars carry no dates")
    shared = left.index.intersection(right.index).sort_values()
    dates = dates_of(shared)
    if len(dates) < MIN_BARS:
        what = "bars" if shared.nlevels == 1 else "dates"
        return _unpaired(shared, f"they share {len(dates)} validation {what}, fewer than {MIN_BARS}")
    a, b = left.loc[shared], right.loc[shared]
    no_errors = "" if _agree(a, b, "actual") else "they forecast different targets"
    missing = not ({"strategy_return", "market"} <= set(a) & set(b))
    no_returns = "there are no returns on record" if missing else ""
    if not missing and not _agree(a, b, "market"):
        no_returns = "they traded different markets"
    errors = None if no_errors else (_squares(a), _squares(b))
    if errors and not np.isfinite(errors).all():
        errors, no_errors = None, "a squared error is too large for a 64-bit float"
    returns = None if no_returns else (column(by_date(a), "strategy_return"), column(by_date(b), "strategy_return"))
    return Pair(shared, dates, errors, returns, no_errors, no_returns)


def common(records: Sequence[TrainingRecord], what: Literal["errors", "returns"]) -> dict[int, pd.DataFrame]:
    """Return the rows that all runs have that can be compared with the reference, by the run's place, itself first.

    There are none if there are not two such runs.
    """
    runs, rows = [0], pd.Index([])
    for run, other in enumerate(records[1:], start=1):
        both = pair(records[0], other)
        if getattr(both, what) is None:
            continue
        shared = both.rows if len(runs) == 1 else rows.intersection(both.rows)
        if len(dates_of(shared)) >= MIN_BARS:  # a run that would leave too few bars to the others is left out
            runs, rows = [*runs, run], shared
    tables = {run: bars_of(records[run]) for run in runs if len(runs) > 1}
    return {run: table.loc[rows.sort_values()] for run, table in tables.items() if table is not None}


def bars_of(record: TrainingRecord) -> pd.DataFrame | None:
    """Return a run's rows by date, of a panel by date and symbol, in order; None without forecasts.

    Those that lack a number are left out. Beside actual values and forecasts, where there are returns, is that of
    the strategy, and of the market: of one instrument the bar's, of a panel buy and hold's of the date.
    """
    table = record.artifacts.predictions
    if table is None or not {"date", "actual", "forecast"} <= set(table):
        return None
    market = "buy_hold_return" if "symbol" in table else "next_log_return"
    named = [name for name in ("actual", "forecast", "strategy_return", market) if name in table]
    index = pd.Index(table["date"])
    if "symbol" in table:
        index = pd.MultiIndex.from_arrays([table["date"], table["symbol"].astype(str)])
    numbers: pd.DataFrame = table[named].apply(pd.to_numeric, errors="coerce").set_axis(index, axis=0)
    if market in numbers:
        earned = numbers.pop(market)
        with np.errstate(over="ignore"):
            numbers["market"] = np.expm1(earned) if market == "next_log_return" else earned
    keep = np.isfinite(numbers.to_numpy(dtype=np.float64)).all(axis=1) & ~numbers.index.duplicated()
    kept: pd.DataFrame = numbers.loc[keep].sort_index()
    return kept


def by_date(table: pd.DataFrame) -> pd.DataFrame:
    """Return the first row of each date: what is one value a date."""
    if table.index.nlevels == 1:
        return table
    return table.loc[~table.index.get_level_values(0).duplicated()].droplevel(1)


def dates_of(rows: pd.Index) -> pd.Index:
    """Return the dates of rows, each once."""
    return rows if rows.nlevels == 1 else rows.get_level_values(0).unique()


def column(table: pd.DataFrame, name: str) -> Floats:
    """Return a column as a float64 vector, shape (n,)."""
    return table[name].to_numpy(dtype=np.float64)


def _dating(index: pd.Index) -> tuple[str, bool]:
    """Tell how bars are dated: the kind of value, and whether it has a time zone."""
    dates = dates_of(index)
    return dates.inferred_type, getattr(dates, "tz", None) is not None


def _unpaired(rows: pd.Index, why: str) -> Pair:
    return Pair(rows, dates_of(rows), None, None, why, why)


def _agree(first: pd.DataFrame, second: pd.DataFrame, name: str) -> bool:
    """Tell whether both tables hold the same numbers in a column, up to how they were written."""
    a, b = column(first, name), column(second, name)
    return bool(np.allclose(a, b, rtol=_SAME, atol=_SAME * float(np.abs(a).max(initial=0.0))))


def _squares(table: pd.DataFrame) -> Floats:
    with np.errstate(over="ignore"):
        squares = (table["actual"] - table["forecast"]) ** 2
    return np.asarray(squares if table.index.nlevels == 1 else squares.groupby(level=0).mean(), dtype=np.float64)
