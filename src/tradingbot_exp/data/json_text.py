"""From JSON to a table: lists of bars, lists of named values, or either of them inside an exchange's answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from tradingbot_exp.data.cells import Cells
from tradingbot_exp.data.columns import PRICES, role_of
from tradingbot_exp.data.layouts import one_row_a_symbol, without_header
from tradingbot_exp.errors import DataError


def parse_json(content: bytes, label: str) -> Cells:
    """Find the one table that JSON holds.

    Raises
    ------
    DataError
        If it is not JSON, or holds no table or several.
    """
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{label} cannot be read as JSON ({error}).") from error
    found = list(_tables(tree))
    if len(found) != 1:
        held = f"{len(found)} tables" if found else "no list of bars"
        raise DataError(
            f"{label} holds {held}; expected one list of bars, such as [[1704067200000, 1, 2, 0.5, 1.5, 9]]."
        )
    frame, named = found[0]
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    cells = Cells(frame, label, "row")
    if not named:
        return without_header(cells)
    header = [str(column) for column in frame.columns]
    return one_row_a_symbol([header], frame, replace(cells, frame=pd.DataFrame()))


def _tables(tree: Any) -> Iterator[tuple[pd.DataFrame, bool]]:
    """Find tables, each with whether its columns have names."""
    if isinstance(tree, list):
        if tree and all(isinstance(row, dict) for row in tree):
            yield pd.DataFrame(tree), True
        elif tree and all(isinstance(row, list) for row in tree) and len({len(row) for row in tree}) == 1:
            yield pd.DataFrame(tree), False
        return
    if not isinstance(tree, dict):
        return
    if isinstance(tree.get("data"), list) and isinstance(tree.get("columns"), list):  # pandas' orient=split
        index = pd.Index(tree.get("index") or range(len(tree["data"])), name="date" if tree.get("index") else None)
        yield pd.DataFrame(tree["data"], index, tree["columns"]).reset_index(drop=index.name is None), True
        return
    values = list(tree.values())
    if values and all(isinstance(each, dict) for each in values):
        alike = all(each.keys() == values[0].keys() for each in values)
        if any(
            role_of(str(name)) in PRICES for name in tree
        ):  # pandas' orient=columns: a mapping from row to value for each column
            frame = pd.DataFrame(tree)
            yield (frame if role_of_any(frame) else frame.rename_axis("date").reset_index()), True
            return
        if alike and any(role_of(str(name)) in PRICES for name in values[0]):  # rows by their date
            yield pd.DataFrame.from_dict(tree, orient="index").rename_axis("date").reset_index(), True
            return
    lists = len(values) > 1 and all(isinstance(each, list) for each in values)
    if lists and any(role_of(str(name)) for name in tree) and len({len(each) for each in values}) == 1:
        yield pd.DataFrame(tree), True  # a list for each column
        return
    for each in values:
        yield from _tables(each)


def role_of_any(frame: pd.DataFrame) -> bool:
    """Tell whether a column of the frame is of dates."""
    return any(role_of(str(column)) == "date" for column in frame.columns)
