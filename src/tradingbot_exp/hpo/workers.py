"""Workers of a study on this machine: processes that ask, train, tell, and ask again, waiting for nobody.

They are forked from a process that was itself forked before the study opened anything: it has the imports and the data,
and no connection, thread or file of the study. It knows when a worker ends, and stops them all when the study's
own process is gone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable

from tradingbot_exp.runtime import interrupt

_LOOK_AGAIN = 0.1  # seconds between two looks at workers
_LEAVE = 30.0  # seconds that workers have to close their trials before they are killed
_START, _STOP = b"+", b"-"


class Crew:
    """The workers of a study.

    Parameters
    ----------
    work : callable
        What each does, in a process of its own; returns the exit status.
    """

    def __init__(self, work: Callable[[], int]) -> None:
        commands, self._commands = os.pipe()
        self._events, events = os.pipe()
        _flush()
        self._nursery = os.fork()
        if not self._nursery:
            os.close(self._commands)
            os.close(self._events)
            _end(lambda: _Nursery(work, commands, events).run())
        os.close(commands)
        os.close(events)
        self._rest = b""
        self.at_work = 0

    def start(self) -> None:
        """Start a worker."""
        self._tell(_START)
        self.at_work += 1

    def ended(self, seconds: float) -> list[int]:
        """Wait so long at the most for a worker to end; return how those that have ended: below 0, by a signal."""
        if self.at_work and select.select([self._events], [], [], seconds)[0]:
            found = os.read(self._events, 4096)
            *lines, self._rest = (self._rest + found).split(b"\n")
            statuses = [int(line) for line in lines] if found else [-signal.SIGKILL] * self.at_work
            self.at_work -= len(statuses)
            return statuses
        return []

    def close(self) -> None:
        """Let workers close their trials and end, and wait for that."""
        if self._nursery:
            self._tell(_STOP)
            os.close(self._commands)
            os.waitpid(self._nursery, 0)
            os.close(self._events)
            self._nursery = self.at_work = 0

    def _tell(self, command: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._commands, command)


class _Nursery:
    """Forks workers when it is told, and says when they end."""

    def __init__(self, work: Callable[[], int], commands: int, events: int) -> None:
        self._work, self._commands, self._events = work, commands, events
        self._children: set[int] = set()

    def run(self) -> int:
        """Go on until told to stop, or until whoever tells is gone."""
        for number in (signal.SIGINT, signal.SIGTERM):  # those of the workers are for them
            signal.signal(number, signal.SIG_IGN)
        while True:
            self._reap()
            if select.select([self._commands], [], [], _LOOK_AGAIN)[0]:
                told = os.read(self._commands, 64)
                for _ in range(told.count(_START)):
                    self._fork()
                if not told or _STOP in told:
                    break
        self._stop()
        return 0

    def _fork(self) -> None:
        _flush()
        child = os.fork()
        if child:
            self._children.add(child)
            return
        os.close(self._commands)
        os.close(self._events)
        interrupt.install()
        _end(self._work)

    def _reap(self) -> None:
        for child in list(self._children):
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                self._children.remove(child)
                with contextlib.suppress(BrokenPipeError):
                    os.write(self._events, b"%d\n" % os.waitstatus_to_exitcode(status))

    def _stop(self) -> None:
        deadline, number = time.monotonic() + _LEAVE, signal.SIGTERM
        self._signal(number)
        while self._children:
            time.sleep(_LOOK_AGAIN)
            self._reap()
            if time.monotonic() > deadline and number == signal.SIGTERM:
                number = signal.SIGKILL
                self._signal(number)

    def _signal(self, number: int) -> None:
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _end(work: Callable[[], int]) -> None:
    """End this process with what `work` returns, and with nothing of what its parent would do at its end."""
    status = 1
    try:
        status = work()
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        _flush()
        os._exit(status)


def _flush() -> None:
    """Write out what a forked process would write once more."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
