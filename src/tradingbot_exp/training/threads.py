"""How many threads train: as many as the work is worth.

Threads that share an operation wait for each other at its end. For a small network that costs more than it saves, and
where other processes have the cores each wait may take a time slice: on two busy cores, a default run's training took
1.2 s on two threads and 0.1 s on one. So only large networks share operations; a stack of small ones is cut into
parts, each trained by a thread of its own, which wait for each other once an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

# Parameters times samples of a batch, of all models of a part, from which it is worth a thread. One model: two threads
# that share operations take 1/1.3 of the time of one. Parts of 24 networks 10-64-32-1: two threads take 1/1.4.
WORTH = 2_000_000
# Parameters times rows of one forward pass, from which it is worth all threads: two milliseconds of one.
PASS_WORTH = 100_000_000


class Threads(NamedTuple):
    """Threads for models trained in lockstep on the CPU, never more than torch has.

    Attributes
    ----------
    parts : int
        Parts that the models are cut into, each with a thread of its own.
    shared : int
        Threads that share the operations of a part.
    """

    parts: int
    shared: int

    @classmethod
    def of(cls, models: int, parameters: int, rows: int) -> Threads:
        """Return the threads that `models` are worth, each with so many `parameters` and `rows` in a batch."""
        found, work = torch.get_num_threads(), parameters * rows
        parts = max(1, min(found, models, models * work // WORTH))
        return cls(parts, found // parts if work >= WORTH else 1)


def share_cores(processes: int) -> None:
    """Let this process train on its share of the threads that torch has, one at the least."""
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def size_of(model: nn.Module) -> int:
    """Count the parameters whose shapes are known; lazy layers learn theirs from their first batch."""
    return sum(p.numel() for p in model.parameters() if not isinstance(p, nn.UninitializedParameter))


@contextmanager
def sharing(threads: int) -> Iterator[None]:
    """Let so many threads share an operation for the length of a ``with`` block."""
    found = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(found)
