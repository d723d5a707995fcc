"""One short hash for the whole content of a data frame, so that a run can say which data it saw."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd


def fingerprint(frame: pd.DataFrame) -> str:
    """Hash timestamps and their zone, the names, dtypes and order of columns, and every value.

    Timestamps count as instants and NaN as one value, so the same content read from CSV and from Parquet with
    the same dtypes has the same fingerprint. The name of the index does not count.

    Returns
    -------
    str
        The first 32 hexadecimal characters of a SHA-256 (MLflow's dataset digest holds 36).
    """
    index = frame.index
    head: list[object] = [len(frame)]
    rows: pd.Series[Any]
    if isinstance(index, pd.DatetimeIndex):
        head.append(str(index.tz))
        rows = pd.Series(index.as_unit("ns").asi8, copy=False)
    else:
        rows = index.to_series()
    columns = [frame.iloc[:, position] for position in range(frame.shape[1])]
    for name, column in zip(frame.columns, columns, strict=True):
        head += [str(name), str(column.dtype)]
    digest = hashlib.sha256(repr(head).encode())
    for series in (rows, *columns):
        part = _column_bytes(series)
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:32]


def _column_bytes(column: pd.Series[Any]) -> bytes | memoryview:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufmM":
        values = column.to_numpy()
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(0, bool)
        if missing.any():
            values = np.where(missing, values.dtype.type(np.nan), values)
        return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False)).view(np.uint8).data
    if isinstance(column.dtype, pd.StringDtype):  # speed: a text is written once, however many rows have it
        codes, texts = pd.factorize(column)
        written = np.array([*map(repr, map(str, texts)), repr(None)], dtype=object)  # the last is that of code -1
        return f"[{', '.join(written[codes])}]".encode()
    return repr([None if missing else str(v) for v, missing in zip(column, column.isna(), strict=True)]).encode()
