"""The checked configuration, from the callback that checks before anything is written to the job that it checks for."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config

_config: ContextVar[Config | None] = ContextVar("tradingbot_config", default=None)


def hand_over(config: Config) -> None:
    """Leave a configuration for the job, or the study, that begins next in this context."""
    _config.set(config)


def handed_over() -> Config | None:
    """Take what was left, or None: then nobody has checked."""
    config = _config.get()
    _config.set(None)
    return config
