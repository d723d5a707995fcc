"""Bars out of an SQLite database."""

import sqlite3
from contextlib import closing

import pandas as pd

from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.plugins import source


@source("sqlite")
def sqlite(data: DataConfig) -> pd.DataFrame:
    """Bars of the table `data.options.table` in the database `data.path`."""
    table = str(data.options["table"]).replace('"', '""')
    query = f'SELECT date, open, high, low, close, volume FROM "{table}" ORDER BY date'  # noqa: S608 - quoted above
    with closing(sqlite3.connect(f"file:{data.path}?mode=ro", uri=True)) as database:
        return pd.read_sql_query(query, database)
