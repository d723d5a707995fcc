"""What users' packages have registered in this process, by name; `tradingbot_exp.config.plugins` fills it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BUILT_IN_SOURCES = ("bundled", "csv", "table", "synthetic")

SOURCES: dict[str, Callable[..., Any]] = {}
"""Sources of bars by ``data.source``: from the block `data` of the configuration to a data frame."""
USER_METRICS: dict[str, Callable[..., float]] = {}
"""Metrics by name, without ``val_``: of outcomes, forecasts and returns a bar (or None), all of shape (n,)."""
USER_SAMPLERS: dict[str, Callable[[int], Any]] = {}
"""Samplers by ``hpo.sampler``: from a seed to one of Optuna's `BaseSampler`."""
EPOCH_HOOKS: dict[str, Callable[..., bool | None]] = {}
"""Functions of an epoch's number, its losses and the configuration, called after it; by where they are defined."""
