"""Runs of one batch of trials, recorded together: fetched at once, and waited for once, at the batch's end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.writing.outbox.recorder import RECORDER

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
    from tradingbot_exp.tracking.writing.run import TrackedRun

_current: ContextVar[RunBatch | None] = ContextVar("tradingbot_run_batch", default=None)


def current_batch() -> RunBatch | None:
    """Return the batch that is under way in this context."""
    return _current.get()


class RunBatch:
    """Some runs whose records are sent beside their training, while nobody waits for each.

    Attributes
    ----------
    fetched : dict of str to Run
        By id, the runs as they were when the batch began.
    """

    def __init__(self) -> None:
        self.fetched: dict[str, Run] = {}
        self._deliveries: list[Delivery] = []

    def fetch(self, client: MlflowClient, experiment_id: str, parent_id: str) -> None:
        """Fetch the newest open children of a run, in one query."""
        query = f"tags.`mlflow.parentRunId` = '{parent_id}' and attributes.status = 'RUNNING'"
        with wrapped("The runs of the study cannot be read"):
            found = client.search_runs([experiment_id], query, max_results=1000)
        self.fetched.update({run.info.run_id: run for run in found})  # what is not there is fetched alone

    def add(self, run: TrackedRun) -> None:
        """Let a run be waited for at the end of the batch."""
        run.is_batched = True
        self._deliveries.append(run.delivery)

    def end(self) -> None:
        """Wait until MLflow has the records of all runs, but for an outage."""
        RECORDER.wait(self._deliveries)


@contextmanager
def run_batch() -> Iterator[RunBatch]:
    """Record all runs that are taken over within the ``with`` block as one batch."""
    batch = RunBatch()
    token = _current.set(batch)
    try:
        yield batch
    finally:
        _current.reset(token)
        batch.end()
