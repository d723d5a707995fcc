"""How often bars come, and how many make a year, told from their timestamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tradingbot_exp.errors import DataError

BUSINESS_DAYS, ALL_DAYS = 252.0, 365.0
# Name, shortest and longest gap in days (holidays and months vary), periods per year.
_LONG = (
    ("weekly", 6, 8, 52.0),
    ("monthly", 26, 35, 12.0),
    ("quarterly", 87, 95, 4.0),
    ("yearly", 362, 369, 1.0),
)
_REGULAR = 0.6  # the share of gaps that have to be of the usual length; 4 of 5 are for bars on business days


@dataclass(frozen=True)
class Frequency:
    """What the spacing of bars says.

    Attributes
    ----------
    name : str
        In words, for a data card; ``irregular`` if it cannot be told.
    periods : float or None
        Bars a year; None if it cannot be told.
    reason : str
        Why not, and what to do; empty if `periods` is known.
    """

    name: str
    periods: float | None
    reason: str = ""

    def require(self) -> float:
        """Return `periods`, or raise the DataError that says why it is unknown."""
        if self.periods is None:
            raise DataError(self.reason)
        return self.periods


def infer_periods_per_year(index: pd.DatetimeIndex) -> float:
    """Infer how many bars make a year.

    Returns
    -------
    float
        252 for bars on business days, 365 on all days, 52, 12, 4 or 1 for longer ones; for intraday bars, the
        median number of bars a day times 252, or 365 where both Saturdays and Sundays have bars.

    Raises
    ------
    DataError
        If the spacing is irregular, or there are fewer than 3 bars.
    """
    return describe_frequency(index).require()


def same_spacing(first: str, second: str) -> bool:
    """Tell whether two frequencies, as `Frequency.name` says them, are of bars that come equally often.

    Daily bars on business days and on all days differ; of intraday bars the minutes count, not how many a day has,
    which a short file need not show. What is irregular cannot be told apart from itself.
    """
    return _spacing(first) == _spacing(second)


def _spacing(name: str) -> str:
    return name.partition(",")[0] if "-minute bars" in name else name


def describe_frequency(index: pd.DatetimeIndex) -> Frequency:
    """Tell the frequency of ascending timestamps; days are those of the index's own time zone."""
    if len(index) < 3:
        return _unknown(f"{len(index)} bars are too few to tell")
    local = index.tz_localize(None)
    days = np.diff(local.to_numpy()) / np.timedelta64(1, "D")
    usual = float(np.median(days))
    weekday = np.asarray(local.day_of_week)
    every_day = min(np.mean(weekday == 5), np.mean(weekday == 6)) > 0.07  # 1/7 each where trading never stops
    year, kind = (ALL_DAYS, "all days") if every_day else (BUSINESS_DAYS, "business days")
    if usual < 0.9:
        return _intraday(local, year, kind)
    if usual < 1.1:
        known, low, high = Frequency(f"daily ({kind})", year), 0.9, 1.1
    else:
        row = next((r for r in _LONG if r[1] <= usual <= r[2]), None)
        if row is None:
            return _unknown(f"the usual gap between bars is {usual:g} days")
        known, low, high = Frequency(row[0], row[3]), float(row[1]), float(row[2])
    return _if_regular(days, low, high, known)


def _intraday(local: pd.DatetimeIndex, year: float, kind: str) -> Frequency:
    day = local.normalize()
    same_day = np.asarray(day[1:] == day[:-1])
    minutes = np.diff(local.to_numpy())[same_day] / np.timedelta64(1, "m")
    if not len(minutes):
        return _unknown("no day has two bars")
    usual = float(np.median(minutes))
    _, counts = np.unique(day, return_counts=True)
    per_day = float(np.median(counts))
    name = f"{usual:g}-minute bars, {per_day:g} a day ({kind})"
    return _if_regular(minutes, 0.99 * usual, 1.01 * usual, Frequency(name, per_day * year))


def _if_regular(gaps: np.ndarray, low: float, high: float, known: Frequency) -> Frequency:
    share = float(np.mean((gaps >= low) & (gaps <= high)))
    if share < _REGULAR:
        return _unknown(f"only {share:.0%} of the gaps between bars are of the usual length")
    return known


def _unknown(reason: str) -> Frequency:
    return Frequency(
        "irregular",
        None,
        f"evaluation.periods_per_year=auto: {reason}, so the number of bars a year cannot be inferred. Set "
        "evaluation.periods_per_year to it, e.g. 252 for daily bars.",
    )
