"""That a run's model forecast bars is kept on the run: whoever saw such forecasts has looked at these dates."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tradingbot_exp.tracking.store.errors import wrapped

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tradingbot_exp.data.identity import Span

PREDICTED = "predicted"
"""Tag: of each instrument the first and the last bar that was forecast, and how often, as JSON."""


def predictions_of(tags: Mapping[str, str]) -> dict[str, tuple[str, str, int]]:
    """Read the tag; what is not as this package writes it is left out."""
    found = {}
    with contextlib.suppress(ValueError, AttributeError):
        for instrument, entry in json.loads(tags.get(PREDICTED, "{}")).items():
            with contextlib.suppress(ValueError, TypeError):
                start, end, times = entry
                found[str(instrument)] = (str(start), str(end), int(times))
    return found


def note_prediction(client: MlflowClient, run_id: str, instrument: str, dates: Span) -> None:
    """Keep that a run's model forecast bars of an instrument, joined to what is kept of it.

    Raises
    ------
    TrackingError
        The store cannot be written.
    """
    with wrapped(f"The forecasts cannot be kept on record in the run {run_id}"):
        known = predictions_of(client.get_run(run_id).data.tags)
        start, end, times = known.get(instrument, (*dates, 0))
        known[instrument] = (min(start, dates[0]), max(end, dates[1]), times + 1)
        client.set_tag(run_id, PREDICTED, json.dumps(known))
