"""Hydra callbacks: thin adapters that open and close MLflow runs at the right moments.

Hydra only warns about an exception that a callback raises and runs the job untracked. So what goes wrong
here is either carried out as a `Refusal`, which ends the process, or handed to the task, which raises it.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.config.resolvers import register
from tradingbot_exp.errors import ConfigError, Refusal
from tradingbot_exp.hydra_job import (
    PARENT_RUN_VARIABLE,
    as_number,
    error_of,
    finalized,
    first_job,
    job_key,
    mask_files,
    mask_saved_config,
    parent_run,
    start_ray,
    task_name,
    ticket_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra.core.utils import JobReturn

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer, Organized
    from tradingbot_exp.tracking.writing.resumption import Resumption
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
        self._resumption: Resumption | None = None
        self._active: Any = None

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
        self._refusing(lambda: self._open_sweep(config))

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before a job, on the machine that runs it: open its run."""
        from tradingbot_exp.tracking.writing.active import set_start_failure

        set_start_failure(None)
        mask_saved_config(config)
        try:
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
        import sys

        run, self._sweep = self._sweep, None
        organizer, error = self._organizer, sys.exc_info()[1]
        mask_files(Path(config.hydra.sweep.dir))
        if run is not None and organizer is not None:
            self._refusing(lambda: organizer.close_run(run, error))

    # What a subclass may change.

    def _organized(self, config: DictConfig) -> Organized:
        """Give the names and the store for an app's configuration."""
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
        logger.log_config(task, list(config.hydra.overrides.task))
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
        run.set_tags({"sweep.overrides": " ".join(config.hydra.overrides.task)})
        with read_write(config.hydra), read_write(config.hydra.overrides.hydra):
            config.hydra.overrides.hydra.append(f"+hydra.job.env_set.{PARENT_RUN_VARIABLE}={run.run_id}")
        run.delivery.training_started()

    def _open_job(self, config: DictConfig) -> None:
        from tradingbot_exp.tracking.writing.active import mlflow_active

        organizer = self._reach(config)
        parent = parent_run(config)
        if parent is None:
            run = organizer.open_run(resumption=self._resumption)
        else:
            number = int(OmegaConf.select(config, "hydra.job.num", default=0))
            run = organizer.open_trial(number, parent)
        self._runs[job_key(config)] = run
        self._active = mlflow_active(run, organizer.config.tracking.uri) if parent is None else None
        if self._active is not None:
            self._active.__enter__()
        self._job_started(run, config)

    def _close_job(self, config: DictConfig, error: BaseException | None) -> None:
        run = self._runs.pop(job_key(config), None)
        active, self._active = self._active, None
        if active is not None:
            active.__exit__(None, None, None)
        if run is None or self._organizer is None:
            return
        organizer = self._organizer
        self._refusing(lambda: organizer.close_run(run, error))


class ExperimentCallback(TrackingCallback):
    """The callback of this package's own app: checks configuration and data before anything is written."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a bad configuration, bad data, or a store that cannot be used, before any folder is made."""
        self._refusing(lambda: self._check(config))
        super().on_run_start(config, **kwargs)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Do the same for what the jobs of a sweep share; a study opens its parent run itself."""
        self._refusing(lambda: self._check_sweep(config))
        self._refusing(lambda: start_ray(config))
        if not str(config.hydra.sweeper._target_).startswith("hydra_plugins.tradingbot_exp."):
            self._refusing(lambda: _refuse_registration(config))
            super().on_multirun_start(config, **kwargs)

    def _open_job(self, config: DictConfig) -> None:
        """Open the job's run; a trial's was created when the study asked for it, and is taken over."""
        ticket = ticket_of(config)
        if ticket is None:
            super()._open_job(config)
        else:
            run = self._reach(config).take_over(ticket.run_id, ticket.number, ticket.parent_id)
            self._runs[job_key(config)] = run

    def _record_trial(self, run: TrackedRun | None, job_return: JobReturn) -> None:
        """Write how the trial ended into its run, after its metrics: what a resumed study goes by."""
        from tradingbot_exp.hpo.trial import ending_tags

        if run is not None:
            error = error_of(job_return)
            run.flush(ending_tags(error, None if error is not None else job_return.return_value))

    def _check(self, config: DictConfig) -> None:
        from tradingbot_exp.resuming import find_resumption

        composed = finalized(config)
        self._resumption = find_resumption(composed, list(config.hydra.overrides.task))
        self._check_place(composed if self._resumption is None else self._resumption.config)

    def _check_sweep(self, config: DictConfig) -> None:
        from tradingbot_exp.resuming import refuse_in_study

        first = finalized(first_job(config))
        refuse_in_study(first)
        self._check_place(first)

    def _check_place(self, config: Config) -> None:
        from tradingbot_exp.job_data import check_inputs
        from tradingbot_exp.tracking.store.places import check_space

        check_inputs(config)
        check_space(launch_dir())

    def _organized(self, config: DictConfig) -> Organized:
        return finalized(first_job(config)) if self._resumption is None else self._resumption.config

    def _job_started(self, run: TrackedRun, config: DictConfig) -> None:
        """Leave the recording to `experiment.prepare`."""

    def _record_result(self, run: TrackedRun, value: Any) -> None:
        """Leave the objective to its own metric."""

    def _hand_over(self, error: Exception) -> None:
        from tradingbot_exp.tracking.writing.active import set_start_failure

        set_start_failure(error)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Close the job's run; say how it went, or carry its error out without Hydra's words around it."""
        from tradingbot_exp.evaluation.names import naive_name
        from tradingbot_exp.summary import print_summary

        run, parent = self._runs.get(job_key(config)), parent_run(config)
        ticket = ticket_of(config)
        if ticket is not None:
            self._refusing(lambda: self._record_trial(run, job_return))
            super().on_job_end(config, job_return, **kwargs)
            return
        # Hydra prints a failed job's overrides.
        job_return.overrides = [redact(override) for override in job_return.overrides or []]
        super().on_job_end(config, job_return, **kwargs)
        error = error_of(job_return)
        report = None
        wanted = config.tracking.report if self._resumption is None else self._resumption.config.tracking.report
        if run is not None and parent is None and wanted and not isinstance(error, KeyboardInterrupt):
            from tradingbot_exp.reporting.automatic import report_at_end

            report = report_at_end("training", run)
        if error is None and run is not None:
            naive = naive_name({key: OmegaConf.select(config, key) for key in ("training.loss", "data.target")})
            self._refusing(lambda: print_summary(run, report, naive))
        elif isinstance(error, Exception) and parent is None:
            raise Refusal(error)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Close a plain sweep's parent run and report on it; a study does both itself."""
        import sys

        run, interrupted = self._sweep, isinstance(sys.exc_info()[1], KeyboardInterrupt)
        super().on_multirun_end(config, **kwargs)
        if run is not None and config.tracking.report and not interrupted:
            from tradingbot_exp.reporting.automatic import report_at_end

            report = report_at_end("hpo", run)
            if report is not None:
                sys.stdout.write(f"report  {report}\n")


def _refuse_registration(config: DictConfig) -> None:
    name = config.tracking.register
    if name is not None:
        raise ConfigError(
            f"tracking.register={name} is for the winner of a study, or for a single run: a plain sweep has no winner. "
            "Leave it out."
        )
