"""Python's garbage collector, where there is much to look at and little to collect.

Commands end soon: over the millions of objects that the imports of torch, MLflow and pandas make, its rounds
take a quarter of the imports' time, and its last ones, at the end of the process, as long again.
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Containers made and not yet freed, from which a round follows: 700 by default.
ALLOCATIONS = 100_000


def collect_seldom() -> None:
    """Let the collector work seldom in this process, and not at its end; for commands, which own theirs."""
    gc.set_threshold(ALLOCATIONS, 50, 50)
    atexit.register(gc.freeze)


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from its rounds: over what MLflow makes of 1,000 runs they take twice the reading."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
