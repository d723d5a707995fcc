"""The recorder: the one thread of a process that sends what its runs' journals hold, beside the training."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from tradingbot_exp.runtime import interrupt
from tradingbot_exp.tracking.store.patience import PAUSE, Outage, is_outage, own_request

if TYPE_CHECKING:
    from mlflow import MlflowClient

FLUSH_SECONDS = 5.0
HEARTBEAT_SECONDS = 30.0


class _Delivery(Protocol):
    outage: Outage
    has_ended: bool

    @property
    def is_waiting(self) -> bool: ...

    @property
    def is_done(self) -> bool: ...

    def send_what_waits(self) -> bool: ...


class Recorder:
    """Sends every few seconds, and at once what somebody waits for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._wanted = False
        self._process = os.getpid()
        self._thread: threading.Thread | None = None
        self._open: list[_Delivery] = []
        # By run, whom to tell that its process lives, and when that was last done.
        self._beating: dict[str, tuple[MlflowClient, float]] = {}

    def add(self, delivery: _Delivery) -> None:
        """Send what is written about a run from now on, until it has ended."""
        with self._changed:
            self._start()
            if delivery not in self._open:
                self._open.append(delivery)

    def drop(self, delivery: _Delivery) -> None:
        """Look no more after a run, until more is written about it."""
        with self._changed:
            self._open = [each for each in self._open if each is not delivery]

    def is_last(self, delivery: _Delivery) -> bool:
        """Tell whether no other run is open in this process."""
        return all(each is delivery or each.has_ended for each in self._open)

    def beat(self, client: MlflowClient, run_ids: Iterable[str]) -> None:
        """Send signs of life of runs from now on, for those on other hosts: the tag ``process.heartbeat``."""
        with self._changed:
            self._start()
            self._beating |= dict.fromkeys(run_ids, (getattr(client, "raw", client), time.monotonic()))

    def stop_beating(self, run_ids: Iterable[str]) -> None:
        """Send no more signs of life of runs."""
        with self._changed:
            for run_id in run_ids:
                self._beating.pop(run_id, None)

    def wait(self, deliveries: Iterable[_Delivery], patiently: bool = False) -> None:
        """Send at once, and wait until MLflow has all of some runs or refuses it; in an outage only if `patiently`.

        A second Ctrl-C ends the waiting.
        """
        with self._changed:
            while any(each.is_waiting and (patiently or not each.outage.is_on) for each in deliveries):
                if interrupt.is_urgent():
                    return
                self._start()
                self._wanted = True
                self._changed.notify_all()
                self._changed.wait(PAUSE)

    def settle(self, outage: Outage) -> None:
        """Wait until the store that `outage` is of has all that was written to it here."""
        self.wait([each for each in self._open if each.outage is outage], patiently=True)

    def _start(self) -> None:
        if self._process != os.getpid():  # forked: the parent's runs are the parent's
            self._process, self._open, self._beating = os.getpid(), [], {}
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="mlflow-recorder", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        with own_request():
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._wanted, FLUSH_SECONDS)
                    self._wanted = False
                    deliveries = list(self._open)
                self._beat()
                failing: set[Outage] = set()
                for delivery in deliveries:
                    if delivery.outage not in failing and not delivery.send_what_waits():
                        failing.add(delivery.outage)  # the others would only be as long about it
                with self._changed:
                    self._open = [each for each in self._open if not each.is_done]
                    self._changed.notify_all()
                if failing:
                    time.sleep(PAUSE)

    def _beat(self) -> None:
        """Send the signs of life that are due; what fails is tried again soon."""
        away: list[MlflowClient] = []
        for run_id, (client, last) in list(self._beating.items()):
            if client in away or time.monotonic() - last <= HEARTBEAT_SECONDS:
                continue
            try:
                client.set_tag(run_id, "process.heartbeat", f"{time.time():.0f}")
            except Exception as error:
                if is_outage(error):  # its other runs would only be as long about it
                    away.append(client)
                continue
            with self._changed:
                if run_id in self._beating:
                    self._beating[run_id] = client, time.monotonic()


RECORDER = Recorder()
