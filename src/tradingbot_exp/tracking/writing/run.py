"""One open run: what is logged to it is written down at once and sent to MLflow, until its truthful end."""

from __future__ import annotations

import shutil
import tempfile
import threading
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
from tradingbot_exp.tracking.writing.outbox.recorder import RECORDER
from tradingbot_exp.tracking.writing.outbox.send import Record, now_ms
from tradingbot_exp.tracking.writing.params_tags_metrics import metric_name, metric_value, param_texts, tag_texts

if TYPE_CHECKING:
    from mlflow.entities import RunInfo

    from tradingbot_exp.tracking.writing.resume_point import ResumePoint


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
        False waits for metrics too, and leaves no journal: of a run that nobody here will end.
    resume_point : ResumePoint, optional
        Where the run is resumed: the metric points that it has are not logged again.

    Attributes
    ----------
    name, parent, delivery, resume_point
        As given.
    metrics : dict of str to float
        The newest value of each metric logged.
    after_finish : list of callable
        Called when the run has been closed as FINISHED.
    is_batched : bool
        Whether others wait for its records: see `tradingbot_exp.tracking.writing.batch`.
    """

    def __init__(
        self,
        delivery: Delivery,
        name: str,
        parent: str | None = None,
        *,
        buffered: bool = True,
        resume_point: ResumePoint | None = None,
    ) -> None:
        self.delivery = delivery
        self.name = name
        self.parent = parent
        self.resume_point = resume_point
        self.after_finish: list[Callable[[], object]] = []
        self.metrics: dict[str, float] = {}
        self._seen: set[tuple[str, int]] = set() if resume_point is None else set(resume_point.points)
        self._buffered = buffered
        self.is_batched = False
        self._lock = threading.Lock()
        self._stage: Path | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.delivery.run_id

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
        return self.delivery.uri

    @property
    def artifact_place(self) -> str:
        """Where the artifacts are: a path if they are on this machine, else a URI."""
        place = self.delivery.artifact_uri or str(self.info.artifact_uri)
        folder = local_artifacts(place, self.run_id)
        return redact(place) if folder is None else str(folder)

    def __repr__(self) -> str:
        return f"TrackedRun(name={self.name!r}, run_id={self.run_id!r})"

    def log_metrics(self, values: Mapping[str, float], step: int = 0, *, again: bool = True) -> None:
        """Write metrics down; they reach MLflow within seconds, many in one batch.

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
        with self._lock:
            new = [point for point in points if again or (point[0], step) not in self._seen]
            self.metrics.update((point[0], point[1]) for point in new)
            if self.resume_point is not None:
                known = self.resume_point
                new = [point for point in new if not known.has(point[0], step, point[1])]
            self._seen.update((point[0], step) for point in new)
        if new:
            self.delivery.put(Record("batch", {"metrics": new}))
        if not self._buffered:
            self.flush()

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Write params; a value over MLflow's 6,000 characters is cut and says so."""
        self._put("batch", params=param_texts(values))

    def log_batch(self, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Write params and tags at once."""
        self._put("batch", params=param_texts(params), tags=tag_texts(tags))

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Write tags as text."""
        self._put("batch", tags=tag_texts(values))

    @contextmanager
    def staging(self, folder: Path) -> Iterator[None]:
        """Put artifacts into a local folder for the length of a ``with`` block, instead of logging them."""
        self._stage = folder
        try:
            yield
        finally:
            self._stage = None

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

    def start_heartbeat(self) -> None:
        """Send signs of life until the run ends, for those who look from another host."""
        if self.delivery.client is not None:
            RECORDER.beat(self.delivery.client, [self.run_id])

    def flush(self) -> None:
        """Wait until MLflow has all: not in an outage, nor in a batch of runs, which waits itself.

        Raises
        ------
        TrackingError
            MLflow refuses something, and training has not started.
        """
        if not self.is_batched:
            self.delivery.settle()
            if not self._buffered:
                self.delivery.forget()

    def end(self, status: str, error: BaseException | None = None) -> None:
        """Close the run: metrics first, then the error if there is one, then the status.

        The last open run of a process waits for an outage to end, unless it is closed as KILLED.

        Parameters
        ----------
        status : {"FINISHED", "FAILED", "KILLED"}
        error : BaseException, optional
            Kept as the tag ``error`` and the artifact ``error/traceback.txt``.
        """
        if self.delivery.has_ended:
            return
        RECORDER.stop_beating([self.run_id])
        with signals_held():
            if error is not None:
                tags = tag_texts({"error": f"{type(error).__name__}: {error}"})
                self.delivery.put(Record("batch", {"tags": tags}))
                if not isinstance(error, KeyboardInterrupt):
                    self.log_text("".join(traceback.format_exception(error)), "error/traceback.txt")
            self.delivery.put(Record("end", {"status": status, "time": now_ms()}))
            if not self.is_batched:
                self.delivery.settle()
        if not self.is_batched and status != "KILLED" and RECORDER.is_last(self.delivery):
            RECORDER.settle(self.delivery.outage)
            self.delivery.settle(patiently=True)
        with signals_held():
            for step in self.after_finish if status == "FINISHED" else ():
                step()

    def _put(self, kind: str, **content: Any) -> None:
        self.delivery.put(Record(kind, content))
        self.flush()
