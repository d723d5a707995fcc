"""From a file to `Cells`: bytes, unpacked, by kind to a table, in which nothing is converted yet.

::

    file -> bytes -> unpacked (.gz, .zip) -> text      (dialect.py) -> header and rows -> Cells
                                          -> Parquet, Feather       -> data frame      -> Cells
                                          -> JSON      (json_text.py) -> data frame    -> Cells

What the columns are is said by `columns.py`, what the times are by `timestamps.py`.
"""

from __future__ import annotations

import gzip
import io
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

import pandas as pd
import pyarrow as pa

from tradingbot_exp.data.cells import Cells
from tradingbot_exp.data.dialect import parse_text
from tradingbot_exp.data.json_text import parse_json
from tradingbot_exp.data.layouts import counts_up, one_row_a_symbol, without_header
from tradingbot_exp.errors import DataError, near

_TEXT = (".csv", ".txt", ".tsv", ".dat", ".prn")
_PARQUET, _FEATHER, _JSON = (".parquet", ".pq"), (".feather", ".ftr", ".arrow"), (".json",)
_PACKED = {".gz": "gzip", ".zip": "zip"}
_EXPECTED = "expected a file that ends in .csv, .txt, .tsv, .parquet, .feather or .json, or such a file as .gz or .zip"


@contextmanager
def giving_memory_back() -> Iterator[None]:
    """Let Arrow give back what it took: of a file of 30 MB it would keep 70 MB."""
    try:
        yield
    finally:
        pa.default_memory_pool().release_unused()


def read_cells(given: str, key: str = "data.path") -> Cells:
    """Read the file that `key` names, relative to the current directory.

    Raises
    ------
    DataError
        If there is no such file, or it is not a table with at least one row.
    """
    content = _content(given, key)
    name, content = _unpacked(PurePath(given).name, content, given)
    if not content or content.isspace():
        raise DataError(f"{given} is empty; expected a header and one row for each bar.")
    kind = PurePath(name).suffix.lower()
    kinds = {**dict.fromkeys(_PARQUET, "Parquet"), **dict.fromkeys(_FEATHER, "Feather"), ".json": "JSON"}
    with refusing(given, f" as {kinds.get(kind, 'CSV')}"):
        if kind in _PARQUET:
            return _of_frame(pd.read_parquet(io.BytesIO(content)), given)
        if kind in _FEATHER:
            return _of_frame(pd.read_feather(io.BytesIO(content)), given)
        return _of_frame(parse_json(content, given), given) if kind in _JSON else parse_csv(content, given)


def is_readable(name: str) -> bool:
    """Tell by its name whether a file is of a kind that can be read."""
    return name.lower().endswith((*_TEXT, *_PARQUET, *_FEATHER, *_JSON, *_PACKED))


@contextmanager
def refusing(label: str, kind: str = "") -> Iterator[None]:
    """Name the file where pandas or Arrow raise what nothing before them has refused."""
    try:
        yield
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, OSError, pa.ArrowException) as error:
        raise DataError(f"{label} cannot be read{kind} ({type(error).__name__}: {error}).") from error


def parse_csv(content: bytes, label: str) -> Cells:
    """Read text with separated columns; blank lines are left out.

    Raises
    ------
    DataError
        If it is not text in UTF-8 or UTF-16, has no columns, is ragged, or has no rows.
    """
    return _checked(parse_text(content, label))


def frame_cells(frame: pd.DataFrame, label: str) -> Cells:
    """Take a data frame for a file: its columns, and its index if that has a name or holds times.

    Raises
    ------
    DataError
        If there are no rows.
    """
    with refusing(label):
        return _of_frame(frame, label)


def _content(given: str, key: str) -> bytes:
    """Read a regular file; anything else, such as a pipe, which would be waited for, is refused."""
    path = Path(given).expanduser()
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError(f"{key}={given} is a directory; give one file in it.")
        if not stat.S_ISREG(mode):
            raise DataError(f"{key}={given} is not a regular file but a pipe or a device; give a file.")
        if not is_readable(path.name):
            raise DataError(f"{key}={given}: {_EXPECTED}.")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{key}={given}: there is no file {path.absolute()}.{near(path.name, siblings)}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{key}={given} cannot be read: {error}.") from error


def _unpacked(name: str, content: bytes, label: str) -> tuple[str, bytes]:
    """Unpack what its name says is packed; return the name inside, and the content."""
    suffix = PurePath(name).suffix.lower()
    if suffix not in _PACKED or not content:
        return name, content
    try:
        if suffix == ".gz":
            return PurePath(name).stem, gzip.decompress(content)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside = [each for each in archive.infolist() if not each.is_dir() and "__MACOSX" not in each.filename]
            if len(inside) != 1:
                names = ", ".join(each.filename for each in inside) or "nothing"
                raise DataError(f"{label} holds {names}; expected one file of bars in it.")
            return inside[0].filename, archive.read(inside[0])
    except DataError:
        raise
    except Exception as error:  # zipfile and its decoders have no common one
        raise DataError(f"{label} is not a {_PACKED[suffix]} file ({error}); pack it again.") from error


def _of_frame(frame: pd.DataFrame, label: str) -> Cells:
    if isinstance(frame.index, pd.DatetimeIndex) and frame.index.name is None:
        frame = frame.rename_axis(index="date")
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index(allow_duplicates=True)
    names = [name if isinstance(name, tuple) else (name,) for name in frame.columns]  # type: ignore[redundant-expr]
    header = [[str(name[level]).strip() for name in names] for level in range(frame.columns.nlevels)]
    frame = frame.set_axis(range(len(names)), axis="columns").set_axis(range(1, len(frame) + 1), axis="index")
    cells = Cells(frame, label, "row")
    return _checked(without_header(cells) if counts_up(header[0]) else one_row_a_symbol(header, frame, cells))


def _checked(cells: Cells) -> Cells:
    if cells.frame.empty:
        raise DataError(f"{cells.label} is empty: a header and no rows; expected one row for each bar.")
    return cells
