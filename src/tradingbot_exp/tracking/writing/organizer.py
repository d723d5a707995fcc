"""The ExperimentOrganizer: opens and closes MLflow runs with names, tags and truthful status."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.redaction import as_written, redact
from tradingbot_exp.errors import ConfigError, TrackingError
from tradingbot_exp.runtime.process import identity, signature
from tradingbot_exp.tracking.run_names import (
    OWN_LOOP,
    SAMPLER_TAG,
    is_pruning,
    result_tags,
    state_of,
    status_of,
    study_run_name,
    trial_name,
)
from tradingbot_exp.tracking.store.client import open_client, open_experiment
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.store.patience import PATIENCE
from tradingbot_exp.tracking.store.places import check_store_space
from tradingbot_exp.tracking.store.registry import check_registry
from tradingbot_exp.tracking.writing.active import enter, leave, mlflow_active
from tradingbot_exp.tracking.writing.batch import current_batch
from tradingbot_exp.tracking.writing.checkpoints import alone_with, set_traceback_aside
from tradingbot_exp.tracking.writing.origin import Organized, origin_tags, user_tags
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.outbox.send import now_ms
from tradingbot_exp.tracking.writing.outbox.unsent import send_left_behind, unsent_folder
from tradingbot_exp.tracking.writing.params_tags_metrics import tag_texts
from tradingbot_exp.tracking.writing.run import TrackedRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

    from tradingbot_exp.tracking.writing.resume_point import ResumePoint


class ExperimentOrganizer:
    """Opens MLflow runs for one experiment.

    Parameters
    ----------
    config : Config, or any object with the blocks `experiment` and `tracking`
        Names, tags and the store.

    Raises
    ------
    ConfigError
        `config` is something else.

    Examples
    --------
    >>> organizer = ExperimentOrganizer(config)  # doctest: +SKIP
    >>> with organizer.start_run(run_name="first") as run:  # doctest: +SKIP
    ...     print(run.run_id)
    """

    def __init__(self, config: Organized) -> None:
        if not (hasattr(config, "experiment") and hasattr(config, "tracking")):
            raise ConfigError(
                f"ExperimentOrganizer: its configuration is of type {type(config).__name__}, without the blocks "
                "experiment and tracking. Give it what ConfigurationManager(PATH).get_config() gives."
            )
        self.config = config
        self._opened: tuple[MlflowClient, str] | None = None
        self._study: tuple[str, str] | None = None  # name and run id of the one that `start_study` has open

    def __repr__(self) -> str:
        uri = redact(self.config.tracking.uri)
        return f"ExperimentOrganizer(experiment={self.config.experiment.name!r}, uri={uri!r})"

    def connect(self) -> tuple[MlflowClient, str]:
        """Reach the store, send what earlier processes left for it, once; return its client and the experiment's id.

        Raises
        ------
        TrackingError
            The store cannot be used, or has no model registry where one is needed.
        """
        if self._opened is None:
            tracking = self.config.tracking
            uri = tracking.uri
            check_store_space(uri)
            client = open_client(uri, getattr(tracking, "patience", PATIENCE))
            check_registry(client, getattr(tracking, "register", None), tracking.on_error)
            self._opened = client, open_experiment(client, uri, redact(self.config.experiment.name))
            send_left_behind(client)
        return self._opened

    def open_run(
        self,
        run_name: str | None = None,
        *,
        kind: str = "training",
        parent: str | None = None,
        resume_point: ResumePoint | None = None,
        **tags: Any,
    ) -> TrackedRun:
        """Create a run and make it the current one; `close_run` ends it.

        Parameters
        ----------
        run_name : str, optional
            Else `experiment.run_name`, else model, data and time.
        kind : str
            Tag ``run.kind``.
        parent : str, optional
            Id of the parent run.
        resume_point : ResumePoint, optional
            A run to go on with, instead of creating one: then nothing else is read.
        **tags
            More tags; a double underscore in a name stands for a dot.
        """
        if resume_point is not None:
            return self._go_on_with(resume_point)
        name = redact(run_name or self.config.experiment.run_name or self._compose_name())
        creation = {
            "name": name,
            "experiment": redact(self.config.experiment.name),
            "start_time": now_ms(),
            "uri": self.config.tracking.uri,
            "tags": tag_texts(
                {
                    **origin_tags(),
                    **user_tags(self.config.experiment),
                    "mlflow.note.content": as_written("experiment.description", self.config.experiment.description),
                    "mlflow.parentRunId": parent,
                    "run.kind": kind,
                    **{key.replace("__", "."): value for key, value in tags.items()},
                }
            ),
        }
        delivery = Delivery.create(self.connect, creation, unsent_folder(), self.config.tracking.on_error)
        run = TrackedRun(delivery, name, parent)
        enter(run)
        return run

    def open_study(self, name: str, **tags: Any) -> TrackedRun:
        """Create the parent run of a study and make it the current one."""
        return self.open_run(study_run_name(name), kind="study", study__name=name, **tags)

    def open_trial(self, number: int, parent: str, **tags: Any) -> TrackedRun:
        """Create the run of a trial, a child of the run `parent`, and make it the current one."""
        return self.open_run(trial_name(number), kind="trial", parent=parent, trial__number=number, **tags)

    def _go_on_with(self, resume_point: ResumePoint) -> TrackedRun:
        """Open a run again that ended before its time, in this process's name.

        Raises
        ------
        TrackingError
            Another process was faster.
        """
        client, _ = self.connect()
        uri, run_id = self.config.tracking.uri, resume_point.run_id
        with wrapped(f"The run {run_id} cannot be opened again"), alone_with(client.get_run(run_id)):
            found = client.get_run(run_id)
            if found.info.status == "FINISHED" or found.data.tags != resume_point.tags:
                raise TrackingError(
                    f"The run {resume_point.name} ({run_id}) was taken up by another process meanwhile."
                )
            delivery = Delivery.attach(client, found, unsent_folder(), uri)
            run = TrackedRun(delivery, resume_point.name, resume_point=resume_point)
            run.set_tags({**signature(), **resume_point.new_tags()})
            client.update_run(run_id, status="RUNNING")
            if "error" in found.data.tags:
                client.delete_tag(run_id, "error")
                set_traceback_aside(found)
        enter(run)
        return run

    def take_over(self, run_id: str, number: int, parent: str) -> TrackedRun:
        """Go on with a trial's run that another process created, in this process's name, as the current run.

        Raises
        ------
        TrackingError
            The run has ended meanwhile: whoever created it gave it up.
        """
        client, _ = self.connect()
        uri, name = self.config.tracking.uri, trial_name(number)
        batch, own = current_batch(), identity()
        found = (None if batch is None else batch.fetched.get(run_id)) or client.get_run(run_id)
        run = TrackedRun(Delivery.attach(client, found, unsent_folder(), uri), name, parent)
        if not own.items() <= found.data.tags.items():
            run.set_tags(own)
            found = client.get_run(run_id)
        if found.info.status != "RUNNING":
            run.delivery.forget()  # or this process would hold its records for as long as it lives
            raise TrackingError(f"The run {name} ({run_id}) was given up before its job could start.")
        if batch is None:
            run.start_heartbeat()
        else:
            batch.add(run)
        enter(run)
        return run

    def close_run(self, run: TrackedRun, error: BaseException | None = None) -> None:
        """End a run: FINISHED, or FAILED or KILLED by the kind of `error`."""
        leave(run)
        run.end(status_of(error), error)

    @contextmanager
    def start_run(self, run_name: str | None = None, **options: Any) -> Iterator[TrackedRun]:
        """Open a run for the length of a ``with`` block, as MLflow's active run too.

        An exception ends it as FAILED, Ctrl-C as KILLED; both go on to the caller.
        """
        with self._within(self.open_run(run_name, **options)) as run:
            yield run

    @contextmanager
    def start_study(self, name: str) -> Iterator[TrackedRun]:
        """Open the parent run of a study of your own, ``hpo-<name>``, for the length of a ``with`` block.

        It ends as a run of `start_run` does. Inside it, `start_trial` opens its trials.

        Raises
        ------
        TrackingError
            The store cannot be used, or `name` is none.
        """
        if type(name) is not str or not name.strip():
            raise TrackingError(f"start_study({name!r}): a study's name is a text, such as 'by-hand'.")
        before = self._study
        with self._within(self.open_study(name, **{SAMPLER_TAG: OWN_LOOP})) as run:
            self._study = name, run.run_id
            try:
                yield run
            finally:
                self._study = before

    @contextmanager
    def start_trial(self, number: int) -> Iterator[TrackedRun]:
        """Open the run of a trial, ``trial-0007``, in the study that is open, for the length of a ``with`` block.

        It ends as a run of `start_run` does, and says so as ``trial.state``: ``complete``, ``failed``, or
        ``interrupted``. Optuna's `TrialPruned` makes it ``pruned``, which is FINISHED, and goes on to the caller too.

        Parameters
        ----------
        number : int
            Counted from 0.

        Raises
        ------
        TrackingError
            No study is open, or `number` is none.
        """
        if self._study is None:
            raise TrackingError(
                f"start_trial({number}) has no study. Put it inside `with organizer.start_study(NAME):`, of the same "
                "organizer."
            )
        if type(number) is not int or number < 0:
            raise TrackingError(f"start_trial({number!r}): a trial's number is an integer from 0 on.")
        study, parent = self._study
        run = self.open_trial(number, parent, study__name=study, trial__state="running")
        with self._within(run, is_trial=True):
            yield run

    @contextmanager
    def _within(self, run: TrackedRun, *, is_trial: bool = False) -> Iterator[TrackedRun]:
        """Make a run MLflow's active one for the length of a ``with`` block, and close it by how that ended."""

        def close(error: BaseException | None) -> None:
            pruned = is_trial and is_pruning(error)
            if is_trial:
                run.set_tags(result_tags("pruned" if pruned else state_of(error)))
            self.close_run(run, None if pruned else error)

        try:
            with mlflow_active(run, self.config.tracking.uri):
                yield run
        except BaseException as error:
            close(error)
            raise
        close(None)

    def _compose_name(self) -> str:
        labels = [getattr(getattr(self.config, block, None), "name", None) for block in ("model", "data")]
        return "-".join([*(str(label) for label in labels if label), time.strftime("%Y%m%d-%H%M%S")]) or "run"
