"""A training job in three steps: `prepare` makes data, model and records, `fit` trains, `finish` evaluates.

The public names are imported when they are first used, so importing the package loads no heavy library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradingbot_exp.runtime.lazy import lazily

if TYPE_CHECKING:
    from tradingbot_exp.experiment.steps import finish, fit, prepare

__all__ = ["finish", "fit", "prepare"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "finish": "tradingbot_exp.experiment.steps",
        "fit": "tradingbot_exp.experiment.steps",
        "prepare": "tradingbot_exp.experiment.steps",
    },
)
