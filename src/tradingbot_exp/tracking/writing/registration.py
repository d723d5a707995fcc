"""The model of a winner, registered from the run that is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.store.registry import TAG, log, register_model

if TYPE_CHECKING:
    from tradingbot_exp.tracking.writing.run import TrackedRun


def register_winner(run: TrackedRun, name: str | None, run_id: str, on_error: str) -> str | None:
    """Register the model of the run `run_id`, if there is a name for it, and tag `run` with its address.

    Returns
    -------
    str or None
        ``models:/NAME/VERSION``; None if it is not registered.

    Raises
    ------
    TrackingError
        It cannot be registered, and `on_error` is ``raise``; else a warning says so.
    """
    if name is None:
        return None
    try:
        if run.delivery.failure is not None or run.delivery.client is None:
            raise TrackingError(
                f"tracking.register={name}: the model of the run {run.name} is not registered, since its records "
                "wait on disk. Once they are sent, register it in MLflow."
            )
        address = register_model(run.delivery.client, name, run_id)
    except TrackingError as error:
        if on_error == "raise" and run.delivery.failure is None:
            raise
        log.warning("%s", error)
        return None
    run.set_tags({TAG: address})
    return address
