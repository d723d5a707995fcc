"""Two runs on the validation bars that both have: what can be compared bar by bar, and why not where it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradingbot_exp.evaluation.significance.bootstrap import MIN_BARS
from tradingbot_exp.tracking.reading.records import TrainingRecord

Floats = NDArray[np.float64]
_SAME = 1e-6  # relative: prices that were written and read again


@dataclass(frozen=True, eq=False)
class Pair:
    """Two runs on the n bars that both have, the reference first."""

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
    if _dating(left.index) != _dating(right.index):
        return _unpaired(nothing, "the two runs' bars are dated in different ways")
    if left.index.inferred_type == "integer" and reference.fingerprint != other.fingerprint:
        return _unpaired(nothing, "their bars carry no dates")
    shared = left.index.intersection(right.index).sort_values()
    if len(shared) < MIN_BARS:
        return _unpaired(shared, f"they share {len(shared)} validation bars, fewer than {MIN_BARS}")
    a, b = left.loc[shared], right.loc[shared]
    no_errors = "" if _agree(a, b, "actual") else "they forecast different targets"
    missing = not ({"strategy_return", "next_log_return"} <= set(a) & set(b))
    no_returns = "there are no returns on record" if missing else ""
    if not missing and not _agree(a, b, "next_log_return"):
        no_returns = "they traded different markets"
    errors = None if no_errors else (_squares(a), _squares(b))
    if errors and not np.isfinite(errors).all():
        errors, no_errors = None, "a squared error is too large for a 64-bit float"
    returns = None if no_returns else (column(a, "strategy_return"), column(b, "strategy_return"))
    return Pair(shared, errors, returns, no_errors, no_returns)


def common(records: Sequence[TrainingRecord], what: Literal["errors", "returns"]) -> dict[int, pd.DataFrame]:
    """Return the bars that all runs have that can be compared with the reference, by the run's place, itself first.

    There are none if there are not two such runs.
    """
    runs, dates = [0], pd.Index([])
    for run, other in enumerate(records[1:], start=1):
        both = pair(records[0], other)
        if getattr(both, what) is None:
            continue
        shared = both.dates if len(runs) == 1 else dates.intersection(both.dates)
        if len(shared) >= MIN_BARS:  # a run that would leave too few bars to the others is left out
            runs, dates = [*runs, run], shared
    tables = {run: bars_of(records[run]) for run in runs if len(runs) > 1}
    return {run: table.loc[dates.sort_values()] for run, table in tables.items() if table is not None}


def bars_of(record: TrainingRecord) -> pd.DataFrame | None:
    """Return a run's bars by date, in order; those that lack a number are left out; None without forecasts."""
    table = record.artifacts.predictions
    if table is None or not {"date", "actual", "forecast"} <= set(table):
        return None
    named = [name for name in ("actual", "forecast", "strategy_return", "next_log_return") if name in table]
    numbers: pd.DataFrame = table[named].apply(pd.to_numeric, errors="coerce").set_axis(pd.Index(table["date"]), axis=0)
    keep = np.isfinite(numbers.to_numpy(dtype=np.float64)).all(axis=1) & ~numbers.index.duplicated()
    kept: pd.DataFrame = numbers.loc[keep].sort_index()
    return kept


def column(table: pd.DataFrame, name: str) -> Floats:
    """Return a column as a float64 vector, shape (n,)."""
    return table[name].to_numpy(dtype=np.float64)


def _dating(index: pd.Index) -> tuple[str, bool]:
    """Tell how bars are dated: the kind of value, and whether it has a time zone."""
    return index.inferred_type, getattr(index, "tz", None) is not None


def _unpaired(dates: pd.Index, why: str) -> Pair:
    return Pair(dates, None, None, why, why)


def _agree(first: pd.DataFrame, second: pd.DataFrame, name: str) -> bool:
    """Tell whether both tables hold the same numbers in a column, up to how they were written."""
    a, b = column(first, name), column(second, name)
    return bool(np.allclose(a, b, rtol=_SAME, atol=_SAME * float(np.abs(a).max(initial=0.0))))


def _squares(table: pd.DataFrame) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray((column(table, "actual") - column(table, "forecast")) ** 2)
