"""What MLflow, its database driver or the network raises, as an error of this package."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError

_SIGNS = {
    "database or disk is full": "the disk is full",
    "No space left on device": "the disk is full",
    "Connection refused": "nothing listens there (connection refused)",
    "Name or service not known": "the host name is not known",
    "Failed to resolve": "the host name is not known",
    "timed out": "no answer came in time",
    "No route to host": "there is no route to the host",
}


class DamagedError(TrackingError):
    """An artifact is there, and holds something else than it should.

    Attributes
    ----------
    why : str
        What is wrong with it.
    """

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why


@contextmanager
def wrapped(what: str) -> Iterator[None]:
    """Turn whatever MLflow, its database driver or the network raises into a `TrackingError`."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        raise TrackingError(f"{what}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Say in one line, without credentials, why MLflow could not do something."""
    text = redact(str(error)).strip()
    for sign, meaning in _SIGNS.items():
        if sign in text:
            return meaning if "full" in meaning else f"{meaning}. Is the server running, and is tracking.uri right?"
    # SQLAlchemy may say before what went wrong that it was writing on its own account.
    lines = [line for line in text.splitlines() if not line.startswith("(raised as a result of Query-invoked")]
    return lines[0] if lines else type(error).__name__


@contextmanager
def quiet(*names: str, level: int = logging.WARNING) -> Iterator[None]:
    """Keep what the loggers `names` say below `level` off the terminal."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, old in zip(loggers, before, strict=True):
            logger.setLevel(old)
