"""From JSON to a table: lists of bars, lists of named values, or either of them inside an exchange's answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from tradingbot_exp.data.columns import PRICES, role_of
from tradingbot_exp.errors import DataError


def parse_json(content: bytes, label: str) -> pd.DataFrame:
    """Find the one table that JSON holds; its columns are numbered from 0 on where they have no names.

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
    return found[0]


def _tables(tree: Any) -> Iterator[pd.DataFrame]:
    if isinstance(tree, list):
        same = tree and all(isinstance(row, list) for row in tree) and len({len(row) for row in tree}) == 1
        if same or (tree and all(isinstance(row, dict) for row in tree)):
            yield pd.DataFrame(tree)
        return
    if not isinstance(tree, dict):
        return
    if isinstance(tree.get("data"), list) and isinstance(tree.get("columns"), list):  # pandas' orient=split
        index = pd.Index(tree.get("index") or range(len(tree["data"])), name="date" if tree.get("index") else None)
        yield pd.DataFrame(tree["data"], index, tree["columns"])
        return
    values = list(tree.values())
    if values and all(isinstance(each, dict) for each in values):
        alike = all(each.keys() == values[0].keys() for each in values)
        if any(role_of(str(name)) in PRICES for name in tree):
            # pandas' orient=columns: a mapping from row to value for each column
            dated = any(role_of(str(name)) == "date" for name in tree)
            yield pd.DataFrame(tree) if dated else pd.DataFrame(tree).rename_axis("date")
            return
        if alike and any(role_of(str(name)) in PRICES for name in values[0]):  # rows by their date
            yield pd.DataFrame.from_dict(tree, orient="index").rename_axis("date")
            return
    lists = len(values) > 1 and all(isinstance(each, list) for each in values)
    if lists and any(role_of(str(name)) for name in tree) and len({len(each) for each in values}) == 1:
        yield pd.DataFrame(tree)  # a list for each column
        return
    for each in values:
        yield from _tables(each)
