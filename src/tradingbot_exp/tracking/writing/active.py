"""Which runs are open: those of organizers in this context, and MLflow's active run, which plain MLflow calls find.

While a run is MLflow's active one, ``mlflow.start_run()`` takes it up and ``mlflow.end_run()`` leaves it open: whoever
made it closes it. The address of another store is refused, and another experiment is not followed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.store.places import sqlite_path
from tradingbot_exp.tracking.store.store import GIVEN_URI

if TYPE_CHECKING:
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)

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


@dataclass(frozen=True, eq=False)
class _Active:
    """A run that plain MLflow calls find.

    Attributes
    ----------
    run : TrackedRun
    uri : str
        Its store's.
    entry : mlflow.ActiveRun or None
        On the stack of MLflow's active runs; None while MLflow does not know the run.
    stack : list
        That stack, of the thread that made the run active.
    lent : list of list
        Those of other threads that took the run up.
    """

    run: TrackedRun
    uri: str
    entry: Any
    stack: list[Any]
    lent: list[list[Any]] = field(default_factory=list)


_actives: list[_Active] = []  # the innermost last
_before: list[SimpleNamespace] = []  # MLflow's state and functions before the first of them, if there is one


@contextmanager
def mlflow_active(run: TrackedRun, uri: str) -> Iterator[None]:
    """Make `run` MLflow's active run for the length of a ``with`` block; put all back afterwards.

    Runs that were begun within the block and not ended are ended with it, as FAILED if it raises.
    """
    import mlflow
    from mlflow.tracking.fluent import _active_run_stack

    client, stack, status = run.delivery.client, _active_run_stack.get(), "FINISHED"
    entry = None
    if client is not None and run.delivery.failure is None:
        entry = mlflow.ActiveRun(client.get_run(run.run_id))
    active = _Active(run, uri, entry, stack)
    _actives.append(active)
    _steer()
    if entry is not None:
        stack.append(entry)
    try:
        yield
    except BaseException:
        status = "FAILED"
        raise
    finally:
        _end_begun(active, status)
        _actives.remove(active)
        _steer()


def _end_begun(active: _Active, status: str) -> None:
    """Take a run off the stack, and end what was begun above it; other active runs there stay."""
    from mlflow.tracking.fluent import run_id_to_system_metrics_monitor

    stack, others = active.stack, [each.entry for each in _actives if each is not active]
    ids = [each.info.run_id for each in stack]
    begun = stack[ids.index(active.run.run_id) :] if active.run.run_id in ids else []
    for each in active.lent:  # a thread may outlive the run
        each[:] = [entry for entry in each if entry.info.run_id != active.run.run_id]
    for each in begun:
        if each in others:
            continue
        stack.remove(each)
        if each.info.run_id != active.run.run_id:
            stack.append(each)
            _before[0].end_run(status)
    monitor = run_id_to_system_metrics_monitor.pop(active.run.run_id, None)
    if monitor is not None:
        monitor.finish()


def _steer() -> None:
    """Let MLflow's state and functions be those of the innermost active run, or what they were before the first."""
    import mlflow
    from mlflow.tracking import fluent

    if not _before:
        environment = os.environ.get("MLFLOW_TRACKING_URI")
        given = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
        uri = None if given == environment else given
        kept = {"uri": uri, "experiment_id": fluent._active_experiment_id}
        GIVEN_URI.append(environment)
        _before.append(SimpleNamespace(**kept, **{name: getattr(mlflow, name) for name in _OURS}))
    before = _before[0]
    before.set_tracking_uri(_actives[-1].uri if _actives else before.uri)  # None: as if never set
    experiment_id: Any = _actives[-1].run.delivery.experiment_id or None if _actives else before.experiment_id
    fluent._active_experiment_id = experiment_id
    for name, ours in _OURS.items():
        for module in (mlflow, mlflow.tracking, fluent):
            if hasattr(module, name):
                setattr(module, name, ours if _actives else getattr(before, name))
    if not _actives:
        environment = GIVEN_URI.pop()
        if environment is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = environment
        _before.clear()


def _mine(stack: list[Any]) -> _Active:
    """Return the run that is active for whoever has a stack; for a thread that was begun within one, the innermost."""
    by_id = {each.run.run_id: each for each in _actives}
    return next((by_id[each.info.run_id] for each in reversed(stack) if each.info.run_id in by_id), _actives[-1])


def _start_run(
    run_id: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    **named: Any,
) -> Any:
    """Take the active run up; begin a nested one, and refuse a second one, as MLflow does."""
    import mlflow
    from mlflow.tracking.fluent import _active_run_stack

    stack: list[Any] = _active_run_stack.get()
    active = _mine(stack)
    if active.entry is None:
        why = active.run.delivery.failure
        raise TrackingError(f"There is no run for mlflow to log to: {active.run.name} is not in MLflow ({why}).")
    _require_own(mlflow.get_tracking_uri(), active)
    is_another = nested or parent_run_id is not None or run_id not in (None, active.run.run_id)
    if is_another or (stack and stack[-1] is not active.entry):
        if nested and not stack:  # in a thread of its own, where MLflow knows no parent
            parent_run_id = parent_run_id or active.run.run_id
        return _before[0].start_run(run_id, experiment_id, run_name, nested, parent_run_id, **named)
    if experiment_id is not None:
        _say_experiment(active, str(experiment_id))
    below = stack[:-1]
    stack.clear()
    try:
        return _before[0].start_run(active.run.run_id, run_name=run_name, **named)
    finally:
        if stack is active.stack:
            stack[:] = [*below, *(stack or [active.entry])]
        else:
            active.lent.append(stack)


def _end_run(status: str = "FINISHED") -> None:
    """End a run that was begun within the active one, which itself stays open."""
    from mlflow.tracking.fluent import _active_run_stack

    stack: list[Any] = _active_run_stack.get()
    active, top = _mine(stack), stack[-1] if stack else None
    if top is None or top is active.entry:
        return
    _before[0].end_run(status)
    if top.info.run_id == active.run.run_id and active.run.delivery.client is not None:
        active.run.delivery.client.update_run(active.run.run_id, status="RUNNING")
        if stack is active.stack:
            stack.append(active.entry)


def _set_experiment(experiment_name: str | None = None, experiment_id: str | None = None, **named: Any) -> Any:
    """Return the active run's experiment, whichever is asked for."""
    import mlflow
    from mlflow.tracking.fluent import _active_run_stack

    active = _mine(_active_run_stack.get())
    if active.entry is None:
        return _before[0].set_experiment(experiment_name, experiment_id, **named)
    found = mlflow.MlflowClient().get_experiment(active.run.delivery.experiment_id)
    if experiment_name != found.name:
        _say_experiment(active, str(experiment_name if experiment_id is None else experiment_id))
    return found


def _say_experiment(active: _Active, given: str) -> None:
    if given != active.run.delivery.experiment_id:
        log.warning(
            "The experiment %s, which the program asks MLflow for, is not followed: the run %s is in another one "
            "already. To have it there, set experiment_name of the callback, or experiment.name.",
            given,
            active.run.name,
        )


def _set_tracking_uri(uri: str | Path) -> None:
    """Refuse another store than the innermost active run's."""
    _require_own(str(uri), _actives[-1])


def _require_own(uri: str, active: _Active) -> None:
    if _place(uri) != _place(active.uri):
        raise TrackingError(
            f"The program gives MLflow the address {redact(uri)}, and its run is in {redact(active.uri)} already: "
            "nothing is written to a second store. Set tracking_uri of the callback, or tracking.uri, in place of "
            "mlflow.set_tracking_uri; to read from another store, use MlflowClient(tracking_uri=...)."
        )


def _place(uri: str) -> str:
    path = sqlite_path(uri)
    return uri.rstrip("/") if path is None else str(path.resolve())


def _while_active(ours: Callable[..., Any]) -> Callable[..., Any]:
    """Leave a call to MLflow where no run is active any more: a program may keep what it imported within a job."""

    @wraps(ours)
    def call(*arguments: Any, **named: Any) -> Any:
        import mlflow

        return (ours if _actives else getattr(mlflow, ours.__name__[1:]))(*arguments, **named)

    return call


_OURS = {each.__name__[1:]: _while_active(each) for each in (_start_run, _end_run, _set_experiment, _set_tracking_uri)}
