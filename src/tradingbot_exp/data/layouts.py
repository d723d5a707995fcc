"""The layouts in which tools write bars: what their headers are called, and what columns without a header are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from tradingbot_exp.data.cells import Cells
from tradingbot_exp.data.columns import PRICES, plain, role_of
from tradingbot_exp.errors import DataError


class Headerless(NamedTuple):
    """A layout without a header: the roles of its columns in order, and the form of the cells in front."""

    name: str
    roles: tuple[str, ...]
    front: tuple[str, ...]


_SECONDS, _MILLIS, _TICKS = r"-?\d{9,10}", r"-?\d{12,13}", r"\d{13}|\d{16}"
_OHLCV = (*PRICES, "volume")
HEADERLESS = (
    Headerless("Binance's klines", ("date", *_OHLCV, "", "", "", "", "", ""), (_TICKS,)),
    Headerless("Kraken's OHLCVT", ("date", *_OHLCV, ""), (_SECONDS,)),
    Headerless("Kraken's OHLC", ("date", *PRICES, "", "volume", ""), (_SECONDS,)),
    Headerless("MetaTrader 4's bars", ("date", "time", *_OHLCV), (r"\d{4}\.\d\d\.\d\d", r"\d\d:\d\d")),
    Headerless("HistData.com's bars", ("date", *_OHLCV), (r"\d{8} \d{6}",)),
    Headerless("ccxt's or freqtrade's candles", ("date", *_OHLCV), (_TICKS + "|" + _MILLIS,)),
    Headerless("Bitfinex's candles", ("date", "open", "close", "high", "low", "volume"), (_MILLIS,)),
    Headerless("Coinbase's candles", ("date", "low", "high", "open", "close", "volume"), (_SECONDS,)),
)

# What a header tells of the tool that wrote it: names, reduced to letters and digits, that are all in it.
SIGNATURES = (
    ("CryptoDataDownload's layout", {"unix", "symbol"}),
    ("Binance's klines", {"opentime", "closetime"}),
    ("Dukascopy's layout", {"gmttime"}),
    ("Dukascopy's layout", {"localtime"}),
    ("MetaTrader 5's layout", {"date", "open", "tickvol", "spread"}),
    ("Stooq's layout", {"ticker", "per", "openint"}),
    ("Investing.com's layout", {"price", "vol", "change%"}),
    ("Nasdaq.com's layout", {"closelast"}),
    ("Polygon's layout", {"t", "o", "h", "l", "c", "v"}),
    ("Polygon's flat files", {"windowstart", "transactions"}),
)
# Several instruments, or one, in the names of columns: R's AAPL.Open, and a pair that became text.
_JOINED = (
    re.compile(r"(?P<symbol>.+)\.(?P<role>Open|High|Low|Close|Volume|Adjusted)"),
    re.compile(r"\('(?P<role>[^']+)', '(?P<symbol>[^']*)'\)"),
    re.compile(r"(?P<role>Adj Close|Open|High|Low|Close|Volume)_(?P<symbol>[A-Z0-9.=^-]+)"),
)


def without_header(cells: Cells) -> Cells:
    """Say what the columns of a file without a header are; they are called by their number, from 1 on."""
    count = cells.frame.shape[1]
    frame = cells.frame.set_axis([str(number) for number in range(1, count + 1)], axis="columns")
    cells = replace(cells, frame=frame)
    found = [layout for layout in HEADERLESS if _fits(frame, layout)]
    if len(found) == 1:
        roles = {role: str(number) for number, role in enumerate(found[0].roles, 1) if role}
        name = f"{found[0].name}, without a header"
        return replace(cells, layout=name, roles=roles, hint=_BY_NUMBER)
    reason = f"could be {' or '.join(layout.name for layout in found)}" if found else "are of no layout known here"
    return replace(
        cells, hint=f" The file has no header, and its {count} columns {reason}: name them by their number.{_BY_NUMBER}"
    )


_BY_NUMBER = " For example data.columns={date: 1, open: 2, high: 3, low: 4, close: 5, volume: 6}."


def counts_up(row: list[str]) -> bool:
    """Tell whether a header is the one that pandas gives to columns without names: 0, 1, 2, …."""
    return len(row) > 2 and row[row[0] == "" :] == [str(number) for number in range(len(row) - (row[0] == ""))]


def _fits(frame: pd.DataFrame, layout: Headerless) -> bool:
    """Tell whether columns have the layout's form, and are bars: no price is above the high or below the low."""
    if frame.shape[1] != len(layout.roles):
        return False
    head = frame.iloc[:1000]
    if len(head) and str(head.iat[0, 0]) > str(head.iat[-1, 0]):  # the newest first
        head = head[::-1]
    for position, form in enumerate(layout.front):
        cells = head.iloc[:, position].astype(str).str.replace(r"\.0+$", "", regex=True)
        if not cells.str.fullmatch(form).all():
            return False
    bars = {role: pd.to_numeric(head.iloc[:, layout.roles.index(role)], errors="coerce") for role in PRICES}
    opened, close = bars["open"], bars["close"]
    inside = [((bars["high"] >= each) & (bars["low"] <= each)).mean() for each in (opened, close)]
    # An open is near the close before it, and a close is further from the open before: else they are exchanged.
    follows = (opened - close.shift()).abs().median() <= (close - opened.shift()).abs().median()
    return bool(min(inside) > 0.9 and (follows or len(head) < 3))  # a faulty bar is refused by its line, later


def one_row_a_symbol(header: Sequence[Sequence[str]], frame: pd.DataFrame, cells: Cells) -> Cells:
    """Make a table of a frame and the rows of its header; instruments side by side become one below the other.

    Parameters
    ----------
    header : sequence of sequence of str
        One row of names; or several, as yfinance writes them: the price, the ticker, and the name of the index.
    frame : pandas.DataFrame
        Its index counts lines or rows.
    cells : Cells
        Everything but the frame.
    """
    names, symbols, layout = _levels(header, cells.label)
    if symbols is None:
        return replace(cells, frame=frame.set_axis(names, axis="columns"), layout=_signature(names))
    shared = [place for place, symbol in enumerate(symbols) if not symbol]
    parts = []
    for symbol in dict.fromkeys(filter(None, symbols)):
        own = [place for place, each in enumerate(symbols) if each == symbol]
        part = frame.iloc[:, shared + own].set_axis([names[place] for place in shared + own], axis="columns")
        if len(set(symbols)) > 2:  # more than "" and one
            values = part.iloc[:, len(shared) :]
            part = part[~(values.isna() | (values == "")).all(axis="columns")]  # dates of the other instruments
        parts.append(part.assign(symbol=symbol))
    return replace(cells, frame=pd.concat(parts), layout=layout)


def _levels(header: Sequence[Sequence[str]], label: str) -> tuple[list[str], list[str] | None, str]:
    """Tell names of columns and instruments apart: of the rows of a header, or within the names of one row."""
    rows = [list(row) for row in header if any(cell for cell in row)]
    index = next((row for row in rows if len(rows) > 1 and role_of(row[0]) == "date" and not any(row[1:])), None)
    others = [row for row in rows if row is not index]
    if len(others) == 1 and index is None:
        return _joined(others[0])
    known = [sum(role_of(cell) is not None for cell in row) for row in others]
    best = known.index(max(known))
    names, rest = others[best], [row for row in others if row is not others[best]]
    if len(rest) > 1:
        raise DataError(
            f"{label}: the header has {len(others)} rows; expected one, or one of prices and one of tickers."
        )
    dates = [place for place, name in enumerate(names) if role_of(name) == "date"]
    first = index[0] if index is not None else (names[0] if 0 in dates else "date")
    names = [first, *names[1:]]
    symbols = [symbol if place and place not in dates else "" for row in rest for place, symbol in enumerate(row)]
    if not any(symbols):
        return names, None, ""
    kind = "three-line header" if index is not None else "columns by price and ticker"
    return names, symbols, f"yfinance's {kind}"


def _joined(names: list[str]) -> tuple[list[str], list[str] | None, str]:
    for pattern in _JOINED:
        found = [pattern.fullmatch(name) for name in names]
        if sum(each is not None for each in found) >= len(PRICES):
            roles = [name if each is None else each["role"] for name, each in zip(names, found, strict=True)]
            symbols = ["" if each is None else each["symbol"] for each in found]
            return roles, symbols, "columns named by instrument and price"
    return names, None, ""


def _signature(names: Sequence[str]) -> str:
    reduced = {plain(name) for name in names}
    if any(re.match(r"\d+[a-z]?\. ", name) for name in names):
        return "Alpha Vantage's numbered columns"
    return next((name for name, wanted in SIGNATURES if wanted <= reduced), "")
