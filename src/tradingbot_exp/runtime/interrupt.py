"""Ctrl-C and SIGTERM: stop the job once, and hear it also where Python would swallow it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tradingbot_exp.errors import Terminated

_received: list[int] = []
_again = threading.Event()
_first: list[float] = []  # when the first came, on the monotonic clock
_APART = 1.0
"""Seconds between the first signal and one that is another wish: keys are pressed twice, and terminals send two."""


def install() -> None:
    """Let SIGINT and SIGTERM stop the job; called by the command line, in the main thread."""
    _received.clear()
    _again.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def uninstall() -> None:
    """Let SIGINT and SIGTERM end the process at once: nothing is open any more, and workers may take time to leave.

    Where one has come already, the process is ending by it, and the next changes nothing.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        # Python takes handlers of its own off long before a process has ended.
        signal.signal(number, signal.SIG_IGN if _received else signal.SIG_DFL)


def received() -> int | None:
    """Return the first signal that came, or None."""
    return _received[0] if _received else None


def is_urgent() -> bool:
    """Return whether a second signal came, a second or more after the first: nobody waits for a store any longer."""
    return _again.is_set()


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
    """Raise at the first signal; what comes while runs are being closed only ends the waiting for a store."""
    _received.append(number)
    _first[:] = [time.monotonic()]
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda _number, _frame: _hear_again())
    check()


def _hear_again() -> None:
    if time.monotonic() - _first[0] >= _APART:
        _again.set()


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back for the length of a ``with`` block, and deliver the first of them after it.

    A run that is being closed is closed to its end; a second signal makes that `is_urgent`. In other threads than the
    main one, signals do not arrive anyway.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if came or _received:
            _hear_again()
        else:
            _first[:] = [time.monotonic()]
        came.append(number)

    before = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if not _received:
            _again.clear()
        if came and not _received:
            signal.raise_signal(came[0])
