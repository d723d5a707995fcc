"""Files of bars to read, and the bundled ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tradingbot_exp.config.schema import DataConfig, SyntheticConfig
from tradingbot_exp.data import PreparedData, prepare_data
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.data.synthetic import synthetic_bars

Write = Callable[..., DataConfig]


@pytest.fixture(scope="session")
def ibm_bars() -> pd.DataFrame:
    return load_bars(DataConfig()).frame


@pytest.fixture(scope="session")
def ibm() -> PreparedData:
    return prepare_data(DataConfig())


@pytest.fixture
def bars() -> pd.DataFrame:
    """200 clean bars with a `date` column."""
    return synthetic_bars(SyntheticConfig(bars=200, seed=1)).reset_index()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a frame, or text, to a file and return the configuration that reads it."""

    def write(content: pd.DataFrame | str | bytes, name: str = "bars.csv", **keys: object) -> DataConfig:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif name.endswith(".parquet"):
            content.to_parquet(path, index=False)
        else:
            content.to_csv(path, index=False)
        return DataConfig(**({"name": "csv", "source": "csv", "path": str(path)} | keys))  # type: ignore[arg-type]

    return write
