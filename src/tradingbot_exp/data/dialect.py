"""From text to `Cells`: the encoding, what separates columns, where the table begins, and its header."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tradingbot_exp.data.cells import Cells
from tradingbot_exp.data.columns import OHLCV, plain, role_of
from tradingbot_exp.data.layouts import counts_up, one_row_a_symbol, without_header
from tradingbot_exp.data.numbers import MISSING, as_text
from tradingbot_exp.errors import DataError
from tradingbot_exp.runtime.text import at_most

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SEPARATORS = "\t;|,"
_HEAD = 1 << 14  # bytes that are looked at to tell the form of a file
_PART = 1 << 18  # bytes that fit into a processor's cache
_LINES, _MOST_HEADERS, _MOST_PREAMBLE = 20, 3, 10
# A number as an export may write it, and what a date or a time begins with.
_NUMERIC = re.compile(r"[-+$€£]?\s*\d[\d.,' \u00a0\u202f]*(e[+-]?\d+)?\s*[kmb%$€£]?", re.IGNORECASE)
_DATED = re.compile(r"\d{1,4}[-/.: ]\w{1,3}\b|\d{6,}|[A-Z][a-z]{2,8},? \d")
_PLAIN = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?")  # what is the same as text and as float64
_COMMA = re.compile(r"-?\d+,(\d{1,2}|\d{4,})")  # a decimal comma, and no comma between thousands
_ISO = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?")
_TIME = pa.timestamp("ns")
_NUMBERS = {*OHLCV, "adj_close"}
_THREE = re.compile(r"-?\d{1,3}\.\d{3}")  # a decimal point, or a point between thousands


@dataclass(frozen=True)
class _Form:
    """What the head of a text tells of the rest: `start` is the number of lines before the first row of data."""

    separator: str
    skipped: list[int]
    header: list[list[str]]
    start: int
    sample: list[list[str]]
    share: float

    @property
    def rank(self) -> tuple[int, float]:
        """How well it fits: known names, and the share of rows that have as many cells as most."""
        return sum(role_of(cell) is not None for row in self.header for cell in row), self.share

    @property
    def width(self) -> int:
        return len(self.header[0]) if self.header else len(self.sample[0])


def parse_text(content: bytes, label: str) -> Cells:
    """Read text with separated columns; each row knows its line, counted from 1.

    Raises
    ------
    DataError
        If it is not text in UTF-8 or UTF-16, has one column only, or its rows are not of one length.
    """
    content = _utf8(content, label)
    lines = content[: _end_of_head(content)].splitlines(keepends=True)
    head = [line.decode("utf-8", "replace").rstrip("\r\n") for line in lines]
    form = _form(head, label)
    cells = Cells(pd.DataFrame(), label, "line")
    if form.skipped:
        first = form.skipped[0]
        lines_before = at_most([str(place + 1) for place in form.skipped], 1)
        cells.say(f"line {lines_before} before the table is left out: {head[first].strip()[:60]!r}.")
    numbered = bool(form.header) and counts_up(form.header[0])
    pointed = _has_decimal_points(form, content)
    frame = _table(content, sum(map(len, lines[: form.start])), form, label, pointed)
    cells = replace(cells, marks="." if pointed or (form.separator == "," and not _has_commas(frame)) else ".,")
    if form.header and not numbered:
        return one_row_a_symbol(form.header, frame, cells)
    return without_header(replace(cells, frame=frame.iloc[:, 1:] if numbered and not form.header[0][0] else frame))


def _end_of_head(content: bytes) -> int:
    """Return where the head ends: with the line that `_HEAD` bytes end in, and not before `_LINES` lines."""
    end = 0
    for _ in range(_LINES):
        end = content.find(b"\n", end) + 1 or len(content)
    return max(end, content.find(b"\n", _HEAD) + 1 or len(content)) if len(content) > _HEAD else len(content)


def _utf8(content: bytes, label: str) -> bytes:
    mark, encoding = next(((mark, name) for mark, name in _BOMS if content.startswith(mark)), (b"", ""))
    if not mark and any(content[:200:2]) and not any(content[1:200:2]):
        encoding = "utf-16-le"
    content = content[len(mark) :]
    try:
        if encoding.startswith("utf-16"):
            content = content.decode(encoding).encode()
        codecs.utf_8_decode(content[:_HEAD], "strict", len(content) <= _HEAD)
        if b"\0" not in content:
            return content
    except UnicodeDecodeError:
        pass
    raise DataError(f"{label} is not a CSV: it holds binary data or another encoding; expected text in UTF-8.")


def _form(lines: list[str], label: str) -> _Form:
    told = re.fullmatch(r"sep=(.)", lines[0].strip()) if lines else None  # Excel's
    found = [form for each in (told[1] if told else _SEPARATORS) if (form := _form_with(each, lines, told is not None))]
    if not found:
        only = next((line.strip() for line in lines if line.strip()), "")[:80]
        raise DataError(f"{label} is not a CSV: its only column is {only!r}; expected commas between columns.")
    return max(found, key=lambda form: form.rank)  # the first of several


def _form_with(separator: str, lines: list[str], told: bool) -> _Form | None:
    rows = [[cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])] for line in lines]
    counts = Counter(len(row) for row in rows if any(row))
    width = counts.most_common(1)[0][0] if counts else 1
    # A title has fewer cells, or is one cell, whatever separators a spreadsheet puts behind it.
    full = [len(row) >= width - 1 and sum(map(bool, row)) >= min(width, 3) - 1 for row in rows]
    begin = next((place for place in range(told, len(rows)) if full[place]), len(rows))
    if width < 2 or begin > _MOST_PREAMBLE:
        return None
    header: list[list[str]] = []
    place = begin
    while place < len(rows) and len(header) < _MOST_HEADERS and _is_header(rows[place], first=not header):
        header.append(rows[place])
        place += 1
    sample = [row for row in rows[place:] if any(row)]
    if header and sample and len(header[0]) == width - 1:  # R names no column of row names; a separator ends each row
        ends = all(not row[-1] for row in sample if len(row) == width)
        header = [[*row, ""] if ends else ["", *row] for row in header]
    if header and sample and len(header[0]) == width + 1 and not any(row[-1] for row in header):
        header = [row[:-1] for row in header]
    skipped = [number for number in range(int(told), begin) if lines[number].strip()]
    return _Form(separator, skipped, header, place, sample, counts[width] / counts.total())


def _is_header(row: list[str], first: bool) -> bool:
    """Tell whether a row is one of names. A second one is of tickers, or has nothing but the name of the index."""
    roles = [role_of(cell) for cell in row]
    if roles[:1] == ["symbol"] or (first and (counts_up(row) or "date" in roles or sum(map(bool, roles)) > 1)):
        return True
    if not any(row) or any(map(_NUMERIC.fullmatch, row)) or _DATED.match(row[0]):
        return False
    return first or row[0] == "" or roles[0] in ("date", "close")


def _has_decimal_points(form: _Form, content: bytes) -> bool:
    """Tell whether points are certain to be decimal: a number of the head needs it, or commas can be nothing else."""
    if form.separator == "," and b'"' not in content:
        return True
    cells = [cell for row in form.sample for cell in row]
    needed = any("." in cell and _PLAIN.fullmatch(cell) and not _THREE.fullmatch(cell) for cell in cells)
    return needed and not any(map(_COMMA.fullmatch, cells))


def _has_commas(frame: pd.DataFrame) -> bool:
    """Tell whether a cell has a comma: between commas only a quoted one can be a decimal mark, or between thousands."""
    columns = [column for _, column in frame.items() if not pd.api.types.is_numeric_dtype(column.dtype)]
    return any(pc.any(pc.match_substring(as_text(column), ","), min_count=0).as_py() for column in columns)


def _quick_types(form: _Form, pointed: bool) -> list[pa.DataType]:
    """Return the type that each column can be read as at once, as its text is not needed; text for all others.

    The rows below may have what the head has not. So a point is read as the decimal mark only if that is certain, a
    whole number as one, which refuses a point, and only as what counts or costs: a code or a date may begin with zeros.
    """
    found = []
    for place in range(form.width):
        names = [row[place] for row in form.header if place < len(row)]
        roles = {role_of(name) for name in names}
        named = not roles.isdisjoint(("date", "symbol")) or any("time" in plain(name) for name in names)
        cells = [row[place] for row in form.sample if len(row) > place and row[place] not in MISSING]
        if cells and all(map(_ISO.fullmatch, cells)):
            found.append(_TIME)
        elif not cells or named or not all(map(_PLAIN.fullmatch, cells)):
            found.append(pa.string())
        elif any("." in cell for cell in cells):
            found.append(pa.float64() if pointed else pa.string())
        else:
            found.append((pa.float64() if pointed else pa.int64()) if roles & _NUMBERS else pa.string())
    return found


def _table(content: bytes, offset: int, form: _Form, label: str, pointed: bool) -> pd.DataFrame:
    """Read the rows behind the header; columns are called by their place, the index counts lines."""
    names = [str(place) for place in range(form.width)]
    body = pa.py_buffer(content).slice(offset)
    for kinds in (_quick_types(form, pointed), [pa.string()] * form.width):
        types = dict(zip(names, kinds, strict=True))
        try:
            table = pa.csv.read_csv(
                pa.BufferReader(body),
                pa.csv.ReadOptions(column_names=names),
                pa.csv.ParseOptions(delimiter=form.separator, newlines_in_values=b'"' in content),
                pa.csv.ConvertOptions(column_types=types, null_values=MISSING, strings_can_be_null=False),
            )
        except pa.ArrowInvalid:  # a cell that is no number, or something that is told below
            continue
        numbers = _line_numbers(content, offset, form.start, table.num_rows)
        timeless = any(column.null_count for column in table.columns if column.type == _TIME)
        if numbers is not None and not timeless:
            return _without_blanks(
                table.to_pandas().set_axis(numbers, axis="index").set_axis(range(len(names)), axis=1)
            )
    return _table_row_by_row(content, offset, form, label)


def _line_numbers(content: bytes, offset: int, start: int, rows: int) -> pd.Index[int] | None:
    """Return the line of each row; None where a cell holds a line break."""
    body = np.frombuffer(content, np.uint8, offset=offset)
    # Speed: a third of what bytes.count takes.
    lines = sum(np.count_nonzero(body[at : at + _PART] == ord("\n")) for at in range(0, len(body), _PART))
    if lines + (not content.endswith(b"\n")) == rows:
        return pd.RangeIndex(start + 1, start + rows + 1)
    ends = np.flatnonzero(body == ord("\n"))
    ends = ends if content.endswith(b"\n") else np.append(ends, len(body))
    lengths = np.diff(ends, prepend=-1) - 1
    returns = (lengths == 1) & (body[np.maximum(ends - 1, 0)] == ord("\r"))
    full = np.flatnonzero((lengths > 0) & ~returns)
    return pd.Index(full + start + 1) if len(full) == rows else None


def _without_blanks(frame: pd.DataFrame) -> pd.DataFrame:
    first = frame.iloc[:, 0]
    empty = (first.isna() | (first == "")).to_numpy(copy=True)
    if not empty.any():
        return frame
    some = frame[empty]
    empty[empty] = (some.isna() | (some == "")).all(axis="columns").to_numpy()
    return frame[~empty]


def _table_row_by_row(content: bytes, offset: int, form: _Form, label: str) -> pd.DataFrame:
    """Read what the quick way does not: cells with line breaks, blanks in blank lines; and say what is wrong where."""
    try:
        text = content[offset:].decode("utf-8")
    except UnicodeDecodeError as error:
        line = form.start + content.count(b"\n", offset, offset + error.start) + 1
        raise DataError(f"{label}, line {line}: not UTF-8; expected text in UTF-8.") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=form.separator)
    rows, lines = [], []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            line = form.start + reader.line_num
            if len(row) != form.width and (len(row) < form.width or any(row[form.width :])):
                raise DataError(
                    f"{label}, line {line}: {len(row)} cells in a file of {form.width} columns: not a well-formed CSV."
                )
            rows.append(row[: form.width])
            lines.append(line)
    except csv.Error as error:
        raise DataError(f"{label}, line {form.start + reader.line_num}: not a well-formed CSV ({error}).") from error
    return pd.DataFrame(rows, lines, range(form.width), dtype="str")
