"""Workers of a study on this machine: processes that ask, train, tell, and ask again, waiting for nobody.

They are forked from a process that was itself forked before the study opened anything: it has the imports and the data,
and no connection, thread or file of the study. It says when a worker ends. Each worker ends by itself once the study's
own process is gone, as the end of a pipe tells it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tradingbot_exp.runtime import interrupt
from tradingbot_exp.terminal.output import say

if TYPE_CHECKING:
    from tradingbot_exp.config.hpo import HpoConfig

_LOOK_AGAIN, _WATCH = 0.1, 0.5  # seconds between two looks at workers, and at what they have done
_LEAVE = 60.0  # seconds that workers have to close their trials before they are killed
_BOTH = (signal.SIGINT, signal.SIGTERM)
_STOP = b"-"


class Crew:
    """The workers of a study.

    Parameters
    ----------
    work : callable (study's name) -> exit status
        What each does, in a process of its own.

    Attributes
    ----------
    at_work : int
        How many are.
    is_lost : bool
        Whether the process that starts them is gone: no other can be started.
    """

    def __init__(self, work: Callable[[str], int]) -> None:
        commands, self._commands = os.pipe()
        self._events, events = os.pipe()
        life, self._life = os.pipe()
        _flush()
        before = signal.pthread_sigmask(
            signal.SIG_BLOCK, _BOTH
        )  # for workers, who hear them from their first moment on
        self._nursery = os.fork()
        if not self._nursery:
            for end in (self._commands, self._events, self._life):
                os.close(end)
            _end(_Nursery(work, commands, events, life).run)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for end in (commands, events, life):
            os.close(end)
        self._rest = b""
        self.at_work, self.is_lost = 0, False

    def start(self, study: str) -> None:
        """Start a worker on a study."""
        if self._tell(study.encode() + b"\n"):
            self.at_work += 1

    def ended(self, seconds: float) -> list[int]:
        """Wait so long at the most for a worker to end; return how those that have ended: below 0, by a signal."""
        if not self.at_work or not select.select([self._events], [], [], seconds)[0]:
            return []
        found = os.read(self._events, 4096)
        *lines, self._rest = (self._rest + found).split(b"\n")
        statuses = [int(line) for line in lines]
        if not found:
            self._let_go()
        self.at_work -= len(statuses)
        return statuses

    def close(self) -> None:
        """Let workers close their trials and end, and wait for that."""
        nursery, self._nursery = self._nursery, 0
        if not nursery:
            return
        with interrupt.signals_held():
            self._tell(_STOP + b"\n")
            os.waitpid(nursery, 0)
            if not self.is_lost:
                os.close(self._life)
            for end in (self._commands, self._events):
                os.close(end)
            self.at_work = 0

    def _let_go(self) -> None:
        """Tell workers, of whom nobody hears any more, to end."""
        if not self.is_lost:
            os.close(self._life)
            self.is_lost, self.at_work = True, 0

    def _tell(self, command: bytes) -> bool:
        try:
            os.write(self._commands, command)
        except BrokenPipeError:
            self._let_go()
        return not self.is_lost


def oversee(
    crew: Crew, study: str, hpo: HpoConfig, is_finished: Callable[[], bool], look: Callable[[], object]
) -> None:
    """Let workers run a study's trials, and start those again that die, as often as may be.

    Parameters
    ----------
    crew : Crew
    study : str
        Its name.
    hpo : HpoConfig
    is_finished : callable
        Whether the study needs no more workers.
    look : callable
        Called now and then.
    """
    restarts = 0
    for _ in range(hpo.workers):
        crew.start(study)
    while crew.at_work:
        for status in filter(None, crew.ended(_WATCH)):
            cause = f"exit status {status}" if status > 0 else signal.Signals(-status).name
            if restarts == hpo.max_restarts:
                say(f"A worker died ({cause}), and is not started again: hpo.max_restarts={restarts}.\n")
            elif not is_finished():
                restarts += 1
                say(f"A worker died ({cause}); it is started again, its trials are tried again.\n")
                crew.start(study)
        interrupt.check()
        look()
    if crew.is_lost:
        say("The process that starts the workers is gone: they end, and the rest is done here.\n")


class _Nursery:
    """Forks workers when it is told, and says when they end."""

    def __init__(self, work: Callable[[str], int], commands: int, events: int, life: int) -> None:
        self._work, self._commands, self._events, self._life = work, commands, events, life
        self._children: set[int] = set()

    def run(self) -> int:
        """Go on until told to stop, or until whoever tells is gone."""
        rest = b""
        while True:
            self._reap()
            if not select.select([self._commands], [], [], _LOOK_AGAIN)[0]:
                continue
            told = os.read(self._commands, 4096)
            *lines, rest = (rest + told).split(b"\n")
            if not told or _STOP in lines:
                break
            for line in lines:
                self._fork(line.decode())
        self._stop()
        return 0

    def _fork(self, study: str) -> None:
        _flush()
        try:
            child = os.fork()
        except OSError as error:
            say(f"A worker cannot be started: {error}.\n", error=True)
            self._say(1)
            return
        if child:
            self._children.add(child)
            return
        os.close(self._commands)
        os.close(self._events)
        threading.Thread(target=_end_with, args=(self._life,), daemon=True).start()
        _end(lambda: _heard(self._work, study))

    def _reap(self) -> None:
        for child in list(self._children):
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                self._children.remove(child)
                self._say(os.waitstatus_to_exitcode(status))

    def _say(self, status: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._events, b"%d\n" % status)

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


def _heard(work: Callable[[str], int], study: str) -> int:
    """Do a worker's work, which signals stop from now on."""
    interrupt.install()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BOTH)
    return work(study)


def _end_with(life: int) -> None:
    """Wait for the end of the process that holds the other end of a pipe, and stop this one as a signal would."""
    while os.read(life, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


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
