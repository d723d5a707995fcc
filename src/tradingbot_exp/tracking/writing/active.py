"""Which runs are open: those of organizers in this context, and MLflow's active run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradingbot_exp.tracking.writing.run import TrackedRun

_open_runs: ContextVar[tuple[TrackedRun, ...]] = ContextVar("tradingbot_open_runs", default=())


def enter(run: TrackedRun) -> None:
    """Make a run the innermost one of this context."""
    _open_runs.set((*_open_runs.get(), run))


def leave(run: TrackedRun) -> None:
    """Take a run out of those that are open in this context, wherever it stands among them."""
    _open_runs.set(tuple(other for other in _open_runs.get() if other is not run))


def current_run() -> TrackedRun | None:
    """Return the innermost run that an organizer has open in this context."""
    runs = _open_runs.get()
    return runs[-1] if runs else None


@contextmanager
def mlflow_active(run: TrackedRun, uri: str) -> Iterator[None]:
    """Make `run` MLflow's active run, so that a plain `mlflow.log_metric` lands in it; put all back afterwards."""
    if run.delivery.client is None or run.delivery.failure is not None:
        yield
        return
    import mlflow
    from mlflow.tracking.fluent import _active_run_stack

    active = mlflow.ActiveRun(run.delivery.client.get_run(run.run_id))
    environment = os.environ.get("MLFLOW_TRACKING_URI")
    set_before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    before = None if set_before == environment else set_before
    mlflow.set_tracking_uri(uri)
    stack = _active_run_stack.get()
    stack.append(active)
    try:
        yield
    finally:
        if active in stack:
            stack.remove(active)
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None: as if never set
        if environment is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = environment
