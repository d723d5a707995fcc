"""What a callback has found out for the job that begins next: its checked configuration, or why it cannot be run."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config

_found: ContextVar[Config | Exception | None] = ContextVar("tradingbot_handover", default=None)


def hand_over(found: Config | Exception | None) -> None:
    """Leave a configuration, an error or nothing for what begins next here: Hydra would swallow the error."""
    _found.set(found)


def handed_over() -> Config | None:
    """Take the configuration that was left, or None: then nobody has checked it. An error that was left is raised."""
    found = _found.get()
    _found.set(None)
    if isinstance(found, Exception):
        raise found
    return found
