"""Where runs are filed, by whom: what an organizer reads of a configuration, and what it says of this process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Protocol

from tradingbot_exp.config.redaction import as_written
from tradingbot_exp.runtime.process import identity, user_name


class _Names(Protocol):
    name: str
    run_name: str | None
    description: str | None
    tags: dict[str, Any]


class _Place(Protocol):
    uri: str
    on_error: str


class Organized(Protocol):
    """What an organizer reads of a configuration: `experiment` and `tracking`."""

    @property
    def experiment(self) -> _Names:
        """Names under which runs are filed."""

    @property
    def tracking(self) -> _Place:
        """The store."""


def user_tags(experiment: _Names) -> dict[str, Any]:
    """Return the tags that a configuration gives its runs; what came from an environment variable is kept as that."""
    return {name: as_written(f"experiment.tags.{name}", value) for name, value in experiment.tags.items()}


def origin_tags() -> dict[str, Any]:
    """Say who made a run, and which process, so that a dead one can be told from a living one."""
    main = sys.modules.get("__main__")
    module = getattr(getattr(main, "__spec__", None), "name", None)
    return {
        "mlflow.user": user_name(),
        "mlflow.source.name": module or Path(sys.argv[0] or "interactive").name,
        "mlflow.source.type": "LOCAL",
        **identity(),
    }
