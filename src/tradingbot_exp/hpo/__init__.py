"""Hyperparameter studies: what is searched, and how.

The public names are imported when they are first used, so importing the package loads no optuna.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradingbot_exp.hpo.space import SearchSpace

__all__ = ["SearchSpace"]

_HOMES = {"SearchSpace": "tradingbot_exp.hpo.space"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
