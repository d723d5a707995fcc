"""Ctrl-C and SIGTERM: stop the job once, and hear it also where Python would swallow it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tradingbot_exp.errors import Terminated

_received: list[int] = []


def install() -> None:
    """Let SIGINT and SIGTERM stop the job; called by the command line, in the main thread."""
    _received.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def uninstall() -> None:
    """Let SIGINT and SIGTERM end the process at once: nothing is open any more, and workers may take time to leave.

    Where one has come already, the process is ending by it, and the next changes nothing.
    """
    if _received:
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def received() -> int | None:
    """Return the first signal that came, or None."""
    return _received[0] if _received else None


def check() -> None:
    """Stop if a signal came. An exception raised inside a destructor or a weakref callback is lost in there.

    Raises
    ------
    KeyboardInterrupt
        `Terminated` for SIGTERM.
    """
    if _received:
        raise Terminated if _received[0] == signal.SIGTERM else KeyboardInterrupt


def _stop(number: int, frame: FrameType | None) -> None:
    """Raise at the first signal; what comes while runs are being closed changes nothing any more."""
    _received.append(number)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    check()


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back for the length of a ``with`` block, and deliver the first of them after it.

    A run that is being closed is closed to its end. In other threads than the main one, signals do not arrive
    anyway.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda received, _frame: came.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
