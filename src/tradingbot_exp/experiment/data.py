"""The data of jobs: prepared once for all of a process that use the same, and looked at before anything is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from tradingbot_exp.config.paths import place_of
from tradingbot_exp.config.schema import ColumnsConfig, Config, DataConfig, SplitConfig, SyntheticConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.data.folder import stamp_of
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.panel_sources import is_of_files
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.experiment.memory import check_memory

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData

_given_data: ContextVar[PreparedData | None] = ContextVar("tradingbot_given_data", default=None)


def load_data(config: Config) -> PreparedData:
    """Prepare the data of a configuration, once for all jobs of a process that use the same.

    A relative `data.path` starts from the launch directory, also in a job that works elsewhere.

    Raises
    ------
    ConfigError, DataError
        See `tradingbot_exp.data.prepare_data`.
    """
    given = _given_data.get()
    if given is not None:
        return given
    path = place_of(config.data.path) if config.data.path else None
    described = replace(config.data, path=path)
    stamp = None if path is None else stamp_of(path, several=is_of_files(described))
    dtype = "float64" if config.training.precision == "float64" else "float32"
    return _load_data(json.dumps(asdict(described), sort_keys=True), dtype, stamp)


@contextmanager
def given_data(data: PreparedData) -> Iterator[None]:
    """Let jobs use data that the caller prepared, for the length of a ``with`` block."""
    token = _given_data.set(data)
    try:
        yield
    finally:
        _given_data.reset(token)


@lru_cache(maxsize=4)
def _load_data(described: str, dtype: str, stamp: object) -> PreparedData:
    tree = json.loads(described)
    kinds = {"columns": ColumnsConfig, "split": SplitConfig, "synthetic": SyntheticConfig}
    nested = {name: kind(**tree[name]) for name, kind in kinds.items()}
    return prepare_data(DataConfig(**{**tree, **nested}), dtype)


def check_inputs(config: Config) -> PreparedData:
    """Find out, before anything is recorded, whether data and device are there and fit the configuration.

    Raises
    ------
    ConfigError, DataError
        They are not.
    """
    data = load_data(config)
    fold_views(data, config.evaluation)
    Rules.of(config, data)
    check_memory(config, data)
    if config.training.device in ("cuda", "mps"):
        from tradingbot_exp.training.device import resolve_device

        resolve_device(config.training.device)
    return data
