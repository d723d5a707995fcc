"""The MLflow runs of a study's trials: created, found again, closed, copied."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrainingError
from tradingbot_exp.runtime.process import is_alive, signature
from tradingbot_exp.tracking.run_names import result_tags, trial_name
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.writing.outbox.send import Record, now_ms, send
from tradingbot_exp.tracking.writing.params_tags_metrics import tag_texts
from tradingbot_exp.tracking.writing.run import HEARTBEAT_SECONDS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ENDED = ("FINISHED", "FAILED", "KILLED")
# A result that is in the run: the job wrote the tag after all its metrics.
KNOWN = ("complete", "pruned", "failed")
TRACEBACK = "error/traceback.txt"


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


class Children:
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
        """Open the run of a trial and give its id."""
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
        """Give a sign of life for runs whose jobs wait for their turn, for the length of a ``with`` block.

        A job beats for itself once it has started; until then another host would take its process for dead.
        """
        over = threading.Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT_SECONDS):
                for run_id in run_ids:
                    with suppress(Exception):  # the next beat comes soon
                        self._client.set_tag(run_id, "process.heartbeat", f"{time.time():.0f}")

        beater = threading.Thread(target=beat, name="study-heartbeat", daemon=True)
        beater.start()
        try:
            yield
        finally:
            over.set()
            beater.join()

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
        self._client.set_terminated(child.run_id, "FAILED" if child.state == "failed" else "FINISHED", now_ms())

    def kill(self, run_id: str) -> None:
        """Close a run as KILLED, unless it has ended by itself."""
        with wrapped(f"The run {run_id} cannot be closed"):
            if self._client.get_run(run_id).info.status in ENDED:
                return
            self._client.set_tag(run_id, "trial.state", "interrupted")
            self._client.set_terminated(run_id, "KILLED", now_ms())

    def fail(self, run_id: str, error: BaseException) -> None:
        """Close a run as FAILED with its error, unless its job has: one that could not start leaves it open."""
        with wrapped(f"The run {run_id} cannot be closed"):
            if self._client.get_run(run_id).info.status in ENDED:
                return
            tags = tag_texts({"error": f"{type(error).__name__}: {error}", **result_tags("failed")})
            send(self._client, run_id, Record("batch", {"tags": tags}))
            self._client.log_text(run_id, redact("".join(traceback.format_exception(error))), TRACEBACK)
            self._client.set_terminated(run_id, "FAILED", now_ms())

    def kill_strays(self, at_work: Sequence[str], failed: Sequence[str] = ()) -> None:
        """Close runs that no trial under way has: their process died before it could sign or close them.

        Parameters
        ----------
        at_work, failed : sequence of str
            Ids of the runs of trials that are under way, and that failed.
        """
        query = f"tags.`mlflow.parentRunId` = '{self.parent_id}' and attributes.status = 'RUNNING'"
        with wrapped("The runs of the study cannot be read"):
            for run in self._client.search_runs([self._experiment_id], query, max_results=1000):
                child = _child(run)
                if child.run_id in at_work or is_alive(child.owner):
                    continue
                if child.run_id in failed:
                    self.fail(child.run_id, TrainingError("its process ended before it could say why"))
                else:
                    self.kill(child.run_id)

    def copy_result(self, run_id: str, source_id: str, source_number: int, values: Sequence[float]) -> None:
        """Give a trial at a known point the result of the earlier one, and close it."""
        with wrapped(f"The result of trial {source_number} cannot be copied"):
            source = self._client.get_run(source_id)
            points = [
                [point.key, point.value, point.timestamp, point.step]
                for name in source.data.metrics
                for point in self._client.get_metric_history(source_id, name)
            ]
            tags = {
                "trial.state": "complete",
                "trial.values": json.dumps(list(values)),
                "trial.duplicate_of": str(source_number),
            }
            params = {key: value for key, value in source.data.params.items() if key != "tracking.uri"}
            send(self._client, run_id, Record("batch", {"metrics": points, "params": params, "tags": tags}))
            self._client.set_terminated(run_id, "FINISHED", now_ms())


def _child(run: Run) -> Child:
    tags = run.data.tags
    values = json.loads(tags["trial.values"]) if "trial.values" in tags else None
    owner = {name: value for name, value in tags.items() if name.startswith("process.")}
    return Child(run.info.run_id, run.info.status, tags.get("trial.state", ""), values, owner)
