"""How many threads train: as many as the work is worth, and one where other processes have the cores.

Threads that share an operation wait for each other at its end. For a small network that costs more than it saves, and
where the cores are busy each wait may take a time slice: on two busy cores, a default run's training took 1.2 s on two
threads and 0.1 s on one, a stack's of 24 networks 9.7 s and 0.7 s.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

# Parameters times samples of a batch from which one model is worth several threads: idle, two take 1/1.3 of the time.
WORTH = 2_000_000
# Smaller models of a stack, for each thread. So a thread has whole models, and their bits do not depend on its number.
MODELS = 8
# Several threads are given up once their batches take so many times as long as one thread's took, ...
SLOWER = 2.0
# ... seen from so many batches on, for so many epochs at first, and twice as many each further time.
BATCHES, PAUSE = 4, 8


class Threads:
    """Sets torch's number of threads while models train on the CPU, never above the number that it finds.

    Parameters
    ----------
    parameters, batch_size : int
        Of one model.
    """

    def __init__(self, parameters: int, batch_size: int) -> None:
        self._worth = parameters * batch_size >= WORTH
        self._alone = math.inf  # seconds that a batch of one model takes one thread
        self._epochs, self._pause = 0, PAUSE  # to go with one thread

    @contextmanager
    def of(self, models: int = 1) -> Iterator[int]:
        """Set the number that `models` in lockstep are worth, for the length of a ``with`` block."""
        found = torch.get_num_threads()
        several = found if self._worth else min(found, max(1, models // MODELS))
        torch.set_num_threads(several)
        try:
            yield several
        finally:
            torch.set_num_threads(found)

    @contextmanager
    def epoch(self, models: int) -> Iterator[Callable[[], None]]:
        """Do the same for an epoch of a stack, and watch it: gives what is to be called after each batch."""
        with self.of(models) as several:
            if self._worth or several == 1:
                yield lambda: None
                return
            by_itself = self._epochs > 0 or self._alone == math.inf
            self._epochs = max(0, self._epochs - 1)
            if by_itself:
                torch.set_num_threads(1)
            batches, started = 0, time.perf_counter()

            def after_batch() -> None:
                nonlocal batches
                batches += 1
                spent = time.perf_counter() - started
                if by_itself or self._epochs or batches < BATCHES:
                    return
                if spent > SLOWER * self._alone * batches * models:
                    torch.set_num_threads(1)
                    self._epochs, self._pause = self._pause, 2 * self._pause

            yield after_batch
            if by_itself and batches:
                self._alone = min(self._alone, (time.perf_counter() - started) / (batches * models))
