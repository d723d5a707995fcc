"""The one way to a terminal: what is printed is masked, and holds nothing that a terminal would obey."""

from __future__ import annotations

import logging
import os
import sys
import warnings

from tradingbot_exp.config.redaction import RedactingFormatter, redact
from tradingbot_exp.runtime.text import printable


def say(text: str, *, error: bool = False) -> None:
    """Write a text to standard output, or to standard error; a newline at its end is the caller's."""
    stream = sys.stderr if error else sys.stdout
    stream.write(printable(redact(text)))
    stream.flush()


def tame_warnings() -> None:
    """Let a command's log go the same way where nobody else set one up, and let no library's warning end the command.

    ``PYTHONWARNINGS=error`` is meant for programs under test: here, and in workers, such warnings are shown.
    """
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(RedactingFormatter())
    if any(action == "error" for action, *_ in warnings.filters):
        warnings.simplefilter("default")
        sys.warnoptions[:] = [option for option in sys.warnoptions if not option.startswith("error")]
        os.environ["PYTHONWARNINGS"] = "default"
