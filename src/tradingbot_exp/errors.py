"""The exceptions that tradingbot_exp raises, as one tree.

::

    TradingBotError
    ├── ConfigError           a key: unknown, mistyped, impossible, or at odds with another key
    ├── DataError             a file, a column or a row of market data
    ├── TrainingError         training cannot go on
    │   └── DivergedError     the loss became NaN or infinite
    ├── TrackingError         a record could not be written to, or read from, the tracking store
    │   ├── DamagedError      an artifact holds something else than it should; in `tracking.store.errors`
    │   └── RunError          a run that is asked for: unknown, ambiguous, deleted, or of the wrong kind
    └── ReportError           a report cannot be made or written

Two more are no `Exception`, since they end a process from places where those are swallowed: `Refusal`
carries a `TradingBotError` out of a Hydra callback, `Terminated` is SIGTERM as a `KeyboardInterrupt`.

Each message says what was given, what was expected, and what to do. The command line prints the message
alone and exits with status 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class TradingBotError(Exception):
    """Root of every error that this package raises on purpose."""


class ConfigError(TradingBotError):
    """A configuration value is unknown, of the wrong type, impossible, or at odds with another one."""


class DataError(TradingBotError):
    """Market data cannot be used: a file, a column or a row is not what it has to be."""


class TrainingError(TradingBotError):
    """Training cannot start or cannot go on."""


class DivergedError(TrainingError):
    """The loss became NaN or infinite.

    Attributes
    ----------
    epoch : int
        The first epoch, counted from 1, whose loss is not finite.
    history : tradingbot_exp.training.history.History or None
        The epochs so far, that one included.
    """

    def __init__(self, message: str, epoch: int, history: Any = None) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.history = history

    def __reduce__(self) -> tuple[type[DivergedError], tuple[str, int, Any]]:
        """Survive the trip from a worker process, which pickles exceptions."""
        return type(self), (str(self), self.epoch, self.history)


class TrackingError(TradingBotError):
    """A record could not be written to, or read from, the tracking store."""


class RunError(TrackingError):
    """A run that is asked for is unknown, ambiguous, deleted, or of the wrong kind."""


class ReportError(TradingBotError):
    """A report cannot be made of what was asked for, or cannot be written where it was asked for."""


class Refusal(SystemExit):
    """Carries an error out of a Hydra callback; uncaught, it ends the process with the message and status 1.

    Attributes
    ----------
    error : Exception
        What is wrong.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(f"Error: {error}")
        self.error = error


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C: runs are closed as KILLED."""


# How a refusal to run, load or follow what a store says ends.
TRUST = "If you trust whoever made the run, give --trust, in Python load_run(ID, trust=True)."


def near(word: str, known: Iterable[str]) -> str:
    """Name the known word that `word` most resembles, as the end of an error message.

    Returns
    -------
    str
        ``" Did you mean 'close'?"``, or an empty string if nothing is near.
    """
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return f" Did you mean '{by_lower[found[0]]}'?" if found else ""
