"""One open run: buffered metrics, immediate everything else, and its truthful end."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.runtime.interrupt import signals_held
from tradingbot_exp.tracking.store.places import local_artifacts
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.outbox.send import Record, now_ms
from tradingbot_exp.tracking.writing.params_tags_metrics import metric_name, metric_value, param_texts, tag_texts

if TYPE_CHECKING:
    from mlflow.entities import RunInfo

    from tradingbot_exp.tracking.writing.resumption import Resumption

log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
HEARTBEAT_SECONDS = 30.0


class TrackedRun:
    """An open MLflow run that everything about it is written through.

    Parameters
    ----------
    delivery : Delivery
        Where records go.
    name : str
        The run's name.
    parent : str, optional
        The parent run's id.
    buffered : bool
        False sends metrics at once: of a run that nobody here will end, nothing would send the last ones.

    resumption : Resumption, optional
        Where the run is gone on with: the metric points that it has are not logged again.

    Attributes
    ----------
    name, parent, delivery, resumption
        As given.
    metrics : dict of str to float
        The newest value of each metric logged.
    after_finish : list of callable
        Called when the run has been closed as FINISHED.
    """

    def __init__(
        self,
        delivery: Delivery,
        name: str,
        parent: str | None = None,
        *,
        buffered: bool = True,
        resumption: Resumption | None = None,
    ) -> None:
        self.delivery = delivery
        self.name = name
        self.parent = parent
        self.resumption = resumption
        self.after_finish: list[Callable[[], object]] = []
        self.metrics: dict[str, float] = {}
        self._points: list[tuple[str, float, int, int]] = []
        self._points_sent = 0
        self._seen: set[tuple[str, int]] = set() if resumption is None else set(resumption.points)
        self._buffered = buffered
        self._buffer_lock = threading.Lock()
        self._send_lock = threading.RLock()
        self._closing = threading.Event()
        self._ended = False
        self._flusher: threading.Thread | None = None
        self._stage: Path | None = None
        # Params and tags that wait for the next flush, in a batch of runs.
        self._waiting: dict[str, dict[str, str]] | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        run_id: str = self.delivery.run_id
        return run_id

    @property
    def info(self) -> RunInfo:
        """MLflow's own record of the run, fetched now."""
        if self.delivery.client is None:
            raise TrackingError(f"The run {self.name} is not in MLflow yet: {self.delivery.failure}")
        info: RunInfo = self.delivery.client.get_run(self.run_id).info
        return info

    @property
    def uri(self) -> str:
        """The store's URI, with any credentials."""
        uri: str = self.delivery.uri
        return uri

    @property
    def artifact_place(self) -> str:
        """Where the artifacts are: a path if they are on this machine, else a URI."""
        place = self.delivery.artifact_uri or str(self.info.artifact_uri)
        folder = local_artifacts(place)
        return redact(place) if folder is None else str(folder)

    def __repr__(self) -> str:
        return f"TrackedRun(name={self.name!r}, run_id={self.run_id!r})"

    def log_metrics(self, values: Mapping[str, float], step: int = 0, *, again: bool = True) -> None:
        """Buffer metrics; they reach MLflow within `FLUSH_SECONDS`, many in one batch.

        Parameters
        ----------
        values : mapping of str to float
            NaN and infinities are kept as MLflow keeps them.
        step : int
            Epoch, counted from 1; 0 for metrics of the whole run.
        again : bool
            Whether to log a metric that this step already has.

        Raises
        ------
        TrackingError
            A name is none that MLflow takes, or a value is no number.
        """
        now = now_ms()
        points = [(metric_name(name), metric_value(name, value), now, step) for name, value in values.items()]
        with self._buffer_lock:
            new = [point for point in points if again or (point[0], step) not in self._seen]
            self.metrics.update((point[0], point[1]) for point in new)
            if self.resumption is not None:
                known = self.resumption
                new = [point for point in new if not known.has(point[0], step, point[1])]
            self._seen.update((point[0], step) for point in new)
            self._points.extend(new)
        if not self._buffered:
            self.flush()
        else:
            self.start_flushing()

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Write params; a value over MLflow's 6,000 characters is cut and says so."""
        self._write(param_texts(values), {})

    def log_batch(self, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Write params and tags at once."""
        self._write(param_texts(params), tag_texts(tags))

    @contextmanager
    def staging(self, folder: Path) -> Iterator[None]:
        """Put artifacts into a local folder for the length of a ``with`` block, instead of logging them."""
        self._stage = folder
        try:
            yield
        finally:
            self._stage = None

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Write tags as text."""
        self._write({}, tag_texts(values))

    def let_wait(self) -> None:
        """From now on, let params and tags wait for the metrics, to be written with them: somebody else flushes."""
        if self._waiting is None:
            self._waiting = {"params": {}, "tags": {}}

    def waiting(self, after: int = 0) -> tuple[dict[str, Any], int]:
        """Give what MLflow does not have yet, as the content of a ``batch`` record.

        Parameters
        ----------
        after : int
            Leave as many of the metric points out, counted from the run's first.

        Returns
        -------
        tuple of (dict, int)
            The content, and the number of points logged so far.
        """
        with self._buffer_lock:
            texts = {kind: dict(texts) for kind, texts in (self._waiting or {}).items()}
            points = self._points[max(0, after - self._points_sent) :]
            return {"metrics": points, **texts}, self._points_sent + len(self._points)

    @property
    def has_ended(self) -> bool:
        """Whether `end` was called."""
        return self._ended

    def _write(self, params: dict[str, str], tags: dict[str, str]) -> None:
        with self._buffer_lock:
            waiting = self._waiting
            if waiting is not None:
                waiting["params"].update(params)
                waiting["tags"].update(tags)
        if waiting is None:
            self._put("batch", params=params, tags=tags)

    def log_artifact(self, file: Path, folder: str = "") -> None:
        """Copy a file into the run's artifacts."""
        if self._stage is not None:
            (self._stage / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, self._stage / folder)
            return
        self._put("artifact", file=str(file), folder=folder)

    def log_artifacts(self, directory: Path, folder: str = "") -> None:
        """Copy a directory's content into the run's artifacts."""
        if self._stage is not None:
            shutil.copytree(directory, self._stage / folder, dirs_exist_ok=True)
            return
        self._put("artifacts", file=str(directory), folder=folder)

    def log_text(self, text: str, artifact: str) -> None:
        """Write a text file into the run's artifacts, credentials masked."""
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / Path(artifact).name
            file.write_text(redact(text), encoding="utf-8")
            folder = str(Path(artifact).parent)
            self.log_artifact(file, "" if folder == "." else folder)

    def log_input(self, dataset: Mapping[str, str], context: str) -> None:
        """Record a dataset (MLflow's `name`, `digest`, `source_type`, `source`, `schema`, `profile`) as an input."""
        self._put("input", dataset=dict(dataset), context=context)

    def start_flushing(self, *, heartbeat: bool = False) -> None:
        """Send what waits every few seconds from now on.

        Parameters
        ----------
        heartbeat : bool
            Whether to give a sign of life, the tag ``process.heartbeat``, for those who look from another host.
        """
        if self._flusher is None and self._waiting is None:
            self._flusher = threading.Thread(
                target=self._flush_regularly, args=(heartbeat,), name="mlflow-flush", daemon=True
            )
            self._flusher.start()

    def flush(self, tags: Mapping[str, Any] | None = None) -> None:
        """Send the metrics that are waiting, and then `tags`; metrics that cannot be sent or kept go on waiting."""
        with self._send_lock:
            waiting, _ = self.waiting()
            content = {**waiting, "tags": {**waiting.get("tags", {}), **tag_texts(tags or {})}}
            if any(content.values()):
                self._put("batch", **content)
            with self._buffer_lock:
                del self._points[: len(waiting["metrics"])]
                self._points_sent += len(waiting["metrics"])
                for kind, kept in (self._waiting or {}).items():
                    for name in [name for name, text in waiting[kind].items() if kept.get(name) == text]:
                        del kept[name]

    def end(self, status: str, error: BaseException | None = None) -> None:
        """Close the run: metrics first, then the error if there is one, then the status.

        Parameters
        ----------
        status : {"FINISHED", "FAILED", "KILLED"}
        error : BaseException, optional
            Kept as the tag ``error`` and the artifact ``error/traceback.txt``.
        """
        if self._ended:
            return
        self._closing.set()
        with signals_held():
            self.flush(None if error is None else {"error": f"{type(error).__name__}: {error}"})
            if error is not None and not isinstance(error, KeyboardInterrupt):
                self.log_text("".join(traceback.format_exception(error)), "error/traceback.txt")
            self._put("end", status=status, time=now_ms())
            self._ended = True
            for step in self.after_finish if status == "FINISHED" else ():
                step()

    def _put(self, kind: str, **content: Any) -> None:
        with self._send_lock:
            self.delivery.put(Record(kind, content))

    def _flush_regularly(self, heartbeat: bool) -> None:
        beat = time.monotonic()
        while not self._closing.wait(FLUSH_SECONDS):
            due = heartbeat and time.monotonic() - beat > HEARTBEAT_SECONDS
            beat = time.monotonic() if due else beat
            try:
                self.flush({"process.heartbeat": f"{time.time():.0f}"} if due else None)
            except TrackingError as error:
                log.error("%s", error)
