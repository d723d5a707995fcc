"""One short hash for the whole content of a data frame, so that a run can say which data it saw."""

from __future__ import annotations

import hashlib

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
    if isinstance(index, pd.DatetimeIndex):
        head.append(str(index.tz))
        body = [index.as_unit("ns").asi8.astype("<i8", copy=False).tobytes()]
    else:
        body = [_column_bytes(index.to_series())]
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        head += [str(name), str(column.dtype)]
        body.append(_column_bytes(column))
    digest = hashlib.sha256(repr(head).encode())
    for part in body:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:32]


def _column_bytes(column: pd.Series[float]) -> bytes:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufmM":
        values = column.to_numpy()
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(0, bool)
        if missing.any():
            values = np.where(missing, values.dtype.type(np.nan), values)
        return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return repr([None if missing else str(v) for v, missing in zip(column, column.isna(), strict=True)]).encode()
