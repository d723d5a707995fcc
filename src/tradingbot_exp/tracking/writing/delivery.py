"""Delivery of a run's records to MLflow, and their safekeeping on disk while MLflow cannot take them.

Every write about a run is a `Record`, so that it can be sent now or, after an outage, later and in order.
Sending a record twice changes nothing: metric points are stored once, params, tags and artifacts are
overwritten with themselves.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from tradingbot_exp.config.redaction import MASK, redact
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.store.errors import reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient
    from mlflow.entities import Run, RunInfo

log = logging.getLogger(__name__)

# MLflow's limits for one batch.
MAX_METRICS, MAX_PARAMS, MAX_TAGS = 1000, 100, 100
UNSENT_DIR = Path(".tradingbot") / "unsent"
SEND_COMMAND = "python -m tradingbot_exp doctor --fix"
LOCK_FILE = "in-use.lock"
_ID_TAG = "tradingbot.local_id"


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
        from mlflow.entities import Dataset, DatasetInput, InputTag

        tags = [InputTag("mlflow.data.context", content["context"])]
        client.log_inputs(run_id, datasets=[DatasetInput(Dataset(**content["dataset"]), tags)])
    elif record.kind == "end":
        client.set_terminated(run_id, content["status"], content["time"])
    else:
        raise ValueError(f"unknown record {record.kind!r}")


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


class Delivery:
    """Sends the records of one run, or keeps them on disk from the first failure on.

    Parameters
    ----------
    connect : callable
        Gives the client and the id of the experiment; called once.
    creation : dict
        Content of the ``create`` record: `name`, `tags`, `start_time` in milliseconds, `experiment`.
    unsent : Path
        Folder under which records are kept during an outage.
    on_error : {"raise", "offline"}
        Whether a failure before training has started is raised. Once `training_started` was called,
        records are kept on disk in both cases, and only the process's exit status differs.

    Attributes
    ----------
    uri : str
        The store's, with any credentials.
    run_id : str
        The run's id in MLflow, or ``unsent-…`` while MLflow does not know the run.
    found : Run or None
        The run as it was when it was attached to.
    failure : str or None
        Why records are kept on disk, once they are.
    """

    def __init__(
        self,
        connect: Callable[[], tuple[MlflowClient, str]],
        creation: dict[str, Any],
        unsent: Path,
        on_error: str,
    ) -> None:
        self.client: MlflowClient | None = None
        self.experiment_id = ""
        self.artifact_uri = ""
        self.found: Run | None = None
        self.failure: str | None = None
        self._lock: FileLock | None = None
        self._on_error = on_error
        self._started = False
        self.uri = creation.pop("uri")
        self._creation = creation
        local_id = uuid.uuid4().hex
        self._folder = unsent / local_id
        self.run_id = f"unsent-{local_id[:12]}"
        creation["tags"] = {**creation["tags"], _ID_TAG: local_id}
        try:
            self.client, self.experiment_id = connect()
            info = create_run(self.client, self.experiment_id, creation)
            self.run_id, self.artifact_uri = info.run_id, info.artifact_uri
        except Exception as error:
            self._keep_from_now_on(error)

    @classmethod
    def attach(cls, client: MlflowClient, run_id: str, unsent: Path, uri: str, found: Run | None = None) -> Delivery:
        """Deliver to a run that somebody else created, and that may have been fetched; failures are raised."""
        self = cls.__new__(cls)
        self.client, self.run_id, self.failure, self._lock = client, run_id, None, None
        self.found = client.get_run(run_id) if found is None else found
        self.experiment_id, self.artifact_uri = self.found.info.experiment_id, self.found.info.artifact_uri
        self._on_error, self._started, self.uri, self._creation = "raise", False, uri, {}
        self._folder = unsent / run_id
        return self

    @property
    def unsent_folder(self) -> Path:
        """Where records are kept while MLflow cannot take them."""
        return self._folder

    def training_started(self) -> None:
        """From now on, a failure to send costs no training: records are kept instead."""
        self._started = True

    def put(self, record: Record) -> None:
        """Send a record, or keep it.

        Raises
        ------
        TrackingError
            It can neither be sent nor, by the user's wish or for lack of space, be kept.
        """
        if self.failure is None and self.client is not None:
            try:
                send(self.client, self.run_id, record)
                return
            except Exception as error:
                self._keep_from_now_on(error)
        self._keep(record)
        if record.kind == "end" and self._lock is not None:
            self._lock.release()

    def _keep_from_now_on(self, error: Exception) -> None:
        why = reason(error)
        if self._on_error == "raise" and not self._started:
            if isinstance(error, TrackingError):
                raise error
            raise TrackingError(f"The run cannot be recorded in {redact(self.uri)}: {why}") from error
        self.failure = why
        known = not self.run_id.startswith("unsent-")
        header = {
            "run_id": self.run_id if known else None,
            "uri": redact(self.uri),
            "on_error": self._on_error,
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Held while records are still being added, so that nobody sends and removes them meanwhile.
            self._lock = FileLock(self._folder / LOCK_FILE)
            self._lock.acquire()
            _replace(self._folder / "run.json", json.dumps({**header, **self._creation}))
        except OSError as full:
            raise TrackingError(f"Records can neither be sent ({why}) nor kept in {self._folder}: {full}") from full
        log.warning(
            "MLflow does not take records (%s). They are kept in %s from now on; training goes on. "
            "Send them later with: %s",
            why,
            self._folder,
            SEND_COMMAND,
        )

    def _keep(self, record: Record) -> None:
        content = dict(record.content)
        try:
            if record.kind in ("artifact", "artifacts"):
                content["file"] = str(self._keep_file(Path(content["file"])))
            with (self._folder / "records.jsonl").open("a", encoding="utf-8") as journal:
                journal.write(json.dumps({"kind": record.kind, **content}) + "\n")
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            raise TrackingError(f"Records can neither be sent ({self.failure}) nor kept: {error}") from error

    def _keep_file(self, source: Path) -> Path:
        kept = Path("files") / uuid.uuid4().hex[:8] / source.name
        target = self._folder / kept
        target.parent.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
        return kept


def _header(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrackingError(f"{folder / 'run.json'} cannot be read: {error}") from error
    return found


def unsent_runs(root: Path, since: float = 0.0) -> list[Path]:
    """List the folders below `root` in which records wait, oldest first; only those begun after `since` (epoch s)."""
    begun = {path.parent: path.stat().st_mtime for path in (root / UNSENT_DIR).glob("*/run.json")}
    return sorted((folder for folder in begun if begun[folder] >= since), key=lambda folder: begun[folder])


def waiting_run_id(folder: Path) -> str | None:
    """Give the run that records in `folder` are of; None if MLflow does not know it yet."""
    found: str | None = _header(folder)["run_id"]
    return found


def must_fail(folder: Path) -> bool:
    """Tell whether records waiting in `folder` make the command's exit status an error."""
    return bool(_header(folder)["on_error"] == "raise")


def send_unsent(folder: Path, client: MlflowClient, open_experiment: Callable[[str], str]) -> tuple[str, int]:
    """Send the records kept in `folder`, in order, and remove the folder; may be interrupted and repeated.

    Parameters
    ----------
    folder : Path
        One of `unsent_runs`.
    client : MlflowClient
        Client of the store that is to have them.
    open_experiment : callable
        Gives the id of an experiment by its name.

    Returns
    -------
    tuple of (str, int)
        The run's id and the number of records sent.

    Raises
    ------
    TrackingError
        A living process still adds records.
    """
    try:
        with FileLock(folder / LOCK_FILE, timeout=0):
            return _send_all(folder, client, open_experiment)
    except Timeout as error:
        raise TrackingError("their run is still going on; send them when it has ended") from error


def stored_uri(folder: Path) -> str | None:
    """Give the address of the store that records in `folder` belong to; None if a password in it was masked."""
    uri = str(_header(folder)["uri"])
    return None if MASK in uri else uri


def _send_all(folder: Path, client: MlflowClient, open_experiment: Callable[[str], str]) -> tuple[str, int]:
    header_file = folder / "run.json"
    header = _header(folder)
    if header["run_id"] is None:
        experiment_id = open_experiment(header["experiment"])
        local_id = header["tags"][_ID_TAG]
        made = client.search_runs([experiment_id], f"tags.`{_ID_TAG}` = '{local_id}'", max_results=1)
        header["run_id"] = made[0].info.run_id if made else create_run(client, experiment_id, header).run_id
        _replace(header_file, json.dumps(header))
    journal = folder / "records.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    sent = 0
    for line in lines:
        try:
            content = json.loads(line)
        except json.JSONDecodeError:
            log.warning("%s: a record that was cut off in writing is left out", journal)
            continue
        if "file" in content:
            content["file"] = str(folder / content["file"])
        send(client, header["run_id"], Record(content.pop("kind"), content))
        sent += 1
    header_file.unlink()  # from here on the folder counts as sent, should its removal be interrupted
    shutil.rmtree(folder)
    return header["run_id"], sent


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def now_ms() -> int:
    """Give the present time in MLflow's unit, milliseconds since 1970."""
    return time.time_ns() // 1_000_000
