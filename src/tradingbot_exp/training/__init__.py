"""Training: one loop over tensors in memory. Torch is loaded when a name is first used, not on import.

`predict` stays in its module of the same name, ``tradingbot_exp.training.predict``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradingbot_exp.training.history import History
    from tradingbot_exp.training.loop import train_model
    from tradingbot_exp.training.optim import make_optimizer
    from tradingbot_exp.training.progress import make_progress

__all__ = ["History", "make_optimizer", "make_progress", "train_model"]

_HOMES = {
    "History": "history",
    "make_optimizer": "optim",
    "make_progress": "progress",
    "train_model": "loop",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
