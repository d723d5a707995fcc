"""Networks by name: each file here is one model, found without loading torch until it is built.

The public names are imported when they are first used, so importing the package loads no heavy library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradingbot_exp.runtime.lazy import lazily

if TYPE_CHECKING:
    from tradingbot_exp.config.choices import ACTIVATIONS, model_names
    from tradingbot_exp.models.registry import build_model, register
    from tradingbot_exp.models.summary import model_summary, model_version

__all__ = ["ACTIVATIONS", "build_model", "model_names", "model_summary", "model_version", "register"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "ACTIVATIONS": "tradingbot_exp.config.choices",
        "build_model": "tradingbot_exp.models.registry",
        "model_names": "tradingbot_exp.config.choices",
        "model_summary": "tradingbot_exp.models.summary",
        "model_version": "tradingbot_exp.models.summary",
        "register": "tradingbot_exp.models.registry",
    },
)
