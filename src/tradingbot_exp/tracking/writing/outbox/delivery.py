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
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.store.errors import reason
from tradingbot_exp.tracking.writing.outbox.send import Record, create_run, send
from tradingbot_exp.tracking.writing.outbox.unsent import ID_TAG, LOCK_FILE, SEND_COMMAND, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)


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
        creation["tags"] = {**creation["tags"], ID_TAG: local_id}
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
            replace_file(self._folder / "run.json", json.dumps({**header, **self._creation}))
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
