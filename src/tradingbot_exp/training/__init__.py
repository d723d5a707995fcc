"""Training: one loop over tensors in memory.

`predict` stays in its module of the same name, ``tradingbot_exp.training.predict``.

The public names are imported when they are first used, so importing the package loads no heavy library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradingbot_exp.runtime.lazy import lazily

if TYPE_CHECKING:
    from tradingbot_exp.training.history import History
    from tradingbot_exp.training.loop import train_model
    from tradingbot_exp.training.optim import make_optimizer
    from tradingbot_exp.training.progress import make_progress

__all__ = ["History", "make_optimizer", "make_progress", "train_model"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "History": "tradingbot_exp.training.history",
        "make_optimizer": "tradingbot_exp.training.optim",
        "make_progress": "tradingbot_exp.training.progress",
        "train_model": "tradingbot_exp.training.loop",
    },
)
