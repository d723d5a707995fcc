"""How often bars come, and how many make a year, told from their timestamps: from whole weeks of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradingbot_exp.errors import DataError

Nanoseconds = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

BUSINESS_DAYS, ALL_DAYS = 252.0, 365.0
# Name, shortest and longest gap in days (holidays and months vary), periods per year.
_LONG = (
    ("weekly", 6, 8, 52.0),
    ("monthly", 26, 35, 12.0),
    ("quarterly", 87, 95, 4.0),
    ("yearly", 362, 369, 1.0),
)
_REGULAR = 0.6  # the share of gaps that have to be of the usual length; 4 of 5 are for bars on business days
_GAPLESS = 0.95  # the same, of a market that never closes
_SATURDAY = 5
_MINUTE = 60 * 10**9  # nanoseconds
_DAY = 1440 * _MINUTE


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
        For bars of a week or longer 52, 12, 4 or 1. For shorter ones the usual number of bars a week, times 252 / 5
        where bars come on at most five days a week, which leaves holidays out, and 365 / 7 else: so 252 and 365 for
        daily bars.

    Raises
    ------
    DataError
        If the spacing is irregular, or there is no whole week of bars, from which it can be told.
    """
    return describe_frequency(index).require()


def same_spacing(first: str, second: str) -> bool:
    """Tell whether two frequencies, as `Frequency.name` says them, are of bars that come equally often.

    Daily bars on business days and on all days differ; of intraday bars the minutes count, not how many a day has,
    which a short file need not show. What is irregular cannot be told apart from itself.
    """
    if "daily" in (first, second):
        return first.startswith("daily") and second.startswith("daily")
    return _spacing(first) == _spacing(second)


def _spacing(name: str) -> str:
    return name.partition(",")[0] if "-minute bars" in name else name


def describe_frequency(index: pd.DatetimeIndex) -> Frequency:
    """Tell the frequency of ascending timestamps; days are those of the index's own time zone."""
    if len(index) < 3:
        return _unknown(f"{len(index)} bars are too few to tell")
    times = index.tz_localize(None).as_unit("ns").asi8
    gaps = np.diff(times) / _DAY
    usual = float(np.median(gaps))
    if usual < 0.9:
        return _intraday(times, gaps)
    row = next((r for r in _LONG if r[1] <= usual <= r[2]), None)
    if usual < 1.1:
        known, low, high = _daily(times), 0.9, 1.1
    elif row is not None:
        known, low, high = Frequency(row[0], row[3]), float(row[1]), float(row[2])
    else:
        return _unknown(f"the usual gap between bars is {usual:g} days")
    return _if_regular(gaps, low, high, known)


def _daily(times: Nanoseconds) -> Frequency:
    week = _usual_week(times, _DAY)
    if week is None:
        return _unknown("daily bars of less than a week do not show on which days there are none", "daily")
    days, _ = week
    kind = {5: "business days", 7: "all days"}.get(days, f"{days} days a week")
    return Frequency(f"daily ({kind})", _a_year(days, float(days)))


def _intraday(times: Nanoseconds, gaps: FloatArray) -> Frequency:
    day = times // _DAY
    minutes = gaps[day[1:] == day[:-1]] * 1440
    if not len(minutes):
        return _unknown("no day has two bars")
    usual = float(np.round(np.median(minutes), 6))
    per_day = np.bincount(day - day[0])
    a_day = float(np.median(per_day[per_day > 0]))
    name = f"{usual:g}-minute bars"
    week = _usual_week(times, round(usual * _MINUTE))
    gapless = float(np.mean(np.abs(gaps * 1440 - usual) < 0.01 * usual)) > _GAPLESS
    most_on_saturday = per_day[(_SATURDAY - _weekday(day[0])) % 7 :: 7].max(initial=0)
    if gapless and most_on_saturday >= _GAPLESS * 1440 / usual:  # such a market does not close
        a_day = 1440 / usual
        week = 7, 7 * a_day
    elif week is None and _is_in_sessions(times, day, per_day):
        week = 5, 5 * a_day
    if week is None:
        known = _unknown("there is no whole week of bars, so that they do not show when there are none", name)
    else:
        days, bars = week
        kind = {5: "business days", 7: "all days"}.get(days, f"{days} days a week")
        known = Frequency(f"{name}, {a_day:g} a day ({kind})", _a_year(days, bars))
    return _if_regular(minutes, 0.99 * usual, 1.01 * usual, known)


def _weekday(day: Nanoseconds) -> Nanoseconds:
    """Return the day of the week, Monday being 0, of days counted from 1970-01-01, a Thursday."""
    return (day + 3) % 7


def _a_year(days: int, bars: float) -> float:
    """Return the bars of a year from those of a week; markets of five days have holidays."""
    return bars * BUSINESS_DAYS / 5 if days <= 5 else bars * ALL_DAYS / 7


def _usual_week(times: Nanoseconds, spacing: int) -> tuple[int, float] | None:
    """Count, in whole weeks from the first bar on, the days of the week that have bars, and the bars.

    Returns
    -------
    tuple of int and float, or None
        Days that have bars in at least half of the weeks, and the bars of a usual week: that which three quarters of
        the weeks do not exceed, since weeks with holidays have fewer. None if the bars span less than a week.
    """
    weeks = int((times[-1] - times[0] + spacing) // (7 * _DAY))
    if not weeks:
        return None
    starts = times[0] + np.arange(weeks + 1) * (7 * _DAY)
    times = np.sort(times, kind="stable")  # a clock set back repeats an hour
    bars = np.quantile(np.diff(times.searchsorted(starts)), 0.75, method="nearest")
    midnights = np.arange(starts[0] // _DAY + 1, starts[-1] // _DAY + 1) * _DAY
    parts = np.union1d(starts, midnights)  # speed: they are looked up in the times, not each time in them
    parts = parts[:-1][np.diff(times.searchsorted(parts)) > 0]  # of days within weeks, those with bars
    has_bars = np.zeros((weeks, 7), bool)
    has_bars[(parts - starts[0]) // (7 * _DAY), _weekday(parts // _DAY)] = True
    days = int(np.sum(2 * has_bars.sum(axis=0) >= weeks))
    return (days, float(bars)) if days >= 5 else (5, bars * 5 / max(days, 1))  # a week with a holiday


def _is_in_sessions(times: Nanoseconds, day: Nanoseconds, per_day: Nanoseconds) -> bool:
    """Tell whether bars come in equal sessions on business days, each followed by a night: as those of a stock do."""
    nights = np.diff(times)[day[1:] != day[:-1]]
    on_business_days = bool((_weekday(day) < _SATURDAY).all())
    return (
        on_business_days and len(nights) > 1 and bool(nights.min() >= _DAY // 4 and np.ptp(per_day[per_day > 0]) == 0)
    )


def _if_regular(gaps: FloatArray, low: float, high: float, known: Frequency) -> Frequency:
    share = float(np.mean((gaps >= low) & (gaps <= high)))
    if share < _REGULAR:
        return _unknown(f"only {share:.0%} of the gaps between bars are of the usual length")
    return known


def _unknown(reason: str, name: str = "irregular") -> Frequency:
    return Frequency(
        name,
        None,
        f"evaluation.periods_per_year=auto: {reason}, so the number of bars a year cannot be told: give "
        "evaluation.periods_per_year, e.g. 252 for daily bars.",
    )
