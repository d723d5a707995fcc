"""Records: every write about a run, as plain values, and its sending to MLflow, which may be repeated.

Sending a record twice changes nothing: metric points are stored once, params, tags and artifacts are overwritten with
themselves.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradingbot_exp.tracking.run_names import ENDED

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's limits for one batch.
MAX_METRICS, MAX_PARAMS, MAX_TAGS = 1000, 100, 100


@dataclass(frozen=True)
class Record:
    """One write about a run: its kind and what MLflow's client needs for it, as plain JSON values."""

    kind: str
    content: dict[str, Any]


def is_record(kind: object, content: dict[str, Any]) -> bool:
    """Tell whether what was read from a file is a record as this package writes it."""
    if kind == "batch":
        points = content.get("metrics", [])
        texts = [*content.get("params", {}).items(), *content.get("tags", {}).items()]
        well = [[type(part) for part in point] == [str, float, int, int] for point in points]
        return all([*well, *(isinstance(part, str) for pair in texts for part in pair)])
    if kind in ("artifact", "artifacts"):
        return isinstance(content["file"], str) and isinstance(content["folder"], str)
    if kind == "input":
        return isinstance(content["dataset"], dict) and isinstance(content["context"], str)
    return kind == "end" and content["status"] in ENDED and isinstance(content["time"], int)


def merged(records: Iterable[tuple[Record, int]]) -> Iterator[tuple[Record, int]]:
    """Join batches that follow each other, up to the points that MLflow takes at once; each goes with its number."""
    joined: Record | None = None
    last = 0
    for record, number in records:
        if joined is not None and (record.kind != "batch" or len(joined.content["metrics"]) >= MAX_METRICS):
            yield joined, last
            joined = None
        if record.kind != "batch":
            yield record, number
            continue
        if joined is None:
            joined = Record("batch", {"metrics": [], "params": {}, "tags": {}})
        joined.content["metrics"] += record.content.get("metrics", [])
        for part in ("params", "tags"):
            joined.content[part] |= record.content.get(part, {})
        last = number
    if joined is not None:
        yield joined, last


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


def now_ms() -> int:
    """Return the present time in MLflow's unit, milliseconds since 1970."""
    return time.time_ns() // 1_000_000
