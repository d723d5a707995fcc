"""The callback for any Hydra app: a run for each job, and a parent run for a sweep."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from tradingbot_exp.callbacks.hydra_job import (
    PARENT_RUN_VARIABLE,
    SWEEP_FILE,
    as_number,
    error_of,
    job_key,
    mask_files,
    mask_saved_config,
    parent_run,
    task_name,
)
from tradingbot_exp.config.own_conf import refuse_another_app, task_overrides
from tradingbot_exp.config.redaction import mask_secrets
from tradingbot_exp.config.resolvers import register
from tradingbot_exp.errors import Refusal
from tradingbot_exp.tracking.writing.active import mlflow_active

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra.core.utils import JobReturn

    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
    from tradingbot_exp.tracking.writing.origin import Organized
    from tradingbot_exp.tracking.writing.resume_point import ResumePoint
    from tradingbot_exp.tracking.writing.run import TrackedRun


class TrackingCallback(Callback):
    """Gives any Hydra app one MLflow run a job, and a parent run a sweep.

    A job's run holds the flattened config as params, the app's overrides, the environment and git state, a
    numeric return value as the metric ``objective`` (of a list, ``objective_0``, ``objective_1`` and so on), and
    the truthful status. Put it into an app with::

        hydra:
          callbacks:
            tracking:
              _target_: tradingbot_exp.callbacks.TrackingCallback

    Parameters
    ----------
    tracking_uri : str, optional
        Else MLFLOW_TRACKING_URI, else ``mlflow.db`` in the launch directory.
    experiment_name : str, optional
        Else MLFLOW_EXPERIMENT_NAME, else the app's name.
    on_error : {"raise", "offline"}
        What to do when records cannot be written; see ``tracking.on_error``.
    tags : mapping, optional
        Tags of every run.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment_name: str | None = None,
        on_error: str = "raise",
        tags: Any = None,
    ) -> None:
        self._settings = (tracking_uri, experiment_name, on_error, dict(tags or {}))
        self._forget()

    def _forget(self) -> None:
        self._organizer: ExperimentOrganizer | None = None
        # By job: a launcher may start several before it ends the first.
        self._runs: dict[str, TrackedRun] = {}
        self._sweep: TrackedRun | None = None
        self._resume_point: ResumePoint | None = None
        self._active: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave open runs behind when a launcher sends the callback to a worker: ids travel, runs do not."""
        return {"_settings": self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a worker."""
        self._settings = state["_settings"]
        self._forget()

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before a single job, in the launching process: refuse what cannot be run or recorded."""
        self._refusing(lambda: self._reach(config))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before a sweep, in the launching process: open the parent run and let every job know its id."""
        refuse_another_app(config)
        self._refusing(lambda: self._open_sweep(config))

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before a job, on the machine that runs it: open its run."""
        try:
            mask_saved_config(config)
            self._open_job(config)
        except Exception as error:
            self._hand_over(error)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """After a job, on the machine that ran it, however it ended: close its run with the truth."""
        error = error_of(job_return)
        run = self._runs.get(job_key(config))
        if error is None and run is not None:
            self._record_result(run, job_return.return_value)
        self._close_job(config, error)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """After a sweep, in the launching process: close the parent run."""
        run, self._sweep = self._sweep, None
        organizer, error = self._organizer, sys.exc_info()[1]
        mask_files(Path(config.hydra.sweep.dir) / SWEEP_FILE)
        if run is not None and organizer is not None:
            self._refusing(lambda: organizer.close_run(run, error))

    # What a subclass may change.

    def _organized(self, config: DictConfig) -> Organized:
        """Return the names and the store for an app's configuration."""
        register()
        uri, experiment, on_error, tags = self._settings
        plain = OmegaConf.create(
            {
                "uri": uri or "${tradingbot.tracking_uri:}",
                "experiment": experiment or "${tradingbot.experiment_name:" + str(config.hydra.job.name) + "}",
            }
        )
        names = SimpleNamespace(name=plain.experiment, run_name=None, description=None, tags=tags)
        return SimpleNamespace(experiment=names, tracking=SimpleNamespace(uri=plain.uri, on_error=on_error))

    def _job_started(self, run: TrackedRun, config: DictConfig) -> None:
        """Record what the app is run with."""
        from tradingbot_exp.tracking.writing.logger import EnhancedMLflowLogger

        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        logger = EnhancedMLflowLogger(run)
        logger.log_config(task, task_overrides(config.hydra))
        logger.log_environment_details()
        run.delivery.training_started()

    def _record_result(self, run: TrackedRun, value: Any) -> None:
        """Log a number as ``objective``, several as ``objective_0``, ``objective_1`` and so on."""
        if isinstance(value, list | tuple):
            found = {f"objective_{position}": as_number(each) for position, each in enumerate(value)}
        else:
            found = {"objective": as_number(value)}
        numbers = {name: number for name, number in found.items() if number is not None}
        if numbers:
            run.log_metrics(numbers)

    def _hand_over(self, error: Exception) -> None:
        """Stop a job whose run cannot be opened: a foreign task function knows nothing of us."""
        raise Refusal(error)

    # The mechanism.

    def _refusing(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:
            raise Refusal(error) from error

    def _reach(self, config: DictConfig) -> ExperimentOrganizer:
        from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

        if self._organizer is None:
            organizer = ExperimentOrganizer(self._organized(config))
            if organizer.config.tracking.on_error == "raise":
                organizer.connect()
            self._organizer = organizer
        return self._organizer

    def _open_sweep(self, config: DictConfig) -> None:
        organizer = self._reach(config)
        run = organizer.open_run(f"sweep-{task_name(config)}", kind="sweep")
        self._sweep = run
        run.set_tags({"sweep.overrides": shlex.join(mask_secrets(task_overrides(config.hydra)))})
        with read_write(config.hydra), read_write(config.hydra.overrides.hydra):
            config.hydra.overrides.hydra.append(f"+hydra.job.env_set.{PARENT_RUN_VARIABLE}={run.run_id}")
        run.delivery.training_started()

    def _open_job(self, config: DictConfig) -> None:
        organizer = self._reach(config)
        parent = parent_run(config)
        if parent is None:
            run = organizer.open_run(resume_point=self._resume_point)
        else:
            number = int(OmegaConf.select(config, "hydra.job.num", default=0))
            run = organizer.open_trial(number, parent)
        self._runs[job_key(config)] = run
        active = mlflow_active(run, organizer.config.tracking.uri)
        active.__enter__()
        self._active[job_key(config)] = active
        self._job_started(run, config)

    def _close_job(self, config: DictConfig, error: BaseException | None) -> None:
        run = self._runs.pop(job_key(config), None)
        active = self._active.pop(job_key(config), None)
        if active is not None:
            active.__exit__(None if error is None else type(error), error, getattr(error, "__traceback__", None))
        if run is None or self._organizer is None:
            return
        organizer = self._organizer
        self._refusing(lambda: organizer.close_run(run, error))
