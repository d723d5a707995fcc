"""Sending to MLflow: every write about a run is a record, which may be sent twice."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo

# MLflow's limits for one batch.
MAX_METRICS, MAX_PARAMS, MAX_TAGS = 1000, 100, 100


@dataclass(frozen=True)
class Record:
    """One write about a run: its kind and what MLflow's client needs for it, as plain JSON values."""

    kind: str
    content: dict[str, Any]


def send(client: MlflowClient, run_id: str, record: Record) -> None:
    """Send one record of an existing run.

    Raises
    ------
    Exception
        Whatever MLflow's client raises.
    """
    content = record.content
    if record.kind == "batch":
        _send_batch(client, run_id, content)
    elif record.kind == "artifact":
        client.log_artifact(run_id, content["file"], content["folder"] or None)
    elif record.kind == "artifacts":
        client.log_artifacts(run_id, content["file"], content["folder"] or None)
    elif record.kind == "input":
        _send_input(client, run_id, content)
    elif record.kind == "end":
        client.set_terminated(run_id, content["status"], content["time"])
    else:
        raise ValueError(f"unknown record {record.kind!r}")


def _send_input(client: MlflowClient, run_id: str, content: dict[str, Any]) -> None:
    """Log a dataset; again if another process was as fast with the same one, which MLflow keeps once an experiment."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.exceptions import MlflowException

    given = DatasetInput(Dataset(**content["dataset"]), [InputTag("mlflow.data.context", content["context"])])
    try:
        client.log_inputs(run_id, datasets=[given])
    except MlflowException as error:
        if "unique constraint" not in str(error).lower():
            raise
        client.log_inputs(run_id, datasets=[given])


def _send_batch(client: MlflowClient, run_id: str, content: dict[str, Any]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    metrics = [Metric(*point) for point in content.get("metrics", [])]
    params = [Param(*pair) for pair in content.get("params", {}).items()]
    tags = [RunTag(*pair) for pair in content.get("tags", {}).items()]
    while metrics or params or tags:
        # Tags come last: one that says how a run ended stands for all of it.
        last = len(metrics) <= MAX_METRICS and len(params) <= MAX_PARAMS
        now = tags[:MAX_TAGS] if last else []
        client.log_batch(run_id, metrics[:MAX_METRICS], params[:MAX_PARAMS], now, synchronous=True)
        metrics, params, tags = metrics[MAX_METRICS:], params[MAX_PARAMS:], tags[len(now) :]


def create_run(client: MlflowClient, experiment_id: str, content: dict[str, Any]) -> RunInfo:
    """Create a run in the store: its `start_time` in milliseconds, `tags` and `name`."""
    run = client.create_run(experiment_id, content["start_time"], content["tags"], content["name"])
    info: RunInfo = run.info
    return info


def now_ms() -> int:
    """Give the present time in MLflow's unit, milliseconds since 1970."""
    return time.time_ns() // 1_000_000
