"""Hyperparameter studies: what is searched, and how.

The public names are imported when they are first used, so importing the package loads no heavy library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradingbot_exp.runtime.lazy import lazily

if TYPE_CHECKING:
    from tradingbot_exp.hpo.space.space import SearchSpace

__all__ = ["SearchSpace"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "SearchSpace": "tradingbot_exp.hpo.space.space",
    },
)
