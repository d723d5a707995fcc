"""The MLflow runs of a study's trials: created, found again, closed, copied."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradingbot_exp.errors import TrainingError
from tradingbot_exp.runtime.process import is_alive, owner_of, signature
from tradingbot_exp.tracking.run_names import ENDED, INTERRUPTED, result_tags, trial_name
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.outbox.recorder import RECORDER
from tradingbot_exp.tracking.writing.outbox.send import Record, now_ms
from tradingbot_exp.tracking.writing.outbox.unsent import unsent_folder
from tradingbot_exp.tracking.writing.params_tags_metrics import tag_texts
from tradingbot_exp.tracking.writing.run import TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True)
class Child:
    """What a trial's run says about it.

    Attributes
    ----------
    run_id, status : str
    state : str
        ``running``, ``complete``, ``pruned``, ``failed`` or ``interrupted``.
    values : list of float or None
        The objectives, of a complete trial.
    owner : dict of str to str
        The process at work, see `tradingbot_exp.runtime.process`.
    """

    run_id: str
    status: str
    state: str
    values: list[float] | None
    owner: dict[str, str]

    @property
    def has_ended(self) -> bool:
        """Whether the run is closed."""
        return self.status in ENDED


class TrialRuns:
    """Creates and looks after the child runs of one study.

    Parameters
    ----------
    client : MlflowClient
    experiment_id, parent_id : str
    study : str
        The study's name.
    tags : mapping
        Tags of every child.
    """

    def __init__(
        self, client: MlflowClient, experiment_id: str, parent_id: str, study: str, tags: Mapping[str, Any]
    ) -> None:
        self._client, self._experiment_id, self.parent_id = client, experiment_id, parent_id
        self._study, self._tags = study, dict(tags)

    def create(self, number: int) -> str:
        """Open the run of a trial, and return its id."""
        tags = tag_texts(
            {
                **self._tags,
                **signature(),
                "mlflow.parentRunId": self.parent_id,
                "run.kind": "trial",
                "study.name": self._study,
                "trial.number": number,
                "trial.state": "running",
            }
        )
        with wrapped(f"The run of trial {number} cannot be created"):
            run = self._client.create_run(self._experiment_id, now_ms(), tags, trial_name(number))
        return str(run.info.run_id)

    @contextmanager
    def beating(self, run_ids: Sequence[str]) -> Iterator[None]:
        """Send signs of life of runs whose jobs wait for their turn, for the length of a ``with`` block.

        A job beats for itself once it has started; until then another host would take its process for dead.
        """
        RECORDER.beat(self._client, run_ids)
        try:
            yield
        finally:
            RECORDER.stop_beating(run_ids)

    def find(self, run_id: str | None, number: int) -> Child | None:
        """Look a trial's run up, by its id or, where the trial does not know it, by the trial's number."""
        with wrapped(f"The run of trial {number} cannot be read"):
            if run_id:
                return _child(self._client.get_run(run_id))
            query = f"tags.`mlflow.parentRunId` = '{self.parent_id}' and tags.`trial.number` = '{number}'"
            found = self._client.search_runs([self._experiment_id], query, max_results=1)
        return _child(found[0]) if found else None

    def close(self, child: Child) -> None:
        """Close the run of a process that died between its result and its end."""
        self._end(self._client.get_run(child.run_id), "FAILED" if child.state == "failed" else "FINISHED")

    def kill(self, run_id: str) -> None:
        """Close a run as KILLED, unless it has ended by itself."""
        run = self._open_run(run_id)
        if run is not None:
            is_trial = run.data.tags.get("run.kind") == "trial"
            self._end(run, "KILLED", {"trial.state": INTERRUPTED} if is_trial else {})

    def fail(self, run_id: str, error: BaseException) -> None:
        """Close a run as FAILED with its error, unless its job has: one that could not start leaves it open."""
        run = self._open_run(run_id)
        if run is None:
            return
        self._end(run, "FAILED", result_tags("failed"), error)

    def _open_run(self, run_id: str) -> Run | None:
        with wrapped(f"The run {run_id} cannot be read"):
            run = self._client.get_run(run_id)
        return None if run.info.status in ENDED else run

    def _end(
        self,
        run: Run,
        status: str,
        tags: Mapping[str, str] | None = None,
        error: BaseException | None = None,
        batch: Mapping[str, Any] | None = None,
    ) -> None:
        """Write into a run that has no process, and close it."""
        delivery = Delivery.attach(self._client, run, unsent_folder(), self._client.tracking_uri)
        delivery.training_started()  # how a trial ended is kept where it cannot be sent
        delivery.put(Record("batch", {**(batch or {}), "tags": tag_texts(tags or {})}))
        TrackedRun(delivery, run.info.run_name).end(status, error)

    def close_strays(
        self, at_work: Sequence[str], results: Mapping[str, tuple[str, Sequence[float] | None]] | None = None
    ) -> None:
        """Close runs that no trial under way has: their process died before it could sign or close them.

        Parameters
        ----------
        at_work : sequence of str
            Ids of the runs of trials that are under way.
        results : mapping of str to (str, sequence of float or None)
            Of the runs of trials that count, their state and values: a run is closed by them, else as KILLED.
        """
        query = f"tags.`mlflow.parentRunId` = '{self.parent_id}' and attributes.status = 'RUNNING'"
        with wrapped("The runs of the study cannot be read"):
            found = self._client.search_runs([self._experiment_id], query, max_results=1000)
        for run in found:
            child = _child(run)
            if child.run_id in at_work or is_alive(child.owner):
                continue
            state, values = (results or {}).get(child.run_id, (INTERRUPTED, None))
            if state == "failed":
                self.fail(child.run_id, TrainingError("its process ended before it could say why"))
            elif state == INTERRUPTED:
                self.kill(child.run_id)
            else:
                self._end(run, "FINISHED", result_tags(state, values))

    def copy_result(self, run_id: str, source_id: str, source_number: int, values: Sequence[float]) -> None:
        """Give a trial at a known point the result of the earlier one, and close it."""
        with wrapped(f"The result of trial {source_number} cannot be copied"):
            source = self._client.get_run(source_id)
            points = [
                [point.key, point.value, point.timestamp, point.step]
                for name in source.data.metrics
                for point in self._client.get_metric_history(source_id, name)
            ]
            params = {key: value for key, value in source.data.params.items() if key != "tracking.uri"}
            tags = {**result_tags("complete", values), "trial.duplicate_of": str(source_number)}
            batch = {"metrics": points, "params": params}
            self._end(self._client.get_run(run_id), "FINISHED", tags, batch=batch)


def _child(run: Run) -> Child:
    tags = run.data.tags
    values = json.loads(tags["trial.values"]) if "trial.values" in tags else None
    return Child(run.info.run_id, run.info.status, tags.get("trial.state", ""), values, owner_of(tags))
