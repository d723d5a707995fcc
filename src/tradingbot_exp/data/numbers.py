"""From text to numbers, as exports write them: ``1,234.56``, ``1.234,56``, ``$101.25``, ``1.2M``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "-", "--")
_CURRENCY = r"^[$€£¥₹]\s*|\s*[$€£¥₹]$"
_SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
# Groups of three digits (of two behind the first in India), set apart by the other mark, an apostrophe or a space.
_WHOLE = r"(?:\d+|\d{{1,3}}(?:[{other}' ]\d{{2,3}})*[{other}' ]\d{{3}})"
_NUMBER = r"^[+-]?(?:" + _WHOLE + r"(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?[KMBTkmbt]?$"


def as_text(series: pd.Series) -> pa.ChunkedArray:
    """Return a column as text of the Arrow type, blanks around it taken away; what is missing is empty."""
    text = series.astype("str").array.__arrow_array__()  # type: ignore[attr-defined]  # speed: nothing is copied
    return pc.utf8_trim_whitespace(pc.fill_null(text, ""))


def parse(text: pa.ChunkedArray, mark: str) -> npt.NDArray[np.float64] | None:
    """Parse numbers with the decimal mark `mark`; None if a cell is no such number."""
    values = _present(text)
    plain = _cast(values) if mark == "." else None
    if plain is not None:
        return plain
    values = _cleaned(values)
    if not _whole(pc.match_substring_regex(values, _pattern(mark))):
        return None
    scale = np.ones(len(values))
    for letter, factor in _SUFFIXES.items():
        ends = pc.fill_null(pc.ends_with(values, letter, ignore_case=True), False)
        scale[ends.to_numpy()] = factor
    values = pc.replace_substring_regex(values, r"[KMBTkmbt]$|^\+", "")
    values = pc.replace_substring_regex(values, r"[,' ]" if mark == "." else r"[.' ]", "")
    parsed = _cast(pc.replace_substring(values, ",", "."))
    return None if parsed is None else parsed * scale


def first_that_is_none(text: pa.ChunkedArray, marks: Sequence[str]) -> int:
    """Return the position of the first cell that is no number with any of the decimal marks."""
    values = _cleaned(_present(text))
    fits = [pc.fill_null(pc.match_substring_regex(values, _pattern(mark)), True).to_numpy() for mark in marks]
    bad = ~np.any(fits, axis=0)
    return int(bad.argmax()) if bad.any() else int((~np.all(fits, axis=0)).argmax())


def _pattern(mark: str) -> str:
    return _NUMBER.format(mark="[.]" if mark == "." else ",", other="," if mark == "." else ".")


def _present(text: pa.ChunkedArray) -> pa.ChunkedArray:
    missing = pc.is_in(text, value_set=pa.array(MISSING, type=text.type))
    return pc.if_else(missing, pa.scalar(None, type=text.type), text)


def _cleaned(values: pa.ChunkedArray) -> pa.ChunkedArray:
    values = pc.replace_substring_regex(values, "[\u00a0\u202f\u2009]", " ")
    return pc.replace_substring_regex(values, _CURRENCY, "")


def _whole(matches: pa.ChunkedArray) -> bool:
    return bool(pc.all(matches, min_count=0).as_py())


def _cast(values: pa.ChunkedArray) -> npt.NDArray[np.float64] | None:
    try:
        found = pc.cast(values, pa.float64())
    except pa.ArrowInvalid:
        return None
    return np.asarray(found.to_numpy(), dtype=np.float64)
