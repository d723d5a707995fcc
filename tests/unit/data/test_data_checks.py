"""Bad input is refused with the file, the line, the value, and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradingbot_exp.config.schema import DataConfig, SplitConfig, SyntheticConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.errors import ConfigError, DataError

Write = Callable[..., DataConfig]
Change = Callable[[pd.DataFrame], pd.DataFrame]


def cell(row: int, column: str, value: object) -> Change:
    """Put a value into one cell; row 0 is line 2 of the CSV."""

    def change(bars: pd.DataFrame) -> pd.DataFrame:
        bars = bars.astype({column: object})
        bars.loc[row, column] = value
        return bars

    return change


def swapped(bars: pd.DataFrame) -> pd.DataFrame:
    return bars.iloc[[0, 1, 3, 2, *range(4, len(bars))]]


BAD_BARS = [
    pytest.param(cell(5, "close", "abc"), ["line 7", "close is 'abc'", "expected a number"], id="text"),
    pytest.param(
        cell(5, "open", "1,234.5"), ["line 7", "open 1234.5 is outside the bar's range"], id="thousands separator"
    ),
    pytest.param(cell(5, "high", ""), ["line 7", "high is missing"], id="empty cell"),
    pytest.param(cell(5, "low", "NaN"), ["line 7", "low is missing", "finite number"], id="NaN"),
    pytest.param(cell(5, "close", "inf"), ["line 7", "close is inf", "finite number"], id="infinite"),
    pytest.param(cell(5, "close", 0), ["line 7", "close is 0", "above 0"], id="zero price"),
    pytest.param(cell(5, "open", -3.5), ["line 7", "open is -3.5", "above 0"], id="negative price"),
    pytest.param(cell(5, "high", 1), ["line 7", "high 1 is below low"], id="high below low"),
    pytest.param(cell(5, "close", 900), ["line 7", "close 900 is outside", "low <= close <= high"], id="close out"),
    pytest.param(cell(5, "open", 0.1), ["line 7", "open 0.1 is outside"], id="open out"),
    pytest.param(cell(5, "volume", -1), ["line 7", "volume is -1", "0 or more"], id="negative volume"),
    pytest.param(cell(5, "volume", 0), ["line 7", "volume is 0", "volume_z_20"], id="zero volume"),
    pytest.param(cell(5, "date", "soon"), ["line 7", "date is 'soon'", "such as 2013-03-01"], id="no date"),
    pytest.param(cell(0, "date", "2000-02-31"), ["line 2", "date is '2000-02-31'"], id="no such day"),
    pytest.param(cell(5, "date", ""), ["line 7", "date is ''"], id="empty date"),
    pytest.param(
        cell(5, "date", "2000-01-03"),
        ["line 7", "2000-01-03 00:00:00 is a duplicate of line 2"],
        id="duplicate",
    ),
    pytest.param(swapped, ["line 5", "2000-01-05", "earlier than 2000-01-06", "sort"], id="unsorted"),
    pytest.param(
        lambda b: swapped(b.iloc[::-1]), ["line 5", "later than", "newest first"], id="unsorted, newest first"
    ),
    pytest.param(
        lambda b: b.rename(columns={"close": "clsoe"}),
        ["no column 'close'", "Did you mean 'clsoe'?"],
        id="misspelt",
    ),
    pytest.param(lambda b: b.drop(columns="volume"), ["no column 'volume'", "it has date, open"], id="no volume"),
    pytest.param(
        lambda b: b.rename(columns={"date": "dates"}),
        ["no time column", "Did you mean 'dates'?"],
        id="no time",
    ),
    pytest.param(lambda b: b.assign(time=1), ["time columns date and time", "join"], id="two times"),
    pytest.param(lambda b: b.assign(Close=b["close"]), ["'close' twice", "close and Close"], id="twice by case"),
    pytest.param(lambda b: b.iloc[:0], ["is empty", "no rows"], id="header alone"),
    pytest.param(lambda b: b.iloc[:30], ["too few rows", "30 bars", "first 33"], id="fewer than warm-up"),
    pytest.param(lambda b: b.iloc[:38], ["too few rows", "leaves 1 for train"], id="fewer than split"),
    pytest.param(lambda b: b[["date"]], ["only column is 'date'", "commas"], id="one column"),
]


@pytest.mark.parametrize(("change", "words"), BAD_BARS)
def test_bad_bars_are_refused(change: Change, words: list[str], bars: pd.DataFrame, write: Write) -> None:
    assert len(prepare_data(write(bars)).index) == 166  # the same bars, unchanged, are fine
    with pytest.raises(DataError) as caught:
        prepare_data(write(change(bars)))
    for word in ["bars.csv", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("bars.csv", b"", ["is empty", "header"]),
        ("bars.csv", b"\n \n", ["is empty"]),
        ("bars.csv", b"\x89PNG\x00\x01\x02", ["not a CSV", "binary"]),
        ("bars.csv", "Größe,Kurs\n1,2\n".encode("latin-1"), ["not a CSV", "UTF-8"]),
        ("bars.csv", b"date,open,open\n2000-01-03,1,2\n", ["column 'open' twice"]),
        (
            "bars.csv",
            b"date,open\n2000-01-03,1\n2000-01-04,1,2\n",
            ["line 3: 3 cells in a file of 2 columns"],
        ),
        ("bars.csv.gz", b"date,open\n", ["not a gzip file"]),
        ("bars.parquet", b"date,open\n", ["cannot be read as Parquet"]),
        ("bars.xlsx", b"PK", ["ends in .csv, .txt, .tsv, .parquet, .feather or .json"]),
    ],
)
def test_files_that_hold_no_bars_are_refused(name: str, content: bytes, words: list[str], write: Write) -> None:
    with pytest.raises(DataError) as caught:
        prepare_data(write(content, name))
    for word in [name, *words]:
        assert word in str(caught.value)


def test_a_missing_file_is_answered_with_its_place_and_a_near_one(
    bars: pd.DataFrame, write: Write, tmp_path: Path
) -> None:
    write(bars, "bars.csv")
    with pytest.raises(DataError, match=r"there is no file .*/barz\.csv\. Did you mean 'bars\.csv'\?"):
        prepare_data(DataConfig(source="csv", path=str(tmp_path / "barz.csv")))
    with pytest.raises(DataError, match=r"there is no file .*/nowhere/bars\.csv\.$"):
        prepare_data(DataConfig(source="csv", path=str(tmp_path / "nowhere" / "bars.csv")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no file of bars; expected one for each symbol"):
        prepare_data(DataConfig(source="csv", path=str(tmp_path / "empty")))


def test_a_parquet_file_counts_rows(bars: pd.DataFrame, write: Write) -> None:
    bars.loc[5, "close"] = np.nan
    with pytest.raises(DataError, match=r"bars\.parquet, row 6: close is missing"):
        prepare_data(write(bars, "bars.parquet"))


def test_a_date_without_a_value_in_parquet_is_refused(bars: pd.DataFrame, write: Write) -> None:
    bars.loc[5, "date"] = pd.NaT
    with pytest.raises(DataError, match=r"bars\.parquet, row 6: date is 'NaT'"):
        prepare_data(write(bars, "bars.parquet"))


def test_times_with_and_without_a_zone_are_refused_where_they_begin(bars: pd.DataFrame, write: Write) -> None:
    naive = bars["date"].dt.strftime("%Y-%m-%d %H:%M:%S")
    naive.iloc[4] += "Z"
    with pytest.raises(DataError, match=r"line 6: .*zone Z, .*none: mixed time zones"):
        prepare_data(write(bars.assign(date=naive)))


def test_days_and_months_that_cannot_be_told_apart_are_refused(bars: pd.DataFrame, write: Write) -> None:
    monthly = bars.iloc[:120].assign(date=pd.date_range("2000-01-01", periods=120, freq="MS").strftime("%d/%m/%Y"))
    with pytest.raises(DataError, match=r"line 3: date is '01/02/2000': day and month cannot be told apart"):
        prepare_data(write(monthly))


def test_rounding_beyond_the_range_is_tolerated_and_zero_volume_without_its_feature(
    bars: pd.DataFrame, write: Write
) -> None:
    bars["close"] = np.where(bars.index == 50, bars["high"] * (1 + 5e-7), bars["close"])
    bars.loc[60, "volume"] = 0.0
    assert len(prepare_data(write(bars, features=["ret_1", "clv"])).index) == 166


def test_a_constant_feature_is_refused_even_if_it_moves_after_train(bars: pd.DataFrame, write: Write) -> None:
    frame = bars.assign(flag=np.where(bars.index < 180, 0.1, bars.index))
    with pytest.raises(DataError, match=r"bars\.csv: the feature flag is constant: 0\.1 in all \d+ train rows"):
        prepare_data(write(frame, features=["ret_1", "flag"]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_hole_in_a_users_feature_is_refused(bars: pd.DataFrame, write: Write, value: float) -> None:
    mine = np.where(bars.index == 199, value, bars["close"])
    with pytest.raises(DataError, match=r"line 201: mine is (missing|inf); expected a finite number"):
        prepare_data(write(bars.assign(mine=mine), features=["mine"]))


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (DataConfig(features=["ret_1", "rsi14"]), r"data\.features: 'rsi14' .*Did you mean 'rsi_14'\?"),
        (DataConfig(features=["ret_1", "ret_1"]), r"data\.features has 'ret_1' twice"),
        (DataConfig(features=[]), r"data\.features must be a list of at least one feature; got \[\]"),
        (DataConfig(target="returns"), r"data\.target must be one of return, dir.*; got 'returns'.*mean 'return'"),
        (DataConfig(name="ibn"), r"data\.name must be one of ibm, msft, tech; got 'ibn'\. Did you mean 'ibm'\?"),
        (DataConfig(symbol="AAPL"), r"data\.symbol=AAPL: the bundled bars ibm are those of IBM"),
        (DataConfig(path="bars.csv"), r"data\.path=bars\.csv is not read with data=bundled.*use data=csv"),
        (DataConfig(source="cvs"), r"data\.source must be one of .*; got 'cvs'\. Did you mean 'csv'\?"),
        (DataConfig(source="csv"), r"data=csv needs a file: data\.path=FILE"),
        (DataConfig(horizon=0), r"data\.horizon must be 1 or more bars; got 0"),
        (DataConfig(sequence_length=0), r"data\.sequence_length must be 1 or more bars; got 0"),
        (DataConfig(split=SplitConfig(train=0.9)), r"data\.split: train \+ val \+ test must be at most 1; got 1\.2"),
        (
            DataConfig(split=SplitConfig(train_end="1999-01-01", val_end="2010-01-01")),
            r"data\.split\.train_end=1999-01-01 is outside the data, 2000-03-01 00:00:00 to 2013-03-01",
        ),
        (
            DataConfig(source="synthetic", synthetic=SyntheticConfig(signal=1.0)),
            r"data\.synthetic\.signal must be between -1 and 1.*got 1\.0",
        ),
        (
            DataConfig(source="synthetic", synthetic=SyntheticConfig(bars=99)),
            r"data\.synthetic\.bars must be 100 to 68000 bars; got 99\.",
        ),
    ],
)
def test_impossible_keys_are_refused_by_their_name(config: DataConfig, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        prepare_data(config)
