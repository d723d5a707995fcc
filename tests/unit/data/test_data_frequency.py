"""Bars a year are inferred from timestamps, or asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tradingbot_exp.data import PreparedData
from tradingbot_exp.data.frequency import describe_frequency, infer_periods_per_year
from tradingbot_exp.errors import DataError

SESSIONS = pd.bdate_range("2013-01-01", periods=60)


def session(minutes: int, tz: str | None = None) -> pd.DatetimeIndex:
    """Equity sessions from 9:30 to before 16:00."""
    times = [d + pd.Timedelta(minutes=570 + m) for d in SESSIONS for m in range(0, 390, minutes)]
    return pd.DatetimeIndex(times).tz_localize(tz)


@pytest.mark.parametrize(
    ("index", "periods", "name"),
    [
        (SESSIONS.delete([7, 20]), 252, "daily (business days)"),
        (pd.date_range("2013-01-01", periods=60), 365, "daily (all days)"),
        (pd.date_range("2013-01-01", periods=60, tz="Europe/Berlin"), 365, "daily (all days)"),
        (pd.date_range("2013-01-01", periods=2000, freq="h", tz="UTC"), 24 * 365, "60-minute bars, 24 a day"),
        (session(5), 78 * 252, "5-minute bars, 78 a day"),
        (session(5, "America/New_York"), 78 * 252, "5-minute bars, 78 a day"),
        (
            pd.date_range("2023-10-29 00:30", periods=6000, freq="5min", tz="UTC").tz_convert("Europe/Berlin"),
            288 * 365,
            "5-minute bars, 288 a day (all days)",  # the clock goes back within the first hour
        ),
        (pd.date_range("2013-01-04", periods=30, freq="W-FRI"), 52, "weekly"),
        (pd.date_range("2010-01-31", periods=30, freq="BME"), 12, "monthly"),
        (pd.date_range("2010-01-31", periods=20, freq="QE"), 4, "quarterly"),
        (pd.date_range("1990-12-31", periods=20, freq="YE"), 1, "yearly"),
    ],
)
def test_common_frequencies_are_told(index: pd.DatetimeIndex, periods: float, name: str) -> None:
    assert infer_periods_per_year(index) == periods
    assert describe_frequency(index).name.startswith(name)


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2013-01-01", periods=30, freq="3D"),
        pd.DatetimeIndex(pd.Timestamp("2013-01-01") + pd.to_timedelta(np.arange(1, 40) ** 3, unit="h")),
        pd.DatetimeIndex(pd.Timestamp("2013-01-01") + pd.to_timedelta(np.arange(1, 200) ** 2, unit="s")),
        pd.date_range("2013-01-01", periods=2),
    ],
)
def test_irregular_bars_ask_for_the_number_but_only_when_it_is_needed(index: pd.DatetimeIndex) -> None:
    frequency = describe_frequency(index)
    assert (frequency.name, frequency.periods) == ("irregular", None)
    with pytest.raises(DataError, match=r"cannot be told: give evaluation\.periods_per_year"):
        infer_periods_per_year(index)


def test_ibm_has_252_bars_a_year(ibm: PreparedData) -> None:
    assert ibm.periods_per_year == 252
    assert ibm.card["frequency"] == "daily (business days)"
