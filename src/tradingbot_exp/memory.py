"""Python's garbage collector in the commands of this package, which end before there is much to collect.

Over the millions of objects that the imports of torch, MLflow and scikit-learn make, its rounds take a quarter of the
imports' time, and its last ones, at the end of the process, as long again.
"""

from __future__ import annotations

import atexit
import gc
from functools import cache
from weakref import WeakSet

# Containers made and not yet freed, from which a round follows: 700 by default.
ALLOCATIONS = 100_000


def collect_seldom() -> None:
    """Let the garbage collector work seldom, and not at the end of the process."""
    gc.set_threshold(ALLOCATIONS, 50, 50)
    atexit.register(gc.freeze)


@cache
def close_databases_at_exit() -> None:
    """Close SQLite databases that SQLAlchemy opens from now on; what one wrote ahead gets into its file then."""
    from sqlalchemy import Connection, Engine, event

    engines: WeakSet[Engine] = WeakSet()

    @event.listens_for(Engine, "engine_connect")
    def remember(connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            engines.add(connection.engine)

    @atexit.register
    def close() -> None:
        for engine in list(engines):
            engine.dispose()
