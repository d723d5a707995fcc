"""A training job in three steps: `prepare` makes data, model and records, `fit` trains, `finish` evaluates.

The three are imported when they are first used, so importing the package loads no heavy library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradingbot_exp.experiment.steps import finish, fit, prepare

__all__ = ["finish", "fit", "prepare"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("tradingbot_exp.experiment.steps"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
