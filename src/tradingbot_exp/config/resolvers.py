"""OmegaConf resolvers that the configuration files use, all under the prefix ``tradingbot.``."""

from __future__ import annotations

import os

from omegaconf import OmegaConf

from tradingbot_exp.config.paths import TRACKING_DATABASE, launch_dir


def _tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, else the SQLite file that a plain `mlflow ui` opens in the launch directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{launch_dir() / TRACKING_DATABASE}"


def _experiment_name(default: str) -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or default


def _default(value: float) -> float:
    """Mark a value as a default: an interpolation, unlike the same number written by a user."""
    return value


def register() -> None:
    """Register the resolvers (idempotent)."""
    OmegaConf.register_resolver("tradingbot.tracking_uri", _tracking_uri, replace=True)
    OmegaConf.register_resolver("tradingbot.experiment_name", _experiment_name, replace=True)
    OmegaConf.register_resolver("tradingbot.default", _default, replace=True)
