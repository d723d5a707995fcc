"""Bars written in any layout are read with the same values, or refused with the two readings that fit."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.errors import ConfigError, DataError

EXAMPLES = 2000 if os.environ.get("CI") else 100
DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d/%m/%y", "%m/%d/%y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%d %B %Y", "%Y-%b-%d", "%d%b%Y", "%a, %d %b %Y"),
)
CLOCKS = ("%H:%M", "%H:%M:%S", "%I:%M:%S %p", "%H%M%S", "%H%M", "%H:%M:%S.000")
WHOLE = ("%Y-%m-%dT%H:%M:%S", "%Y%m%d%H%M", "%Y%m%d%H", "%Y%m%d%H%M%S", "%Y%m%d  %H:%M:%S", "%Y-%m-%d %I-%p")
EPOCHS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
ZONES = (None, None, "UTC", "+05:30", "-05:00", "America/New_York", "Europe/Berlin")
HEADERS = {
    "date": ("date", "Date", "TIMESTAMP", "Datetime", "time", "<DATE>", "", "Gmt time"),
    "open": ("open", "Open", "OPEN", "<OPEN>", "1. open", "o", "Open Price"),
    "high": ("high", "High", "HIGH", "<HIGH>", "2. high", "h"),
    "low": ("low", "Low", "LOW", "<LOW>", "3. low", "l"),
    "close": ("close", "Close", "Close/Last", "<CLOSE>", "4. close", "c", "Price"),
    "adj_close": ("adj_close", "Adj Close", "Adjusted", "adjusted_close", "AdjClose"),
    "volume": ("volume", "Volume", "Vol.", "<VOL>", "v", "Volume BTC"),
}
APART = ("day and month cannot be told apart", "two readings fit", "with a decimal point and")


@st.composite
def bars(draw: st.DrawFn) -> pd.DataFrame:
    """Bars, prices as text with the digits that are written, indexed by time on the wall or in a zone."""
    count = draw(st.integers(12, 60))
    step = draw(st.sampled_from(["D", "B", "h", "5min", "W-FRI"]))
    start = draw(st.datetimes(pd.Timestamp("1975-01-01").to_pydatetime(), pd.Timestamp("2023-01-01").to_pydatetime()))
    zone = draw(st.sampled_from(ZONES))
    index = pd.date_range(pd.Timestamp(start).floor("h" if step in ("h", "5min") else "D"), periods=count, freq=step)
    if zone is not None and step in ("h", "5min"):
        index = index.tz_localize("UTC").tz_convert(zone)
    elif zone is not None:
        index = index.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    digits = draw(st.sampled_from([0, 2, 3, 4, 5]))
    first = draw(st.sampled_from([1.1, 47.0, 812.0, 15_900.0, 60_000.0] if digits else [812.0, 15_900.0]))
    close = first * np.exp(np.cumsum(0.01 * (rng.standard_normal(count) + draw(st.sampled_from([0.0, 1.0])))))
    opened = close * np.exp(0.003 * rng.standard_normal(count))
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
    frame = pd.DataFrame({"open": opened, "high": high, "low": low, "close": close}, index=index)
    if draw(st.booleans()):
        frame["adj_close"] = close / 2
    text = frame.map(lambda value: f"{value:.{digits}f}")
    volume = rng.integers(1, draw(st.sampled_from([3_000, 10**7])), count)
    return text.assign(volume=(np.sort(volume) if draw(st.booleans()) else volume).astype(str))


def number(text: str, mark: str, grouped: bool) -> str:
    whole, _, rest = text.partition(".")
    if grouped:
        whole = f"{int(whole):,}".replace(",", "." if mark == "," else ",")
    return whole + (mark + rest if rest else "")


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes, pd.DataFrame, str]:
    """A file's name and content, what it has to give, and the name of its column of dates."""
    frame = draw(bars())
    index = pd.DatetimeIndex(frame.index)
    separator, mark = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(".,"))
    # 1.101 between commas is read with a decimal point.
    grouped = draw(st.booleans()) and (separator != "," or mark == "." or "." in frame["close"].iloc[0])
    names = {role: draw(st.sampled_from(HEADERS[role])) for role in ["date", *frame]}
    if draw(st.booleans()):  # mostly one style
        names = {role: HEADERS[role][1] for role in names}
    cells = {names[role]: [number(cell, mark, grouped) for cell in frame[role]] for role in frame}
    intraday = bool((index != index.normalize()).any())
    kinds = ["text", "epoch", "whole"] if intraday else ["text", "epoch", "date"]
    kind = draw(st.sampled_from(kinds))
    expected = index
    columns: dict[str, list[str]] = {}
    offsets = [f"{m:%z}"[:3] + ":" + f"{m:%z}"[3:] if index.tz is not None else "" for m in index]
    if kind == "epoch":
        instants = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
        unit = draw(st.sampled_from(list(EPOCHS)))
        columns[names["date"]] = [str(value // EPOCHS[unit]) for value in instants.as_unit("ns").asi8]
        expected = instants
    else:
        date = draw(st.sampled_from(DATES))
        form = {"text": f"{date} {draw(st.sampled_from(CLOCKS))}", "date": date, "whole": draw(st.sampled_from(WHOLE))}[
            kind
        ]
        if "%M" not in form and intraday and form.count("%H") + form.count("%I") and index.minute.any():
            form = "%Y-%m-%dT%H:%M:%S"
        spoken = [moment.strftime(form) for moment in index]
        padless = draw(st.booleans()) and not form.startswith("%Y") and "/" in form
        if padless:
            spoken = [re.sub(r"\b0(?=\d/)", "", cell) for cell in spoken]
        digits = form in WHOLE and form.replace("%", "").isalpha()
        apart = kind == "text" and " " not in date and index.tz is None and draw(st.booleans())
        if apart:
            names["date"] = draw(st.sampled_from(["Date", "<DATE>", "date"]))
            columns[names["date"]] = [cell.partition(" ")[0] for cell in spoken]
            columns[{"Date": "Time", "<DATE>": "<TIME>", "date": "time"}[names["date"]]] = [
                cell.partition(" ")[2] for cell in spoken
            ]
        elif digits or (kind == "date" and index.tz is not None):
            columns[names["date"]] = spoken
            expected = index.tz_localize(None)
        else:
            columns[names["date"]] = [a + b for a, b in zip(spoken, offsets, strict=True)]
    columns |= cells
    if expected.tz is None and "Gmt" in names["date"]:
        expected = expected.tz_localize("UTC")
    order = draw(st.permutations(list(columns))) if names["date"] else list(columns)
    rows = [[columns[name][row] for name in order] for row in range(len(frame))]
    if draw(st.booleans()):
        rows.reverse()
    header = list(order)
    if draw(st.booleans()):
        header, rows = [*header, "Plot", "Plot"], [[*row, "1", "n/a"] for row in rows]
    if draw(st.booleans()):  # the form of the file is told by what comes before so long a cell
        header, rows = [*header, "Note"], [[*row, "" if place else 70_000 * "x"] for place, row in enumerate(rows)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerows([header, *rows])
    content = buffer.getvalue().encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    values = frame.astype(float).set_axis(expected, axis="index")
    packed = draw(st.sampled_from(["", ".gz", ".zip"]))
    if packed == ".gz":
        content = gzip.compress(content)
    elif packed == ".zip":
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as inside:
            inside.writestr("bars.csv", content)
        content = archive.getvalue()
    return f"bars.csv{packed}", content, values, " and ".join(name for name in columns if name not in cells) or "''"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random")


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(file=files())
def test_bars_in_any_layout_are_read_or_refused_with_two_readings(
    folder: Path, file: tuple[str, bytes, pd.DataFrame, str]
) -> None:
    name, content, values, _ = file
    (folder / name).write_bytes(content)
    try:
        read = load_bars(DataConfig(name="csv", source="csv", path=str(folder / name), features=["ret_1"])).frame
    except DataError as error:
        said = str(error)
        assert any(words in said for words in APART), said
        assert name in said and "line" in said and " or " in said.replace(" and ", " or ")
        event("refused with both readings")
        return
    index, expected = pd.DatetimeIndex(read.index), pd.DatetimeIndex(values.index)
    assert (index.tz is None) == (expected.tz is None)
    instants = expected if expected.tz is None else expected.tz_convert("UTC")
    np.testing.assert_array_equal(index if index.tz is None else index.tz_convert("UTC"), instants)
    factor = values["adj_close"] / values["close"] if "adj_close" in values else 1.0
    for column in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(read[column], values[column] * factor)
    if "volume" in read or (values["close"] % 1).any():  # 1,101 has two readings where no price has decimals
        np.testing.assert_array_equal(read["volume"], values["volume"])
    event("read")


@settings(max_examples=EXAMPLES // 4, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    file=files(),
    damage=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(min_size=1, max_size=3)), min_size=1, max_size=4
    ),
)
def test_a_damaged_file_is_read_or_refused_by_its_name(
    folder: Path, file: tuple[str, bytes, pd.DataFrame, str], damage: list[tuple[float, int, bytes]]
) -> None:
    name, content, _, _ = file
    for share, cut, put in damage:
        place = int(share * len(content))
        content = content[:place] + put + content[place + cut :]
    (folder / name).write_bytes(content)
    try:
        load_bars(DataConfig(name="csv", source="csv", path=str(folder / name), features=["ret_1"]))
        said = name
    except (DataError, ConfigError) as error:
        said = str(error)
    assert name in said
