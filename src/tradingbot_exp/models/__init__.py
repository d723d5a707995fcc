"""Networks by name: each file here is one model, found without loading torch until it is built."""

from __future__ import annotations

from tradingbot_exp.config.choices import ACTIVATIONS, model_names
from tradingbot_exp.models.registry import build_model, register
from tradingbot_exp.models.summary import model_summary, model_version

__all__ = ["ACTIVATIONS", "build_model", "model_names", "model_summary", "model_version", "register"]
