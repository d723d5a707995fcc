# ruff: noqa: E501 - one sample a line
"""Files are read as the tools wrote them: one sample of every format, made by its writer where pandas is that."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradingbot_exp.config.schema import ColumnsConfig, DataConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.data.frequency import describe_frequency
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.errors import ConfigError, DataError

FILES = Path(__file__).parents[2] / "data" / "files"
NO_VOLUME = ["ret_1", "clv"]


def walk(index: pd.DatetimeIndex, start: float = 100.0, digits: int = 2) -> pd.DataFrame:
    """Bars of a seeded random walk, prices rounded as a feed rounds them."""
    rng = np.random.default_rng(len(index))
    close = start * np.exp(np.cumsum(0.003 * rng.standard_normal(len(index))))
    opened = np.r_[start, close[:-1]]
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
    prices = pd.DataFrame({"open": opened, "high": high, "low": low, "close": close}, index=index).round(digits)
    return prices.assign(volume=rng.integers(1_000, 9_000_000, len(index)))


def titled(frame: pd.DataFrame, index: str = "Date") -> pd.DataFrame:
    return frame.rename(columns=str.capitalize).rename_axis(index)


DAILY = walk(pd.bdate_range("2022-01-03", periods=120))
HOURLY = walk(pd.date_range("2024-01-01", periods=400, freq="h"), 60_000.0)
SESSION = walk(
    pd.DatetimeIndex(
        [d + pd.Timedelta(minutes=570 + m) for d in pd.bdate_range("2024-01-02", periods=12) for m in range(0, 390, 5)]
    )
)
FIRST = DAILY["close"].iloc[0]
HALF = DAILY["close"] / 2
MILLIS = (
    HOURLY.index.astype("int64") // 10**6 if HOURLY.index.unit == "ns" else HOURLY.index.as_unit("ms").astype("int64")
)


def text(lines: list[str], separator: str = "\n") -> bytes:
    return (separator.join(lines) + separator).encode()


def csv(frame: pd.DataFrame, **options: object) -> bytes:
    return frame.to_csv(**options).encode()  # type: ignore[arg-type, call-overload, no-any-return]


def rows(frame: pd.DataFrame, form: Callable[[tuple[object, ...]], str]) -> list[str]:
    return [form(row) for row in frame.itertuples()]


def several(group: str = "price") -> pd.DataFrame:
    """What yfinance.download gives: columns of (price, ticker), in its own order."""
    both = {"AAPL": titled(DAILY), "MSFT": titled(DAILY * [2, 2, 2, 2, 1])}
    frame = pd.concat(both, axis="columns", names=["Ticker", "Price"], sort=False)
    order = ["Close", "High", "Low", "Open", "Volume"]
    if group == "price":
        return frame.swaplevel(axis="columns").reindex(columns=order, level=0)
    return frame


def one() -> pd.DataFrame:
    return several().loc[:, pd.IndexSlice[:, ["AAPL"]]]


def saved(frame: pd.DataFrame, kind: str) -> bytes:
    buffer = io.BytesIO()
    getattr(frame, f"to_{kind}")(buffer)
    return buffer.getvalue()


def zipped(content: bytes, name: str = "bars.csv") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def ccxt() -> pd.DataFrame:
    """What ccxt.fetch_ohlcv gives, as its manual makes a frame of it."""
    return pd.DataFrame(np.column_stack([MILLIS.to_numpy(), HOURLY]).tolist()).astype({0: "int64"})


def freqtrade() -> pd.DataFrame:
    return HOURLY.set_axis(HOURLY.index.tz_localize("UTC")).rename_axis("date").reset_index()


def klines(in_micros: bool = False) -> bytes:
    factor = 1000 if in_micros else 1
    frame = HOURLY.reset_index(drop=True)
    frame.insert(0, "time", MILLIS * factor)
    ends = {"close_time": (MILLIS + 3_600_000) * factor - 1}
    return csv(frame.assign(**ends, quote=1.5, count=7, a=1.0, b=2.0, ignore=0), header=False, index=False)


def grouped(value: float, digits: int = 2) -> str:
    return f'"{value:,.{digits}f}"'


def german(value: float, digits: int = 2) -> str:
    return f"{value:_.{digits}f}".replace(".", ",").replace("_", ".")


NEW_YORK = titled(DAILY.set_axis(DAILY.index.tz_localize("America/New_York")))
POLYGON = pd.DataFrame(
    {"v": HOURLY["volume"], "vw": 1.0, "o": HOURLY["open"], "c": HOURLY["close"], "h": HOURLY["high"]}
)
POLYGON = POLYGON.assign(l=HOURLY["low"], t=MILLIS, n=3)
INVESTING = text(
    [
        '"Date","Price","Open","High","Low","Vol.","Change %"',
        *rows(
            DAILY[::-1] * [50, 50, 50, 50, 1],
            lambda r: (
                f'"{r[0]:%m/%d/%Y}",{grouped(r[4])},{grouped(r[1])},{grouped(r[2])},{grouped(r[3])},"{r[5] / 1e6:.2f}M","-0.35%"'
            ),
        ),
    ]
)
EUROPE = text(
    [
        '"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"',
        *rows(
            DAILY[::-1] * [50, 50, 50, 50, 1],
            lambda r: (
                f'"{r[0]:%d.%m.%Y}","{german(r[4])}","{german(r[1])}","{german(r[2])}","{german(r[3])}","{german(r[5] / 1e6)}M","-0,35%"'
            ),
        ),
    ]
)
NASDAQ = text(
    [
        "Date,Close/Last,Volume,Open,High,Low",
        *rows(DAILY[::-1], lambda r: f"{r[0]:%m/%d/%Y},${r[4]},{r[5]},${r[1]},${r[2]},${r[3]}"),
    ]
)
DOWNLOAD = text(
    [
        "https://www.CryptoDataDownload.com",
        "unix,date,symbol,open,high,low,close,Volume BTC,Volume USDT",
        *rows(
            HOURLY[::-1].assign(unix=MILLIS[::-1]),
            lambda r: f"{r[6]},{r[0]:%Y-%m-%d %H:%M:%S},BTC/USDT,{r[1]},{r[2]},{r[3]},{r[4]},{r[5]},1.0",
        ),
    ]
)
EXCEL = text(
    [
        "Date;Open;High;Low;Close;Volume",
        *rows(DAILY, lambda r: f"{r[0]:%d.%m.%Y};" + ";".join(german(v) for v in r[1:5]) + f";{r[5]}"),
    ],
    "\r\n",
)
STOOQ = text(
    [
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        *rows(SESSION, lambda r: f"AAPL.US,5,{r[0]:%Y%m%d,%H%M%S},{r[1]},{r[2]},{r[3]},{r[4]},{r[5]},0"),
    ]
)
MT5 = text(
    [
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        *rows(HOURLY, lambda r: f"{r[0]:%Y.%m.%d\t%H:%M:%S}\t{r[1]}\t{r[2]}\t{r[3]}\t{r[4]}\t{r[5]}\t0\t12"),
    ],
    "\r\n",
)
MT4 = text(rows(HOURLY, lambda r: f"{r[0]:%Y.%m.%d,%H:%M},{r[1]},{r[2]},{r[3]},{r[4]},{r[5]}"), "\r\n")
KRAKEN = text(rows(HOURLY, lambda r: f"{r[0].timestamp():.0f},{r[1]},{r[2]},{r[3]},{r[4]},{r[5]}.5,17"))
HISTDATA = text(rows(HOURLY, lambda r: f"{r[0]:%Y%m%d %H%M%S};{r[1]};{r[2]};{r[3]};{r[4]};0"))
TWS = text(
    [
        ",date,open,high,low,close,volume,average,barCount",
        *rows(
            SESSION.reset_index(),
            lambda r: f"{r[0]},{r[1]:%Y%m%d  %H:%M:%S} US/Eastern,{r[2]},{r[3]},{r[4]},{r[5]},{r[6]},1,2",
        ),
    ]
)
XTS = titled(DAILY).assign(Adjusted=HALF).add_prefix("BRK.B.")
AV_JSON = json.dumps(
    {
        "Meta Data": {"2. Symbol": "IBM"},
        "Time Series (Daily)": {
            f"{r[0]:%Y-%m-%d}": {
                "1. open": str(r[1]),
                "2. high": str(r[2]),
                "3. low": str(r[3]),
                "4. close": str(r[4]),
                "5. volume": str(r[5]),
            }
            for r in DAILY[::-1].itertuples()
        },
    }
).encode()
ADJUSTED = titled(DAILY).assign(**{"Adj Close": HALF})
BITFINEX = ccxt()[[0, 1, 4, 2, 3, 5]]
COINBASE = ccxt()[[0, 3, 2, 1, 4, 5]].assign(**{"0": MILLIS // 1000})[["0", 3, 2, 1, 4, 5]][::-1]

BUSINESS, CRYPTO, STOCK = (
    ("daily (business days)", 252.0),
    ("60-minute bars, 24 a day (all days)", 8760.0),
    ("5-minute bars, 78 a day (business days)", 19656.0),
)
DAY, HOUR, HOUR_UTC, OPENING = "2022-01-03", "2024-01-01", "2024-01-01 00:00+00:00", "2024-01-02 09:30"
HOUR_FIRST = HOURLY["close"].iloc[0]

SAMPLES = {
    "yfinance 1, one ticker": ("a.csv", csv(one()), DAY, BUSINESS, FIRST),
    "yfinance, flat columns": ("a.csv", csv(ADJUSTED), DAY, BUSINESS, FIRST / 2),
    "yfinance, without names of levels": ("a.csv", csv(one().rename_axis(columns=[None, None])), DAY, BUSINESS, FIRST),
    "yfinance, a row of tickers without one": ("a.csv", csv(one()).replace(b"AAPL", b""), DAY, BUSINESS, FIRST),
    "yfinance, several tickers": ("a.csv", csv(several()), DAY, BUSINESS, FIRST * 2),
    "yfinance, grouped by ticker": ("a.csv", csv(several("ticker")), DAY, BUSINESS, FIRST * 2),
    "yfinance, index reset": ("a.csv", csv(several().reset_index(), index=False), DAY, BUSINESS, FIRST * 2),
    "yfinance, stacked": ("a.csv", csv(several().stack(level=1)), DAY, BUSINESS, FIRST * 2),
    "yfinance, pairs as names": ("a.csv", csv(several().pipe(lambda f: f.set_axis([str(c) for c in f.columns], axis=1))), DAY, BUSINESS, FIRST * 2),
    "yfinance, Parquet": ("a.parquet", saved(one(), "parquet"), DAY, BUSINESS, FIRST),
    "yfinance, several tickers, Parquet": ("a.parquet", saved(several(), "parquet"), DAY, BUSINESS, FIRST * 2),
    "yfinance history": ("a.csv", csv(NEW_YORK), "2022-01-03 05:00+00:00", BUSINESS, FIRST),
    "yfinance history, Parquet": ("a.parquet", saved(NEW_YORK, "parquet"), "2022-01-03 00:00-05:00", BUSINESS, FIRST),
    "Stooq": ("a.txt", STOOQ, OPENING, STOCK, SESSION["close"].iloc[0]),
    "MetaTrader 4": ("a.csv", MT4, HOUR, CRYPTO, HOUR_FIRST),
    "MetaTrader 5": ("a.csv", MT5.decode().encode("utf-16"), HOUR, CRYPTO, HOUR_FIRST),
    "Binance, spot": ("a.csv", klines(), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "Binance, since 2025 in microseconds": ("a.zip", zipped(klines(in_micros=True)), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "Kraken": ("a.csv", KRAKEN, HOUR_UTC, CRYPTO, HOUR_FIRST),
    "ccxt, columns without names": ("a.csv", csv(ccxt()), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "ccxt, without a header": ("a.csv", csv(ccxt(), header=False, index=False), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "ccxt, columns with names": ("a.csv", csv(ccxt().set_axis(["timestamp", *HOURLY], axis=1), index=False), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "freqtrade, Feather": ("a.feather", saved(freqtrade(), "feather"), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "freqtrade, JSON": ("a.json", json.dumps(ccxt().to_numpy().tolist()).encode(), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "freqtrade, JSON, packed": ("a.json.gz", gzip.compress(json.dumps(ccxt().to_numpy().tolist()).encode()), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "CryptoDataDownload": ("a.csv", DOWNLOAD, HOUR, CRYPTO, HOUR_FIRST),
    "Alpha Vantage, adjusted": ("a.csv", csv(DAILY[::-1].assign(adjusted_close=HALF, dividend_amount=0.0).rename_axis("timestamp")), DAY, BUSINESS, FIRST / 2),
    "Alpha Vantage, JSON": ("a.json", AV_JSON, DAY, BUSINESS, FIRST),
    "EODHD": ("a.csv", csv(titled(DAILY).assign(Adjusted_close=HALF)[["Open", "High", "Low", "Close", "Adjusted_close", "Volume"]]), DAY, BUSINESS, FIRST / 2),
    "Tiingo": ("a.csv", csv(DAILY.assign(adjClose=HALF, adjHigh=1.0, adjVolume=1, divCash=0.0).rename_axis("date")), DAY, BUSINESS, FIRST / 2),
    "Investing.com": ("a.csv", INVESTING, DAY, BUSINESS, 50 * FIRST),
    "Nasdaq.com": ("a.csv", NASDAQ, DAY, BUSINESS, FIRST),
    "Polygon, ms": ("a.csv", csv(POLYGON, index=False), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "Polygon, ns": ("a.csv", csv(POLYGON.assign(t=MILLIS * 10**6), index=False), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "Polygon, JSON": ("a.json", json.dumps({"ticker": "X", "results": POLYGON.to_dict("records")}).encode(), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "Polygon, flat files": ("a.csv.gz", gzip.compress(csv(HOURLY.assign(ticker="X", window_start=MILLIS * 10**6, transactions=1), index=False)), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "Dukascopy, GMT": ("a.csv", csv(titled(HOURLY.set_axis(HOURLY.index.strftime("%d.%m.%Y %H:%M:%S.000")), "Gmt time")), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "Interactive Brokers": ("a.csv", TWS, "2024-01-02 09:30-05:00", STOCK, SESSION["close"].iloc[0]),
    "TradingView": ("a.csv", csv(HOURLY.set_axis(MILLIS // 1000).rename_axis("time").rename(columns={"volume": "Volume"})), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "TradingView, ISO": ("a.csv", csv(HOURLY.set_axis(HOURLY.index.strftime("%Y-%m-%dT%H:%M:%S+01:00")).rename_axis("time")), "2024-01-01 00:00+01:00", CRYPTO, HOUR_FIRST),
    "quantmod, write.zoo": ("a.csv", csv(XTS.rename_axis("Index")), DAY, BUSINESS, FIRST / 2),
    "quantmod, write.csv": ("a.csv", csv(XTS.rename_axis("")), DAY, BUSINESS, FIRST / 2),
    "R, write.table": ("a.csv", csv(titled(DAILY)).replace(b"Date,", b"", 1), DAY, BUSINESS, FIRST),
    "Excel, semicolons and decimal commas": ("a.csv", b"\xef\xbb\xbf" + EXCEL, DAY, BUSINESS, FIRST),
    "Excel, sep=": ("a.csv", b"sep=;\r\n" + EXCEL, DAY, BUSINESS, FIRST),
    "HistData.com": ("a.csv", HISTDATA, HOUR, CRYPTO, HOUR_FIRST),
    "Bitfinex": ("a.json", BITFINEX.to_json(orient="values").encode(), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "Coinbase": ("a.csv", csv(COINBASE, header=False, index=False), HOUR_UTC, CRYPTO, HOUR_FIRST),
    "pandas, Parquet with its index": ("a.parquet", saved(DAILY, "parquet"), DAY, BUSINESS, FIRST),
    "pandas, JSON": ("a.json", DAILY.to_json(date_format="epoch").encode(), "2022-01-03 00:00+00:00", BUSINESS, FIRST),
    "pandas, JSON by row": ("a.json", DAILY.rename_axis("date").reset_index().to_json(orient="records", date_format="iso").encode(), DAY, BUSINESS, FIRST),
    "UTF-16 without a mark": ("a.csv", csv(DAILY).decode().encode("utf-16-le"), DAY, BUSINESS, FIRST),
    "tabs": ("a.tsv", csv(titled(DAILY), sep="\t"), DAY, BUSINESS, FIRST),
}  # fmt: skip
"""Name of the file, content, index start, frequency and bars a year, first adjusted close."""

# The samples of tests/data/files: walks in layouts that were read wrongly, or refused.
KEPT = {
    "adj_close.csv": (DAY, BUSINESS, 25.0325),
    "alpha_vantage_adjusted_close.csv": (DAY, BUSINESS, 25.0325),
    "alpha_vantage_numbered.csv": (DAY, BUSINESS, 100.13),
    "binance_klines.csv": ("2025-12-20 00:00+00:00", CRYPTO, 90737.74),
    "ccxt_1m.csv": ("2024-05-14 10:07+00:00", ("1-minute bars", None), 59984.36),
    "crypto_1h_through_a_weekend.csv": ("2024-05-15 00:00+00:00", CRYPTO, 59843.77),
    "digits_yyyymmddhh.csv": ("2025-12-20", CRYPTO, 90737.74),
    "digits_yyyymmddhhmm.csv": ("2024-01-02 09:30", STOCK, 100.0189),
    "dukascopy_local_time.csv": ("2023-03-19 23:00+00:00", CRYPTO, 1.04916),
    "excel_month_first_short_years.csv": (DAY, BUSINESS, 100.13),
    "future_2122.csv": ("2122-01-03", BUSINESS, 100.13),
    "fx_daily_sundays.csv": ("2020-01-01", ("daily (6 days a week)", 6 * 365 / 7), 1.09996),
    "interactive_brokers_two_spaces.csv": ("2024-01-02 09:30", STOCK, 100.0189),
    "month_first_am_pm.csv": ("2023-01-01", CRYPTO, 101.23),
    "newest_first_empty_column.csv": ("2023-01-03", BUSINESS, 49.136714),
    "pandas_unnamed_index.csv": (DAY, BUSINESS, 100.13),
    "quantmod_adjusted.csv": (DAY, BUSINESS, 25.0325),
    "short_years_1962.csv": ("1962-01-02", BUSINESS, 100.13),
    "split_unadjusted.csv": (DAY, BUSINESS, 100.13),
    "tradingview_plots_twice.csv": ("2025-12-20 00:00+00:00", CRYPTO, 90737.74),
    "yfinance_history_offsets.csv": ("2022-01-03 05:00+00:00", BUSINESS, 100.13),
    "yfinance_three_line_header.csv": (DAY, BUSINESS, 100.13),
}


def facts(config: DataConfig) -> tuple[str, tuple[str, float | None], float]:
    frame = load_bars(config).frame
    frequency = describe_frequency(pd.DatetimeIndex(frame.index))
    return str(frame.index[0]), (frequency.name, frequency.periods), frame["close"].iloc[0]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_of_every_format_gives_its_values(name: str, tmp_path: Path) -> None:
    file, content, start, frequency, close = SAMPLES[name]
    (tmp_path / file).write_bytes(content)
    config = DataConfig(name="csv", source="csv", path=str(tmp_path / file), features=["ret_1"])
    if close == 2 * FIRST:
        with pytest.raises(ConfigError, match="holds 2 instruments"):
            load_bars(config)
        config.symbol = "MSFT"
    assert facts(config) == (str(pd.Timestamp(start)), frequency, pytest.approx(close, rel=1e-12))


@pytest.mark.parametrize("name", KEPT)
def test_a_sample_that_was_read_wrongly_gives_its_values(name: str) -> None:
    start, frequency, close = KEPT[name]
    found = facts(DataConfig(name="csv", source="csv", path=str(FILES / name)))
    assert found == (str(pd.Timestamp(start)), frequency, pytest.approx(close, rel=1e-12))


def said(caplog: pytest.LogCaptureFixture, config: DataConfig) -> str:
    """Read the bars of a configuration and return what the user is told of them."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        load_bars(config)
    return " ".join(record.getMessage() for record in caplog.records)


def read_of(tmp_path: Path, content: bytes, name: str = "bars.csv", **keys: object) -> DataConfig:
    (tmp_path / name).write_bytes(content)
    return DataConfig(**({"name": "csv", "source": "csv", "path": str(tmp_path / name)} | keys))  # type: ignore[arg-type]


def dated(form: str, index: pd.DatetimeIndex | None = None) -> bytes:
    """Daily bars whose dates are written in another way."""
    index = DAILY.index if index is None else index
    return csv(DAILY.iloc[: len(index)].set_axis(index.strftime(form)).rename_axis("date"))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("yfinance_three_line_header.csv", "yfinance_three_line_header.csv: read as yfinance's three-line header."),
        ("binance_klines.csv", "read as Binance's klines, without a header."),
        ("alpha_vantage_adjusted_close.csv", "read as bars: adj_close is 'adjusted_close'."),
        ("yfinance_history_offsets.csv", "has the offsets -05:00, -04:00 from UTC"),
        ("newest_first_empty_column.csv", "the newest row is the first; rows are read in reverse."),
        ("short_years_1962.csv", "years of two digits, read as 1962 to 1962"),
        ("future_2122.csv", "line 2: 2122-01-03 00:00:00 is later than now"),
        ("dukascopy_local_time.csv", "line 148 is in the hour that daylight saving leaves out"),
        (
            "split_unadjusted.csv",
            "line 62, 2022-03-28 00:00:00: the close jumps from 104.75 to 26.0725 (-75%): a split 4 for 1?",
        ),
        ("adj_close.csv", ""),
    ],
)
def test_how_a_file_is_read_is_said_in_one_line(caplog: pytest.LogCaptureFixture, file: str, words: str) -> None:
    found = said(caplog, DataConfig(name="csv", source="csv", path=str(FILES / file)))
    assert words in found and (words or not found)


@pytest.mark.parametrize(
    ("late", "words"),
    [(1, "than now, {}: are the"), (2, "{}, as is 1 other row: are"), (3, "as are 2 other rows: are")],
)
def test_bars_later_than_now_are_counted(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, late: int, words: str
) -> None:
    now = pd.Timestamp.now("UTC").tz_localize(None).normalize()
    index = now + pd.to_timedelta(range(late - 40, late), "D") + pd.Timedelta(days=2)
    assert words.format(f"{now:%Y-%m-%d}") in said(caplog, read_of(tmp_path, csv(walk(index).rename_axis("date"))))


@pytest.mark.parametrize("title", ["IBM, daily", "IBM,,,,,", ",,IBM,,,", "IBM\n\nmade by hand,,,,,"])
def test_a_title_above_the_header_is_left_out(caplog: pytest.LogCaptureFixture, tmp_path: Path, title: str) -> None:
    content = title.encode() + b"\n" + csv(DAILY.rename_axis("date"))
    config = read_of(tmp_path, content)
    more = " and 1 more" if "made" in title else ""
    assert f"line 1{more} before the table is left out: {title.splitlines()[0]!r}" in said(caplog, config)
    np.testing.assert_array_equal(load_bars(config).frame, DAILY)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({60: 1 / 20}, "a split 20 for 1?"),
        ({60: 8.0}, "a reverse split 1 for 8?"),
        ({60: 100.0}, "another unit (such as pence for pounds), or a reverse split 1 for 100?"),
        ({60: 1 / 10}, "another unit (such as pence for pounds), or a split 10 for 1?"),
        ({60: 1.8, 61: 1 / 1.8}, "a faulty tick? The next bar is back."),
        ({60: 1.08, 61: 1 / 1.08}, "a faulty tick?"),
        (
            {60: 1 / 2, 90: 1 / 3},
            "a split 3 for 1? Prices have to be adjusted, by a column adj_close. So does 1 other.",
        ),
        ({60: 0.8}, ""),
    ],
)
def test_a_jump_gets_one_warning(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, change: dict[int, float], cause: str
) -> None:
    factor = pd.Series(1.0, DAILY.index)
    factor.iloc[list(change)] = list(change.values())
    prices = DAILY[["open", "high", "low", "close"]].mul(factor.cumprod(), axis="index")
    found = said(caplog, read_of(tmp_path, csv(prices.assign(volume=1.0))))
    assert cause in found and found.count("jumps") == bool(cause)


@pytest.mark.parametrize(
    ("index", "form", "start"),
    [
        (HOURLY.index, "%Y%m%d%H%M%S", "2024-01-01"),
        (HOURLY.index[:120], "%Y%m%d%H", "2024-01-01"),
        (pd.bdate_range("1999-06-01", periods=120), "%Y%m%d0000", "1999-06-01"),
        (pd.bdate_range("1999-06-01", periods=120), "%y%m%d", "1999-06-01"),
        (pd.bdate_range("2021-06-01", periods=120), "%d%m%Y", "2021-06-01"),
        (pd.bdate_range("1931-06-01", periods=120), "%d-%b-%y", "1931-06-01"),
        (pd.bdate_range("1999-06-01", periods=120), "%m/%d/%y", "1999-06-01"),
        (pd.bdate_range("1999-06-01", periods=120), "%A, %B %d, %Y", "1999-06-01"),
        (pd.bdate_range("1999-06-01", periods=120), "%d.%m.%Y 4:00 PM", "1999-06-01 16:00"),
        (pd.date_range("2024-10-20", periods=120, freq="3h", tz="Europe/Berlin"), "%d.%m.%Y %H:%M %z", "2024-10-19 22:00+00:00"),
        (pd.date_range("2024-10-20", periods=120, freq="3h", tz="Asia/Kolkata"), "%d/%m/%Y %H:%M GMT%z", "2024-10-20 00:00+05:30"),
        (HOURLY.index, "%Y-%m-%d %H:%M:%S America/New_York", "2024-01-01 00:00-05:00"),
        (HOURLY.index, "%Y/%m/%d %I:%M %p America/Port-au-Prince", "2024-01-01 00:00-05:00"),
        (HOURLY.index, "%Y-%m-%d %I %p America/Sao_Paulo", "2024-01-01 00:00-03:00"),
        (HOURLY.index, "%Y-%m-%d %H:%M Etc/GMT+5", "2024-01-01 00:00-05:00"),
    ],
)  # fmt: skip
def test_dates_without_a_second_reading_are_read(
    tmp_path: Path, index: pd.DatetimeIndex, form: str, start: str
) -> None:
    config = read_of(tmp_path, dated(form, index[:120]))
    assert load_bars(config).frame.index[0] == pd.Timestamp(start)


LONG = pd.date_range("2010-01-10", periods=3000, freq="15min")
SIZES = [999 if place < 2500 else 12_345 for place in range(len(LONG))]


@pytest.mark.parametrize("separator", [";", ","])
def test_thousands_far_below_the_head_are_told_by_the_decimal_commas_of_the_file(
    tmp_path: Path, separator: str
) -> None:
    prices = pd.DataFrame(
        {role: [german(size, 0) for size in SIZES] for role in ("open", "high", "low", "close")}, LONG
    )
    tell = ["" if place < 2800 else "0,5" for place in range(len(LONG))]
    content = csv(prices.assign(volume=prices["open"], spread=tell).rename_axis("date"), sep=separator)
    frame = load_bars(read_of(tmp_path, content, features=["ret_1"])).frame
    np.testing.assert_array_equal(frame[["close", "volume"]], np.column_stack([SIZES, SIZES]))


def test_codes_and_dates_far_below_the_head_keep_their_zeros(tmp_path: Path) -> None:
    prices = pd.DataFrame(10.5, index=LONG, columns=["open", "high", "low", "close", "volume"])
    times = prices.assign(Tag=LONG.strftime("%d%m%Y"), Zeit=LONG.strftime("%H%M"))
    frame = load_bars(read_of(tmp_path, csv(times, index=False), columns=ColumnsConfig(date="Tag", time="Zeit"))).frame
    np.testing.assert_array_equal(frame.index, LONG)
    coded = pd.concat([prices.assign(Code=code) for code in ("600519", "000001")]).rename_axis("date")
    config = read_of(tmp_path, csv(coded), columns=ColumnsConfig(symbol="Code"), symbol="000001")
    assert load_bars(config).symbol == "000001"


@pytest.mark.parametrize("symbol", ["A", "B"])
def test_how_one_instrument_is_written_is_told_by_all_of_them(tmp_path: Path, symbol: str) -> None:
    firsts = pd.date_range("2010-01-01", periods=30, freq="MS")
    days = {"A": firsts, "B": pd.bdate_range("2010-01-04", periods=30)}
    price = {"A": "1,101", "B": "1,5"}
    lines = [f"{day:%d/%m/%Y};{name}{f';{price[name]}' * 4};7" for name in days for day in days[name]]
    content = text(["date;symbol;open;high;low;close;volume", *lines])
    frame = load_bars(read_of(tmp_path, content, symbol=symbol)).frame
    np.testing.assert_array_equal(frame.index, days[symbol])
    assert frame["close"].iloc[0] == {"A": 1.101, "B": 1.5}[symbol]
    with pytest.raises(DataError, match="day and month cannot be told apart"):
        load_bars(read_of(tmp_path, text(["date;symbol;open;high;low;close;volume", *lines[:30]])))


def test_a_file_that_goes_from_milliseconds_to_microseconds_is_read(tmp_path: Path) -> None:
    stamps = MILLIS.where(np.arange(len(MILLIS)) < 200, MILLIS * 1000)
    frame = load_bars(read_of(tmp_path, csv(HOURLY.set_axis(stamps).rename_axis("timestamp")))).frame
    np.testing.assert_array_equal(frame.index.tz_localize(None), HOURLY.index)


def test_epochs_that_could_be_dates_with_hours_are_epochs(tmp_path: Path) -> None:
    lines = [f"{1024185600 + 3600 * hour},8,9,7,8,10" for hour in range(12)]  # 10/24/1856, and every 36 years on
    (tmp_path / "a.csv").write_text("\n".join(["date,open,high,low,close,volume", *lines]))
    index = load_bars(DataConfig(name="csv", source="csv", path=str(tmp_path / "a.csv"))).frame.index
    assert [str(index[0]), str(index[-1])] == ["2002-06-16 00:00:00+00:00", "2002-06-16 11:00:00+00:00"]


def test_epochs_before_1973_are_read(tmp_path: Path) -> None:
    index = pd.date_range("1968-01-01", periods=4000, freq="D")
    content = csv(walk(index).set_axis(index.as_unit("ms").astype("int64")).rename_axis("t"))
    assert load_bars(read_of(tmp_path, content)).frame.index[0] == pd.Timestamp("1968-01-01", tz="UTC")


SIX_DAYS = pd.date_range("2022-12-19", "2023-03-01", freq="D")
SIX_DAYS = SIX_DAYS[SIX_DAYS.dayofweek != 5]
FX_HOURS = pd.date_range("2024-01-07 22:00", "2024-03-01 21:00", freq="h")
FX_HOURS = FX_HOURS[(FX_HOURS + pd.Timedelta(hours=2)).dayofweek < 5]


@pytest.mark.parametrize(
    ("index", "frequency"),
    [
        (pd.date_range("2024-05-14 10:07", periods=3000, freq="min"), ("1-minute bars", None)),
        (pd.date_range("2024-05-13", periods=5 * 24, freq="h"), ("60-minute bars", None)),
        (pd.bdate_range("2024-05-13", periods=5), ("daily", None)),
        (pd.date_range("2024-05-10 10:07", periods=4000, freq="min"), ("1-minute bars, 1440 a day (all days)", 525_600.0)),
        (pd.date_range("2024-05-14 10:00", periods=500, freq="30min"), ("30-minute bars, 48 a day (all days)", 17_520.0)),
        (SIX_DAYS, ("daily (6 days a week)", 6 * 365 / 7)),
        (FX_HOURS, ("60-minute bars, 24 a day (6 days a week)", 120 * 365 / 7)),
        (pd.bdate_range("2023-12-18", "2024-01-02").drop(pd.Timestamp("2023-12-25")), ("daily (business days)", 252.0)),
        (SESSION.index[:156], ("5-minute bars", None)),  # two sessions: one night tells nothing
    ],
)  # fmt: skip
def test_bars_a_year_come_of_whole_weeks_or_cannot_be_told(
    index: pd.DatetimeIndex, frequency: tuple[str, float | None]
) -> None:
    found = describe_frequency(index)
    assert (found.name, found.periods) == frequency
    assert ("cannot be told: give evaluation.periods_per_year" in found.reason) == (found.periods is None)


@pytest.mark.parametrize(
    "column", ["Adj Close*", "closeadj", "5. adjusted close", "Adj. Close", "adjClose", "CLOSE_ADJUSTED"]
)
def test_an_adjusted_close_is_used_under_its_usual_names(tmp_path: Path, column: str) -> None:
    config = read_of(tmp_path, csv(DAILY.assign(**{column: HALF}).rename_axis("date")))
    assert load_bars(config).frame["close"].iloc[0] == FIRST / 2


@pytest.mark.parametrize("column", ["adj_factor", "Adj Open", "my adjusted price"])
def test_a_column_that_looks_adjusted_and_is_not_used_is_named(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, column: str
) -> None:
    content = csv(DAILY.assign(**{column: HALF}, unadjusted=1.0).rename_axis("date"))
    found = said(caplog, read_of(tmp_path, content))
    assert f"columns that look adjusted and are not used: {column!r}; if one is" in found


def test_columns_are_named_by_hand(tmp_path: Path) -> None:
    odd = DAILY.rename(columns={"close": "Last", "volume": "Shares"}).rename_axis("Day")
    columns = ColumnsConfig(date="Day", close="Last", volume="Shares")
    frame = load_bars(read_of(tmp_path, csv(odd), columns=columns)).frame
    np.testing.assert_array_equal(frame, DAILY)
    beside = load_bars(read_of(tmp_path, csv(odd.assign(close=1.0, volume=2.0)), columns=columns)).frame
    np.testing.assert_array_equal(beside, DAILY)  # what only has the name of a role has none
    with pytest.raises(
        ConfigError, match=r"data\.columns\.close=Lst: .*bars\.csv has no such column; it has Day, .*'Last'"
    ):
        load_bars(read_of(tmp_path, csv(odd), columns=ColumnsConfig(date="Day", close="Lst")))
    bare = csv(DAILY[["close", "high", "low", "open", "volume"]], header=False)
    with pytest.raises(
        DataError, match=r"has no header, and its 6 columns are of no layout known.*data\.columns=\{date: 1"
    ):
        load_bars(read_of(tmp_path, bare))
    numbered = ColumnsConfig(date="1", close="2", high="3", low="4", open="5", volume="6")
    np.testing.assert_array_equal(load_bars(read_of(tmp_path, bare, columns=numbered)).frame, DAILY)
    raw = csv(DAILY.assign(adj_close=HALF).rename_axis("date"))
    assert load_bars(read_of(tmp_path, raw, columns=ColumnsConfig(adj_close="close"))).frame["close"].iloc[0] == FIRST


def test_volume_is_needed_only_by_features_that_read_it(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    without = csv(DAILY.drop(columns="volume").rename_axis("date"))
    data = prepare_data(read_of(tmp_path, without, features=NO_VOLUME))
    assert data.bars is not None and data.bars.columns.tolist() == ["open", "high", "low", "close"]
    with pytest.raises(DataError, match=r"no column 'volume'.*The feature volume_z_20 reads it"):
        prepare_data(read_of(tmp_path, without))
    dashes = csv(DAILY.assign(volume="-").rename_axis("date"))
    assert "the volume is not used" in said(caplog, read_of(tmp_path, dashes, features=NO_VOLUME))
    with pytest.raises(DataError, match=r"line 2: volume is missing"):
        prepare_data(read_of(tmp_path, dashes))


def test_a_column_that_is_there_twice_matters_only_if_it_is_used(tmp_path: Path) -> None:
    frame = DAILY.rename_axis("date").assign(x=1.5, y=2.5).rename(columns={"y": "x"})
    prepare_data(read_of(tmp_path, csv(frame)))
    with pytest.raises(DataError, match=r"bars\.csv has the column 'x' twice"):
        prepare_data(read_of(tmp_path, csv(frame), features=["x", "ret_1"]))
    frame = DAILY.rename_axis("date").assign(Volume=1.0)
    prepare_data(read_of(tmp_path, csv(frame), features=NO_VOLUME))
    with pytest.raises(DataError, match=r"'volume' twice, as volume and Volume"):
        prepare_data(read_of(tmp_path, csv(frame)))


def test_a_header_of_thousands_of_tickers_is_read(tmp_path: Path) -> None:
    one = titled(DAILY[:60])
    many = pd.concat({f"TICKER{i:04d}": one for i in range(1500)}, axis="columns", names=["Ticker", "Price"])
    config = read_of(tmp_path, csv(many), symbol="TICKER1499", features=["ret_1"])
    np.testing.assert_array_equal(load_bars(config).frame["close"], DAILY["close"][:60])


def test_a_separator_behind_the_last_column_is_no_column(tmp_path: Path) -> None:
    lines = csv(DAILY.rename_axis("date")).decode().splitlines()
    for ended in (
        [lines[0] + ",", *lines[1:]],
        [lines[0], *(line + "," for line in lines[1:])],
        [line + "," for line in lines],
    ):
        np.testing.assert_array_equal(load_bars(read_of(tmp_path, text(ended))).frame, DAILY)


def test_a_table_is_read_by_the_same_code(tmp_path: Path) -> None:
    close = np.log(DAILY["close"])
    table = pd.DataFrame({"Datum": DAILY.index.strftime("%d.%m.%Y"), "a": close % 0.1, "y": close.shift(-1) - close})[
        ::-1
    ]
    content = csv(table, index=False, sep=";", decimal=",")
    keys = {"source": "table", "features": ["a"], "target": "y", "columns": ColumnsConfig(date="Datum")}
    data = prepare_data(read_of(tmp_path, content, **keys))
    assert data.index[0] == DAILY.index[0] and data.raw[0, 0] == pytest.approx(close.iloc[0] % 0.1, rel=1e-12)
    with pytest.raises(ConfigError, match=r"data\.columns\.close is not read with data=table"):
        prepare_data(read_of(tmp_path, content, **keys | {"columns": ColumnsConfig(close="a")}))


def replaced(line: int, old: str, new: str) -> bytes:
    lines = csv(DAILY.rename_axis("date")).decode().splitlines()
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    return text(lines)


LINES = csv(DAILY.rename_axis("date")).decode().splitlines()
MONTHS = pd.date_range("2000-01-01", periods=120, freq="MS")
EARLY = pd.date_range("2024-01-02", periods=9)
GERMAN = [f"{d:%Y-%m-%d};1,101;1,102;1,100;1,101;7" for d in DAILY.index]
BAD = {
    "a time without a date": ("a.csv", csv(HOURLY.set_axis(HOURLY.index.strftime("%H:%M")).rename_axis("time")), ["line 2: time is '00:00': it has no date", "2013-03-01"]),
    "a session's times without a date": ("a.csv", (FILES / "time_without_date.csv").read_bytes(), ["line 2: time is '09:30': it has no date"]),
    "an hour without a date": ("a.csv", csv(HOURLY.set_axis(HOURLY.index.strftime("%I %p")).rename_axis("time")), ["line 2: time is '12 AM'"]),
    "a month without a day": ("a.csv", dated("%Y-%m", MONTHS), ["line 2: date is '2000-01'", "2013-03-01"]),
    "a month's name without a year": ("a.csv", dated("%b %d"), ["line 2: date is 'Jan 03'"]),
    "a year alone": ("a.csv", dated("%Y", pd.date_range("1900", periods=99, freq="YS")), ["line 2: date is '1900'"]),
    "now": ("a.csv", replaced(5, LINES[4][:10], "now"), ["line 5: date is 'now'"]),
    "yesterday": ("a.csv", replaced(5, LINES[4][:10], "yesterday"), ["line 5: date is 'yesterday'"]),
    "no such day": ("a.csv", replaced(5, LINES[4][:10], "2022-02-30"), ["line 5: date is '2022-02-30'"]),
    "no such hour": ("a.csv", replaced(5, LINES[4][:10], LINES[4][:10] + " 25:00"), ["line 5: date is '2022-01-06 25:00'"]),
    "a month of another language": ("a.csv", dated("%d. Mrz %Y"), ["line 2: date is '03. Mrz 2022'"]),
    "a zone of several meanings": ("a.csv", dated("%Y-%m-%d 09:30 CST"), ["line 2", "'CST' has no one meaning", "-05:00"]),
    "a zone in one row alone": ("a.csv", replaced(9, LINES[8][:10], LINES[8][:10] + " 00:00+01:00"), ["line 9", "zone +01:00", "has none"]),
    "day or month first": ("a.csv", dated("%d/%m/%Y", MONTHS), ["line 3: date is '01/02/2000'", "2000-01-02 00:00:00 (month first)", "2000-02-01 00:00:00 (day first)"]),
    "day, month or year first": ("a.csv", dated("%y-%m-%d", EARLY), ["date is '24-01-02'", "(", ") or "]),
    "an epoch or a date": ("a.csv", dated("%Y%m%d0930", EARLY), ["line 2: date is '202401020930'", "1976-05-31", "an epoch"]),
    "HHMM or HHMMSS": ("a.csv", csv(HOURLY[:20].assign(date="20240102", time=[930 + i for i in range(20)]), index=False), ["two readings fit", "00:09:30", "09:30:00"]),
    "digits that are no date": ("a.csv", csv(DAILY.set_axis(range(44_564, 44_684)).rename_axis("date")), ["line 2: date is '44564'"]),
    "thousands or a decimal comma": ("a.csv", text(["date;open;high;low;close;volume", *GERMAN]), ["line 2: open is '1,101', which is 1101 with a decimal point and 1.101 with a decimal comma"]),
    "thousands or a decimal point": ("a.csv", text(["date;open;high;low;close;volume", *GERMAN]).replace(b",", b"."), ["line 2: open is '1.101', which is 1.101", "1101 with a decimal comma"]),
    "two decimal marks": ("a.csv", replaced(3, LINES[2].split(",")[1], '"1.234.56,7"'), ["line 3: open is '1.234.56,7'", "101.25"]),
    "a word for a price": ("a.csv", replaced(3, LINES[2].split(",")[1], "halted"), ["line 3: open is 'halted'"]),
    "a price of 0": ("a.csv", replaced(3, LINES[2].split(",")[1], "0"), ["line 3: open is 0; expected a price above 0"]),
    "an infinite price": ("a.csv", replaced(3, LINES[2].split(",")[1], "inf"), ["line 3: open is"]),
    "a line cut short": ("a.csv", text([*LINES[:-1], LINES[-1][:14]]), [f"line {len(LINES)}: 2 cells in a file of 6 columns"]),
    "a line too long": ("a.csv", replaced(7, ",", ",,"), ["line 7: 7 cells in a file of 6 columns"]),
    "a footer": ("a.csv", text([*LINES, "* adjusted for splits"]), [f"line {len(LINES) + 1}: 1 cells"]),
    "a quote that is not closed": ("a.csv", replaced(7, ",", ',"'), ["a.csv, line"]),
    "a duplicate in a file with the newest first": ("a.csv", text([LINES[0], *LINES[:0:-1], LINES[1]]), [f"line {len(LINES) + 1}: the timestamp 2022-01-03 00:00:00 is a duplicate of line {len(LINES)}"]),
    "two rows exchanged": ("a.csv", text([*LINES[:5], LINES[6], LINES[5], *LINES[7:]]), ["line 7", "is earlier than", "sort"]),
    "two rows exchanged, newest first": ("a.csv", text([LINES[0], *LINES[:6:-1], LINES[5], LINES[6], *LINES[4:0:-1]]), ["is later than", "newest first", "sort"]),
    "two closes": ("a.csv", csv(DAILY.assign(CLOSE=1.0).rename_axis("date")), ["'close' twice, as close and CLOSE", "data.columns={close: close}"]),
    "two adjusted closes": ("a.csv", csv(DAILY.assign(adj_close=1.0, Adjusted=1.0).rename_axis("date")), ["'adj_close' twice"]),
    "a misspelt column": ("a.csv", csv(DAILY.rename(columns={"close": "Clsoe"}).rename_axis("date")), ["no column 'close'", "Did you mean 'Clsoe'?", "data.columns={close: NAME}"]),
    "no prices at all": ("a.csv", csv(DAILY[["volume"]].assign(x=1).rename_axis("date")), ["no column 'open'", "it has date, volume, x"]),
    "no date at all": ("a.csv", csv(DAILY, index=False), ["no time column", "data.columns={date: NAME}"]),
    "an index that counts, without a date": ("a.csv", csv(DAILY.reset_index(drop=True)), ["line 2", "is '0'"]),
    "two columns of dates": ("a.csv", csv(DAILY.assign(timestamp=1).rename_axis("date")), ["time columns date and timestamp"]),
    "without a header, of no layout": ("a.csv", csv(DAILY, header=False), ["has no header", "data.columns={date: 1, open: 2"]),
    "without a header, close and open exchanged": ("a.csv", csv(ccxt()[[0, 4, 2, 3, 1, 5]], header=False, index=False), ["has no header"]),
    "without a header, bars of no market": ("a.csv", csv(ccxt()[[0, 1, 3, 2, 4, 5]], header=False, index=False), ["has no header"]),
    "one column": ("a.csv", text(["date", *map(str, DAILY.index)]), ["only column is 'date'"]),
    "prose": ("a.txt", b"Dear all,\nplease find the bars attached.\n", ["a.txt"]),
    "HTML": ("a.csv", b"<!DOCTYPE html>\n<html><body>429 Too Many Requests</body></html>\n", ["a.csv is not a CSV"]),
    "an empty file": ("a.csv", b"", ["a.csv is empty"]),
    "a header alone": ("a.csv", text(LINES[:1]), ["a.csv is empty: a header and no rows"]),
    "binary": ("a.csv", bytes(range(256)), ["holds binary data"]),
    "Latin letters": ("a.csv", "Datum,Eröffnung\n2022-01-03,1\n".encode("latin-1"), ["UTF-8"]),
    "Latin letters further below": ("a.csv", text(LINES * 30)[: 1 << 17] + b"\xe9,1,1,1,1,1\n", ["not UTF-8"]),
    "no gzip": ("a.csv.gz", b"date,open", ["is not a gzip file"]),
    "a gzip cut short": ("a.csv.gz", gzip.compress(text(LINES))[:-20], ["is not a gzip file"]),
    "no zip": ("a.zip", b"PK nothing", ["is not a zip file"]),
    "an empty zip": ("a.zip", zipped(b"", "folder/"), ["holds nothing"]),
    "no Parquet": ("a.parquet", text(LINES), ["cannot be read as Parquet"]),
    "no Feather": ("a.feather", text(LINES), ["cannot be read as Feather"]),
    "no JSON": ("a.json", text(LINES), ["cannot be read as JSON"]),
    "JSON without a table": ("a.json", b'{"error": "invalid API key"}', ["holds no list of bars"]),
    "JSON with several tables": ("a.json", b'{"a": [{"t": 1}], "b": [{"t": 2}]}', ["holds 2 tables"]),
    "an Excel file": ("a.xlsx", b"PK", ["ends in .csv"]),
    "a date missing in Parquet": ("a.parquet", saved(DAILY.rename_axis("date").reset_index().assign(date=lambda f: f["date"].where(f.index != 4)), "parquet"), ["row 5: date is 'NaT'"]),
}  # fmt: skip
"""Name of the file, content, and what the one message names."""


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_ends_in_one_message_that_names_it(name: str, tmp_path: Path) -> None:
    file, content, words = BAD[name]
    with pytest.raises((DataError, ConfigError)) as caught:
        prepare_data(read_of(tmp_path, content, file))
    for word in [file, *words]:
        assert word in str(caught.value)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bars.csv")
    with pytest.raises(DataError, match=r"bars\.csv is not a regular file but a pipe or a device"):
        load_bars(DataConfig(source="csv", path=str(tmp_path / "bars.csv")))
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(DataError, match=r"loop\.csv cannot be read"):
        load_bars(DataConfig(source="csv", path=str(tmp_path / "loop.csv")))
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    with pytest.raises(DataError, match=r"two\.zip holds a\.csv, b\.csv; expected one file"):
        load_bars(DataConfig(source="csv", path=str(tmp_path / "two.zip")))
