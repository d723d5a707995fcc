"""Runs of one batch of trials, recorded together: fetched at once, flushed by one thread, journalled on disk.

What MLflow does not have yet is in a journal beside the trials, so that a kill loses nothing: the next start of the
study sends it. A metric point keeps its time there, and MLflow stores the same point once.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.errors import TrackingError
from tradingbot_exp.runtime.process import identity, is_alive
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.writing.outbox.send import Record, send
from tradingbot_exp.tracking.writing.run import FLUSH_SECONDS, TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)

JOURNALS = "unsent-epochs-*.jsonl"

_current: ContextVar[RunBatch | None] = ContextVar("tradingbot_run_batch", default=None)


def current_batch() -> RunBatch | None:
    """Give the batch that is under way in this context."""
    return _current.get()


class RunBatch:
    """Takes over the recording of some runs from each of them.

    Parameters
    ----------
    folder : Path
        Where the journal is, while there is one.

    Attributes
    ----------
    fetched : dict of str to Run
        By id, the runs as they were when the batch began.
    """

    def __init__(self, folder: Path) -> None:
        self.fetched: dict[str, Run] = {}
        self._runs: list[TrackedRun] = []
        self._journal = folder / JOURNALS.replace("*", uuid.uuid4().hex[:12])
        self._written: dict[str, int] = {}
        self._over = threading.Event()

    def fetch(self, client: MlflowClient, experiment_id: str, parent_id: str) -> None:
        """Fetch the open children of a run, all in one query."""
        query = f"tags.`mlflow.parentRunId` = '{parent_id}' and attributes.status = 'RUNNING'"
        with wrapped("The runs of the study cannot be read"):
            token = None
            while True:
                page = client.search_runs([experiment_id], query, max_results=1000, page_token=token)
                self.fetched.update({run.info.run_id: run for run in page})
                token = page.token
                if not token:
                    return

    def add(self, run: TrackedRun) -> None:
        """Take over the recording of a run."""
        run.let_wait()
        self._runs.append(run)

    def note(self) -> None:
        """Write down what has been logged since the last call and is not in MLflow yet; called after each epoch."""
        new: dict[str, dict[str, Any]] = {}
        for run in self._runs:
            written = self._written.get(run.run_id, 0)
            content, self._written[run.run_id] = run.waiting(after=written)
            if content["metrics"]:  # what else there is is written with the first epoch
                new[run.run_id] = {"metrics": content["metrics"]} if written else content
        if not new:
            return
        try:
            fresh = not self._journal.exists()
            with self._journal.open("a", encoding="utf-8") as file:
                if fresh:
                    file.write(json.dumps({"owner": identity()}) + "\n")
                file.write(json.dumps(new) + "\n")
        except OSError as error:  # MLflow gets them in a few seconds
            log.warning("%s cannot be written: %s", self._journal, error)

    def flush_regularly(self) -> None:
        """Send what waits every few seconds until the batch is over; signs of life are the study's to give."""
        while not self._over.wait(FLUSH_SECONDS):
            for run in list(self._runs):
                if run.has_ended or self._over.is_set():
                    continue
                try:
                    run.flush()
                except TrackingError as error:
                    log.error("%s", error)

    def end(self) -> None:
        """Stop flushing; once all runs have ended, the journal is of no use any more."""
        self._over.set()
        if all(run.has_ended for run in self._runs):
            self._journal.unlink(missing_ok=True)


@contextmanager
def run_batch(folder: Path) -> Iterator[RunBatch]:
    """Record all runs that are taken over within the ``with`` block as one batch."""
    batch = RunBatch(folder)
    flusher = threading.Thread(target=batch.flush_regularly, name="mlflow-flush", daemon=True)
    token = _current.set(batch)
    flusher.start()
    try:
        yield batch
    finally:
        _current.reset(token)
        batch.end()
        flusher.join()


def dead_journals(folder: Path) -> dict[Path, list[dict[str, Any]]]:
    """Read the journals in `folder` whose process is gone."""
    found = {journal: _lines(journal) for journal in sorted(folder.glob(JOURNALS))}
    return {journal: lines for journal, lines in found.items() if lines and not is_alive(lines[0].get("owner", {}))}


def send_journals(folder: Path, client: MlflowClient) -> int:
    """Send what processes that were killed had written down in `folder`, and remove their journals.

    Returns
    -------
    int
        Runs that got something.

    Raises
    ------
    TrackingError
        MLflow does not take it; the journals stay.
    """
    sent = 0
    for journal, lines in dead_journals(folder).items():
        runs: dict[str, dict[str, Any]] = {}
        for line in lines[1:]:
            for run_id, new in line.items():
                content = runs.setdefault(run_id, {"metrics": []})
                runs[run_id] = {**content, **new, "metrics": content["metrics"] + new["metrics"]}
        sent += sum([_send(client, run_id, content) for run_id, content in runs.items()])
        journal.unlink(missing_ok=True)
    return sent


def _send(client: MlflowClient, run_id: str, content: dict[str, Any]) -> bool:
    """Send what a run lacks, if its process could not; give whether it did."""
    with wrapped(f"The epochs of the run {run_id} that a killed process left cannot be sent"):
        run = client.get_run(run_id)
        if run.info.lifecycle_stage != "active" or run.info.status not in ("RUNNING", "KILLED"):
            return False
        if run.info.status == "KILLED":  # as doctor closes it, with tags that are to stand
            content = {**content, "tags": {**content.get("tags", {}), **run.data.tags}}
        send(client, run_id, Record("batch", content))
    return True


def _lines(journal: Path) -> list[dict[str, Any]]:
    """Read a journal, up to a line that was cut off in writing; nothing of one that its process has just removed."""
    lines: list[dict[str, Any]] = []
    try:
        text = journal.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return lines
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
