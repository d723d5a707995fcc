"""Delivery of one run's records: into its journal, and from there to MLflow, now or after an outage."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.runtime.process import identity
from tradingbot_exp.tracking.store.errors import reason
from tradingbot_exp.tracking.store.patience import Client, Outage
from tradingbot_exp.tracking.store.places import require_inside
from tradingbot_exp.tracking.writing.outbox.journal import Journal
from tradingbot_exp.tracking.writing.outbox.recorder import RECORDER
from tradingbot_exp.tracking.writing.outbox.send import Record
from tradingbot_exp.tracking.writing.outbox.unsent import ID_TAG, send_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)


class Delivery:
    """Sends the records of a run as long as MLflow takes them; else they stay in the journal.

    Parameters
    ----------
    uri : str
        The store's, with any credentials.
    folder : Path
        The journal's.
    on_error : {"raise", "offline"}
        Whether a failure before training has started is raised. Once `training_started` was called,
        records are kept on disk in both cases, and only the process's exit status differs.

    Attributes
    ----------
    uri : str
        As given.
    client : MlflowClient or None
        None while the store was never reached.
    run_id : str
        The run's id in MLflow, or ``unsent-…`` while MLflow does not know the run.
    experiment_id, artifact_uri : str
    found : Run or None
        The run as it was before, if somebody else created it.
    failure : str or None
        Why nothing more is sent.
    outage : Outage
        Whether the store answers.
    has_ended : bool
        Whether the last record was put.
    """

    def __init__(self, uri: str, folder: Path, on_error: str) -> None:
        self.uri = uri
        self.client: MlflowClient | None = None
        self.found: Run | None = None
        self.failure: str | None = None
        self.run_id = self.experiment_id = self.artifact_uri = ""
        self.outage = Outage(redact(uri))
        self.has_ended = False
        self._journal = Journal(folder)
        place = {"uri": redact(uri), "folder": str(folder.absolute())}
        self._journal.header |= {"run_id": None, **place, "on_error": on_error, "owner": identity()}
        self._on_error, self._started = on_error, False
        self._refusal: Exception | None = None
        self._writing = threading.RLock()

    @classmethod
    def create(
        cls, connect: Callable[[], tuple[MlflowClient, str]], creation: dict[str, Any], unsent: Path, on_error: str
    ) -> Delivery:
        """Create a run with a `name`, `tags`, `start_time` (ms), `experiment` and `uri`; journals are in `unsent`."""
        local_id = uuid.uuid4().hex
        tags = {**creation["tags"], ID_TAG: local_id}
        self = cls(creation["uri"], unsent / local_id, on_error)
        self._journal.header |= {**creation, "tags": tags, "uri": redact(self.uri)}
        self.run_id = f"unsent-{local_id[:12]}"
        try:
            client, self.experiment_id = connect()
            self._use(client)
            run = client.create_run(self.experiment_id, creation["start_time"], tags, creation["name"])
            self.run_id, self.artifact_uri = run.info.run_id, run.info.artifact_uri
            self._journal.header["run_id"] = self.run_id
        except Exception as error:
            if self._must_raise:
                raise self._error(error) from error
            self._keep_from_now_on(error)
        return self

    @classmethod
    def attach(cls, client: MlflowClient, run: Run, unsent: Path, uri: str) -> Delivery:
        """Deliver to a run that somebody else created; failures are raised."""
        info = run.info
        self = cls(uri, unsent / f"{info.run_id[:12]}-{uuid.uuid4().hex[:8]}", "raise")
        self._use(client)
        self.found = run
        self.run_id = self._journal.header["run_id"] = info.run_id
        self.experiment_id, self.artifact_uri = info.experiment_id, info.artifact_uri
        return self

    def _use(self, client: MlflowClient) -> None:
        self.client = client
        if isinstance(client, Client):
            self.outage = client.outage or self.outage
            client.settle = partial(RECORDER.settle, self.outage)

    @property
    def unsent_folder(self) -> Path:
        """Where the journal is."""
        return self._journal.folder

    @property
    def is_waiting(self) -> bool:
        """Whether there are records that MLflow lacks and that are being sent."""
        return self._journal.is_waiting and self.failure is None and self._refusal is None

    @property
    def is_done(self) -> bool:
        """Whether nothing more is going to be sent."""
        return self.failure is not None or (self.has_ended and not self._journal.is_waiting)

    def training_started(self) -> None:
        """From now on, a failure to send costs no training: records are kept instead."""
        self._started, self._refusal = True, None

    @property
    def _must_raise(self) -> bool:
        return self._on_error == "raise" and not self._started

    def put(self, record: Record) -> None:
        """Write a record down, to be sent soon.

        Raises
        ------
        TrackingError
            It cannot be kept, for lack of space for example.
        """
        with self._writing:
            try:
                self._journal.append(record)
            except OSError as error:
                raise TrackingError(f"Records cannot be kept in {self._journal.folder}: {error}") from error
            if record.kind == "end":
                self.has_ended = True
        if self.failure is None:
            RECORDER.add(self)
        elif self.has_ended:
            self._journal.release()

    def settle(self, patiently: bool = False) -> None:
        """Wait until MLflow has every record; in an outage only if `patiently`, and no longer than `tracking.patience`.

        Raises
        ------
        TrackingError
            MLflow refuses a record, and training has not started.
        """
        self._refusal = None  # of an earlier try
        RECORDER.wait([self], patiently)
        if self.is_waiting and interrupt.is_urgent():
            self._keep_from_now_on(TrackingError("it was not waited for any longer"))
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise self._error(refusal) from refusal

    def send_what_waits(self) -> bool:
        """Send, in the recorder's thread; return False if it is to be tried again, the store being away."""
        if self.client is None or not self.is_waiting:
            return True
        began, is_told = time.monotonic(), self.outage.gave_up is not None
        try:
            if self.outage.gave_up is not None:
                raise self.outage.gave_up
            self._journal.send(getattr(self.client, "raw", self.client), self.run_id, self._admitted)
        except Exception as error:
            if not is_told and self.outage.lasts(error, began):
                return False
            try:
                if self._must_raise:
                    self._refusal = error
                else:
                    self._keep_from_now_on(error, is_told)
            except TrackingError as lost:
                self.failure = str(lost)
                log.error("%s", lost)
        else:
            self.outage.answered()
            if self.has_ended:
                self.forget()
        return True

    def _admitted(self, record: Record) -> Record:
        """Refuse to write through links, which may be there in a run that somebody else created."""
        if self.found is not None and "file" in record.content:
            require_inside(self.artifact_uri, self.run_id, record.content["folder"], Path(record.content["file"]))
        return record

    def forget(self) -> None:
        """Remove the journal, if MLflow has all of it."""
        with self._writing:
            if not self._journal.is_waiting:
                self._journal.remove()
                RECORDER.drop(self)

    def _error(self, error: Exception) -> TrackingError:
        if isinstance(error, TrackingError):
            return error
        return TrackingError(f"The run cannot be recorded in {redact(self.uri)}: {reason(error)}")

    def _keep_from_now_on(self, error: Exception, is_told: bool = False) -> None:
        why = reason(error)
        with self._writing:
            try:
                self._journal.write_header(failure=why)
            except OSError as full:
                raise TrackingError(
                    f"Records can neither be sent ({why}) nor kept in {self._journal.folder}: {full}"
                ) from full
            self.failure = why
            if self.has_ended:
                self._journal.release()
        if not is_told:
            log.warning(
                "MLflow does not take records (%s). They are kept in %s from now on; training goes on. "
                "Send them later with: %s",
                why,
                self._journal.folder,
                send_command(self.uri),
            )
