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

from tradingbot_exp.config.finalize import finalize
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.config.resolvers import launch_dir, register
from tradingbot_exp.errors import ConfigError, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra.core.override_parser.types import Override
    from hydra.core.utils import JobReturn

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.hpo.trial import Ticket
    from tradingbot_exp.resuming import Resumption
    from tradingbot_exp.tracking.organizer import ExperimentOrganizer, Organized
    from tradingbot_exp.tracking.run import TrackedRun

# A sweep's parent run reaches every job, on any machine, through this variable in `hydra.job.env_set`.
PARENT_RUN_VARIABLE = "TRADINGBOT_PARENT_RUN_ID"


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
        from tradingbot_exp.tracking import organizer

        organizer.set_start_failure(None)
        _mask_saved_config(config)
        try:
            self._open_job(config)
        except Exception as error:
            self._hand_over(error)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """After a job, on the machine that ran it, however it ended: close its run with the truth."""
        error = _error_of(job_return)
        run = self._runs.get(_job_key(config))
        if error is None and run is not None:
            self._record_result(run, job_return.return_value)
        self._close_job(config, error)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """After a sweep, in the launching process: close the parent run."""
        import sys

        run, self._sweep = self._sweep, None
        organizer, error = self._organizer, sys.exc_info()[1]
        _mask_files(Path(config.hydra.sweep.dir))
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
        from tradingbot_exp.tracking.logger import EnhancedMLflowLogger

        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        logger = EnhancedMLflowLogger(run)
        logger.log_config(task, list(config.hydra.overrides.task))
        logger.log_environment_details()
        run.delivery.training_started()

    def _record_result(self, run: TrackedRun, value: Any) -> None:
        """Log a number as ``objective``, several as ``objective_0``, ``objective_1`` and so on."""
        if isinstance(value, list | tuple):
            found = {f"objective_{position}": _number(each) for position, each in enumerate(value)}
        else:
            found = {"objective": _number(value)}
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
        from tradingbot_exp.tracking.organizer import ExperimentOrganizer

        if self._organizer is None:
            organizer = ExperimentOrganizer(self._organized(config))
            if organizer.config.tracking.on_error == "raise":
                organizer.connect()
            self._organizer = organizer
        return self._organizer

    def _open_sweep(self, config: DictConfig) -> None:
        organizer = self._reach(config)
        run = organizer.open_run(f"sweep-{_task_name(config)}", kind="sweep")
        self._sweep = run
        run.set_tags({"sweep.overrides": " ".join(config.hydra.overrides.task)})
        with read_write(config.hydra), read_write(config.hydra.overrides.hydra):
            config.hydra.overrides.hydra.append(f"+hydra.job.env_set.{PARENT_RUN_VARIABLE}={run.run_id}")
        run.delivery.training_started()

    def _open_job(self, config: DictConfig) -> None:
        from tradingbot_exp.tracking.organizer import mlflow_active

        organizer = self._reach(config)
        parent = _parent_run(config)
        if parent is None:
            run = organizer.open_run(resumption=self._resumption)
        else:
            number = int(OmegaConf.select(config, "hydra.job.num", default=0))
            run = organizer.open_trial(number, parent)
        self._runs[_job_key(config)] = run
        self._active = mlflow_active(run, organizer.config.tracking.uri) if parent is None else None
        if self._active is not None:
            self._active.__enter__()
        self._job_started(run, config)

    def _close_job(self, config: DictConfig, error: BaseException | None) -> None:
        run = self._runs.pop(_job_key(config), None)
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
        self._refusing(lambda: _start_ray(config))
        if not str(config.hydra.sweeper._target_).startswith("hydra_plugins.tradingbot_exp."):
            self._refusing(lambda: _refuse_registration(config))
            super().on_multirun_start(config, **kwargs)

    def _open_job(self, config: DictConfig) -> None:
        """Open the job's run; a trial's was created when the study asked for it, and is taken over."""
        ticket = _ticket(config)
        if ticket is None:
            super()._open_job(config)
        else:
            run = self._reach(config).take_over(ticket.run_id, ticket.number, ticket.parent_id)
            self._runs[_job_key(config)] = run

    def _record_trial(self, run: TrackedRun | None, job_return: JobReturn) -> None:
        """Write how the trial ended into its run, after its metrics: what a resumed study goes by."""
        from tradingbot_exp.hpo.trial import ending_tags

        if run is not None:
            error = _error_of(job_return)
            run.flush(ending_tags(error, None if error is not None else job_return.return_value))

    def _check(self, config: DictConfig) -> None:
        from tradingbot_exp.resuming import find_resumption

        composed = _finalized(config)
        self._resumption = find_resumption(composed, list(config.hydra.overrides.task))
        self._check_place(composed if self._resumption is None else self._resumption.config)

    def _check_sweep(self, config: DictConfig) -> None:
        from tradingbot_exp.resuming import refuse_in_study

        first = _finalized(_first_job(config))
        refuse_in_study(first)
        self._check_place(first)

    def _check_place(self, config: Config) -> None:
        from tradingbot_exp.experiment import check_inputs
        from tradingbot_exp.tracking.store import check_space

        check_inputs(config)
        check_space(launch_dir())

    def _organized(self, config: DictConfig) -> Organized:
        return _finalized(_first_job(config)) if self._resumption is None else self._resumption.config

    def _job_started(self, run: TrackedRun, config: DictConfig) -> None:
        """Leave the recording to `experiment.prepare`."""

    def _record_result(self, run: TrackedRun, value: Any) -> None:
        """Leave the objective to its own metric."""

    def _hand_over(self, error: Exception) -> None:
        from tradingbot_exp.tracking.organizer import set_start_failure

        set_start_failure(error)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Close the job's run; say how it went, or carry its error out without Hydra's words around it."""
        from tradingbot_exp.evaluation.names import naive_name
        from tradingbot_exp.summary import print_summary

        run, parent = self._runs.get(_job_key(config)), _parent_run(config)
        ticket = _ticket(config)
        if ticket is not None:
            self._refusing(lambda: self._record_trial(run, job_return))
            super().on_job_end(config, job_return, **kwargs)
            return
        # Hydra prints a failed job's overrides.
        job_return.overrides = [redact(override) for override in job_return.overrides or []]
        super().on_job_end(config, job_return, **kwargs)
        error = _error_of(job_return)
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


def _first_job(config: DictConfig) -> DictConfig:
    """Compose what the first job of a plain sweep will see; a configuration without sweeps stays as it is."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(loader).parse_overrides(list(config.hydra.overrides.task))
    swept = [override for override in parsed if override.is_sweep_override() and override.is_discrete_sweep()]
    if not swept:
        return config
    first = [
        f"{override.get_key_element()}={_first_value(override)}" if override in swept else str(override.input_line)
        for override in parsed
        if override in swept or not override.is_sweep_override()
    ]
    return loader.load_sweep_config(config, first)


def _first_value(override: Override) -> str:
    for value in override.sweep_string_iterator():
        return str(value)
    raise ConfigError(
        f"{override.input_line} names no value: glob(...) chooses among the files of a group such as model. Give the "
        "values themselves, as in KEY=A,B."
    )


def _finalized(config: DictConfig) -> Config:
    return finalize(config, list(config.hydra.overrides.task))


def _job_key(config: DictConfig) -> str:
    """Name a job among those of its process; a single run's has no number."""
    return str(OmegaConf.select(config, "hydra.job.num", default=""))


def _parent_run(config: DictConfig) -> str | None:
    """Give the id of the sweep's parent run, or None in a single run."""
    parent: str | None = OmegaConf.select(config, f"hydra.job.env_set.{PARENT_RUN_VARIABLE}", default=None)
    return parent


def _ticket(config: DictConfig) -> Ticket | None:
    """Give what a study tells the job of a trial, or None outside a study."""
    from tradingbot_exp.hpo.trial import TICKET_VARIABLE, Ticket

    text = OmegaConf.select(config, f"hydra.job.env_set.{TICKET_VARIABLE}", default=None)
    return None if text is None else Ticket.loads(text)


def _error_of(job_return: JobReturn) -> BaseException | None:
    """Give what a job failed with, or None; reading `return_value` of a failed job would raise it."""
    from hydra.core.utils import JobStatus

    if job_return.status is not JobStatus.FAILED:
        return None
    outcome = job_return._return_value
    return outcome if isinstance(outcome, BaseException) else RuntimeError("the job failed without saying why")


def _number(value: Any) -> float | None:
    """Give a job's result as a number, or None if it is none."""
    if value is None or isinstance(value, bool | str):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _start_ray(config: DictConfig) -> None:
    """Start Ray, for its launcher, and take SIGTERM back: Ray's own handler ends the process with runs open."""
    import importlib
    import signal

    launcher = config.hydra.launcher
    if not str(launcher._target_).endswith(".RayLauncher"):
        return
    ray = importlib.import_module("ray")  # of an extra: a type checker need not know it
    before = signal.getsignal(signal.SIGTERM)
    if not ray.is_initialized():
        settings: Any = OmegaConf.to_container(launcher.ray.init, resolve=True)
        ray.init(**settings)
    if before is not None:
        signal.signal(signal.SIGTERM, before)


def _task_name(config: DictConfig) -> str:
    import time

    return f"{config.hydra.job.name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _mask_saved_config(config: DictConfig) -> None:
    """Mask credentials in the files that Hydra has just written about the job."""
    folder = Path(config.hydra.runtime.output_dir)
    if config.hydra.output_subdir is not None:
        _mask_files(folder / config.hydra.output_subdir)
    _mask_files(folder.parent)  # of a sweep: multirun.yaml


def _mask_files(folder: Path) -> None:
    for file in folder.glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        masked = redact(text)
        if masked != text:
            file.write_text(masked, encoding="utf-8")
