"""Features computed on segments: the verdict is that of all bars, whatever a feature knows."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradingbot_exp.config.choices import DEFAULT_FEATURES
from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data import PreparedData, prepare_data
from tradingbot_exp.data.features import FEATURES, feature
from tradingbot_exp.errors import DataError
from tradingbot_exp.evaluation.leakage.gate import check_leaks
from tradingbot_exp.evaluation.leakage.recompute import check_features_know_no_future, features_of_more_than_bars
from tradingbot_exp.evaluation.leakage.segments import Segments, compute_on_segments

Series = "pd.Series[float]"
Function = Callable[[pd.DataFrame], Series]
BARS, LONG_WICK = 12_000, 6000


def minute_bars(bars: int = BARS) -> pd.DataFrame:
    """Make a random walk of days of 390 one-minute bars."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(3e-4 * rng.standard_normal(bars)))
    opened = np.r_[100.0, close[:-1]]
    high, low = np.maximum(opened, close) * 1.0002, np.minimum(opened, close) * 0.9998
    low[LONG_WICK] *= 0.9
    days = pd.bdate_range("2024-01-02", periods=bars // 390 + 1)
    index = (days.to_numpy()[:, None] + np.arange(390).astype("timedelta64[m]")).ravel()[:bars]
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": rng.integers(100, 90_000, bars)}
    return pd.DataFrame(columns, pd.DatetimeIndex(index, name="date"))


KNOWN = minute_bars()["close"].pct_change().shift(-1).fillna(0.0)
"""What a file would tell of the next bar."""
CLOSES = dict(zip(minute_bars()["close"], KNOWN, strict=True))
"""What a table of closes would, which has no other closes."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "bars.parquet"
    minute_bars().to_parquet(path)
    return path


def on(file: Path, features: list[str]) -> PreparedData:
    return prepare_data(DataConfig(name="csv", source="csv", path=str(file), features=features))


def verdict(data: PreparedData, segments: Segments) -> str | tuple[object, list[str]]:
    """Return what is said of the features: the error, or the points and the features of more than the bars."""
    assert data.bars is not None
    try:
        points = check_features_know_no_future(
            data, data.bars, data.feature_names, segments.settled, quick=segments.quick
        )
    except DataError as error:
        return str(error)
    return points, features_of_more_than_bars(data, data.bars, data.feature_names, segments.settled)


def stamps(bars: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(bars.index)


def on_rows(bars: pd.DataFrame, wanted: object, leak: Series) -> Series:
    return bars["close"].pct_change().fillna(0.0).mask(np.asarray(wanted), leak)


def centred(window: int) -> Function:
    return lambda bars: bars["close"].rolling(window, center=True, min_periods=1).mean() / bars["close"]


def resampled(bars: pd.DataFrame) -> Series:
    hourly = bars["close"].resample("60min", label="left").last()
    return hourly.reindex(bars.index, method="ffill").ffill() / bars["close"]


def end_of_day(bars: pd.DataFrame) -> Series:
    return bars["close"].groupby(stamps(bars).normalize()).transform("last") / bars["close"]


def next_bar(bars: pd.DataFrame) -> Series:
    return bars["close"].shift(-1).fillna(bars["close"]) / bars["close"] - 1


def backward(bars: pd.DataFrame) -> Series:
    return bars["close"].iloc[::-1].ewm(span=20).mean().iloc[::-1] / bars["close"]


def backfilled(bars: pd.DataFrame) -> Series:
    return bars["close"].where(stamps(bars).minute == 0).bfill().ffill() / bars["close"]


REFUSED: dict[str, Function] = {
    **{f"centred window of {bars}": centred(bars) for bars in (3, 21, 501, 5001)},
    "mean of all": lambda bars: bars["close"] - bars["close"].mean(),
    "a billionth of the mean of all": lambda bars: bars["close"].pct_change().fillna(0.0) + 1e-9 * bars["close"].mean(),
    "rank in all": lambda bars: bars["close"].rank(pct=True),
    "next bar": next_bar,
    "six thousand bars on": lambda bars: bars["close"].shift(-6000).fillna(bars["close"]) / bars["close"],
    "backfill": backfilled,
    "resampled with the left label": resampled,
    "backward filter": backward,
    "end of the day": end_of_day,
    "Tuesdays": lambda bars: on_rows(bars, stamps(bars).day_of_week == 1, next_bar(bars)),
    "last ten minutes of a day": lambda bars: on_rows(
        bars, stamps(bars).hour * 60 + stamps(bars).minute >= 380, end_of_day(bars)
    ),
    "first hundred bars alone": lambda bars: on_rows(bars, np.arange(len(bars)) < 100, bars["close"].iloc[-1:].mean()),
    "last row": lambda bars: bars["close"] / bars["close"].iloc[-1],
    "share of the length": lambda bars: pd.Series(np.arange(len(bars)) / len(bars), bars.index),
    "table of closes": lambda bars: bars["close"].map(CLOSES.__getitem__),
}


@pytest.mark.parametrize("leak", REFUSED)
def test_what_is_refused_on_all_bars_is_refused_with_the_same_words(file: Path, leak: str) -> None:
    feature("mine")(REFUSED[leak])  # type: ignore[arg-type]
    data = on(file, ["ret_1", "mine"])
    assert data.bars is not None
    segments = compute_on_segments(data, data.bars, data.feature_names)
    assert segments.settled == {"ret_1"}
    found = verdict(data, segments)
    assert isinstance(found, str) and found == verdict(data, Segments())


def at_long_wicks(bars: pd.DataFrame) -> Series:
    values, wicks = bars["close"].pct_change().fillna(0.0), bars["low"] < 0.95 * bars["close"]
    values[wicks] = [CLOSES[close] for close in bars["close"][wicks]]
    return values


UNCHECKED: dict[str, Function] = {
    "table of closes, at one bar, called as one of this package's": wraps(FEATURES["ret_5"])(
        lambda bars: at_long_wicks(bars)  # noqa: PLW0108 - a function of its own
    ),
    "file by date": lambda bars: KNOWN.reindex(bars.index).fillna(0.0),
    "file by date, at a few bars": lambda bars: (
        bars["close"].pct_change().fillna(0.0) + KNOWN.iloc[5077::1000].reindex(bars.index).fillna(0.0)
    ),
    "table of closes, at one bar": at_long_wicks,
    "file by place": lambda bars: pd.Series(KNOWN.to_numpy()[: len(bars)], bars.index),
    "place": lambda bars: bars["close"].pct_change().fillna(0.0) + 1e-3 * np.arange(len(bars)),
    "place of one early bar": lambda bars: bars["close"].pct_change().fillna(0.0) + (np.arange(len(bars)) == 200),
    "place of one late bar": lambda bars: bars["close"].pct_change().fillna(0.0) + (np.arange(len(bars)) == 8000),
    "first of the month": lambda bars: bars["close"].pct_change().fillna(0.0) + (stamps(bars).day == 1),
    "time of day": lambda bars: pd.Series(stamps(bars).minute / 60.0, bars.index),
}
HONEST: dict[str, tuple[Function, bool]] = {
    "window": (lambda bars: bars["close"] / bars["close"].rolling(30).mean(), True),
    "mean of the day so far": (
        lambda bars: bars["close"] / bars["close"].groupby(stamps(bars).normalize()).expanding().mean().droplevel(0),
        True,
    ),
    "Mondays": (lambda bars: bars["close"].pct_change().fillna(0.0) * (stamps(bars).day_of_week == 0), True),
    "slow average": (lambda bars: bars["close"].ewm(alpha=1e-4).mean(), False),
    "sum": (lambda bars: bars["volume"].cumsum() / 1e9, False),
    "place in a week of bars": (lambda bars: bars["close"] * (1 + np.arange(len(bars)) % 5), False),
}


def test_the_default_features_settle_and_pass(file: Path) -> None:
    data = on(file, DEFAULT_FEATURES)
    assert data.bars is not None
    segments = compute_on_segments(data, data.bars, data.feature_names)
    assert segments.settled == set(DEFAULT_FEATURES)
    assert verdict(data, segments) == verdict(data, Segments())


@pytest.mark.parametrize("name", UNCHECKED)
def test_what_cannot_be_checked_on_all_bars_cannot_be_checked_on_segments(file: Path, name: str) -> None:
    feature("mine")(UNCHECKED[name])  # type: ignore[arg-type]
    data = on(file, ["ret_1", "mine"])
    assert data.bars is not None
    segments = compute_on_segments(data, data.bars, data.feature_names)
    found = verdict(data, segments)
    assert found == verdict(data, Segments()) and found[1] == ["mine"]


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_feature_passes_and_is_settled_if_its_memory_is_short(file: Path, name: str) -> None:
    function, short = HONEST[name]
    feature("mine")(function)  # type: ignore[arg-type]
    data = on(file, ["ret_1", "mine"])
    assert data.bars is not None
    segments = compute_on_segments(data, data.bars, data.feature_names)
    assert segments.settled == ({"ret_1", "mine"} if short else {"ret_1"})
    found = verdict(data, segments)
    assert found == verdict(data, Segments()) and found[1] == []


def test_what_does_not_settle_is_found_on_the_shortest_segment(tmp_path: Path) -> None:
    computed = []

    def total(bars: pd.DataFrame) -> Series:
        computed.append(len(bars))
        return bars["volume"].cumsum() / 1e9

    minute_bars(50_000).to_parquet(tmp_path / "bars.parquet")
    feature("mine")(total)  # type: ignore[arg-type]
    data = on(tmp_path / "bars.parquet", ["mine"])
    assert data.bars is not None
    computed.clear()
    assert not compute_on_segments(data, data.bars, ["mine"]).settled
    # The first bars; half of the 7,500 of validation between 4,129 and 4,096; and the same behind all bars but a few.
    assert computed[1] < 12_000 and computed[2] > 35_000 and len(computed) == 3


def test_of_long_data_a_feature_is_computed_on_all_bars_but_once_more(tmp_path: Path) -> None:
    computed = []

    def mine(bars: pd.DataFrame) -> Series:
        computed.append(len(bars))
        return bars["close"] / bars["close"].rolling(30).mean()

    minute_bars(50_000).to_parquet(tmp_path / "bars.parquet")
    feature("mine")(mine)  # type: ignore[arg-type]
    data = on(tmp_path / "bars.parquet", ["ret_1", "mine"])
    assert computed == [50_000]
    assert check_leaks(data).inputs == "checked"
    assert sum(bars > 30_000 for bars in computed) == 2
    FEATURES["mine"] = next_bar
    with pytest.raises(DataError, match="the feature mine knows its future"):
        check_leaks(on(tmp_path / "bars.parquet", ["ret_1", "mine"]))
