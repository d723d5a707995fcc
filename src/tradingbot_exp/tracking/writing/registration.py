"""The model of a winner, registered from the run that is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.store.registry import CANDIDATE, CHAMPION, TAG, log, promote, register_model

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import TrackingConfig
    from tradingbot_exp.tracking.writing.run import TrackedRun


def first_alias(tracking: TrackingConfig) -> str:
    """Return the alias under which a model is registered, before anything is known of it."""
    return CHAMPION if tracking.champion == "any" else CANDIDATE


def register_winner(run: TrackedRun, tracking: TrackingConfig, run_id: str) -> str | None:
    """Register the model of the run `run_id`, if there is a name for it, and tag `run` with its address.

    It is a candidate, until `promote_winner`; with `tracking.champion` ``any`` it is the champion at once.

    Returns
    -------
    str or None
        ``models:/NAME/VERSION``; None if it is not registered.

    Raises
    ------
    TrackingError
        It cannot be registered, and `tracking.on_error` is ``raise``; else a warning says so.
    """
    name = tracking.register
    if name is None:
        return None
    try:
        if run.delivery.failure is not None or run.delivery.client is None:
            raise TrackingError(
                f"tracking.register={name}: the model of the run {run.name} is not registered, since its records "
                "wait on disk. Once they are sent, register it in MLflow."
            )
        address = register_model(run.delivery.client, name, run_id, first_alias(tracking))
    except TrackingError as error:
        _raise_or_warn(run, tracking, error)
        return None
    run.set_tags({TAG: address})
    return address


def promote_winner(run: TrackedRun, tracking: TrackingConfig, address: str) -> None:
    """Make a registered winner the champion, now that it is shown to be real; see `register_winner` for errors."""
    if tracking.champion == "any" or run.delivery.client is None:
        return
    try:
        promote(run.delivery.client, address)
    except TrackingError as error:
        _raise_or_warn(run, tracking, error)


def _raise_or_warn(run: TrackedRun, tracking: TrackingConfig, error: TrackingError) -> None:
    if tracking.on_error == "raise" and run.delivery.failure is None:
        raise error
    log.warning("%s", error)
