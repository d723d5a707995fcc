"""The log on a terminal, which bars may be drawn on at the same time."""

from __future__ import annotations

import logging
import sys


class ConsoleHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes a message on a line of its own: above bars that are on the screen, not behind one of them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take this process's bars away, write, and draw them again."""
        if "tqdm" not in sys.modules:
            super().emit(record)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)
