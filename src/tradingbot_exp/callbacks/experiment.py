"""The callback of this package's own app: it checks first, and opens and closes the runs of its jobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from tradingbot_exp.callbacks.hydra_job import (
    error_of,
    first_job,
    job_key,
    parent_run,
    spec_of,
    start_ray,
)
from tradingbot_exp.callbacks.tracking import TrackingCallback
from tradingbot_exp.config.finalize import finalize
from tradingbot_exp.config.own_conf import task_overrides
from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.config.redaction import mask_secrets
from tradingbot_exp.errors import ConfigError, Refusal
from tradingbot_exp.evaluation.metrics.target import naive_name
from tradingbot_exp.experiment.handover import hand_over
from tradingbot_exp.hpo.trial_spec import ending_tags
from tradingbot_exp.reporting.automatic import report_at_end
from tradingbot_exp.terminal.output import say
from tradingbot_exp.terminal.summary import print_summary
from tradingbot_exp.tracking.store.places import check_space
from tradingbot_exp.tracking.writing.batch import current_batch

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.tracking.writing.origin import Organized
    from tradingbot_exp.tracking.writing.run import TrackedRun


class ExperimentCallback(TrackingCallback):
    """The callback of this package's own app: checks configuration and data before anything is written."""

    tradingbot_own = True  # a launcher need not show it the trials that the study runs without jobs
    _checked: tuple[str, Config] | None

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

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Open the job's run; whoever runs a batch of trials without jobs opens their runs."""
        if current_batch() is None:  # where a subclass is shown trials as if they were jobs
            super().on_job_start(config, **kwargs)

    def _open_job(self, config: DictConfig) -> None:
        """Open the job's run; a trial's was created when the study asked for it, and is taken over."""
        spec = spec_of(config)
        if spec is None:
            super()._open_job(config)
        else:
            run = self._reach(config).take_over(spec.run_id, spec.number, spec.parent_id)
            self._runs[job_key(config)] = run
            self._job_started(run, config)

    def _finalized(self, config: DictConfig) -> Config:
        """Return a job's configuration, checked once."""
        key = job_key(config)
        if self._checked is None or self._checked[0] != key:
            self._checked = key, finalize(config, task_overrides(config.hydra))
        return self._checked[1]

    def _record_trial(self, run: TrackedRun | None, job_return: JobReturn) -> None:
        """Write how the trial ended into its run, after its metrics: what a resumed study goes by."""
        if run is not None:
            error = error_of(job_return)
            run.set_tags(ending_tags(error, None if error is not None else job_return.return_value))

    def _forget(self) -> None:
        super()._forget()
        self._checked = None

    def _check(self, config: DictConfig) -> None:
        composed = self._finalized(config)  # before what loads MLflow: a mistake is answered at once
        from tradingbot_exp.experiment.resume import find_resume_point

        self._resume_point = find_resume_point(composed, task_overrides(config.hydra))
        self._check_place(composed if self._resume_point is None else self._resume_point.config)

    def _check_sweep(self, config: DictConfig) -> None:
        first = first_job(config)
        checked = self._finalized(first)
        from tradingbot_exp.experiment.resume import refuse_in_study

        refuse_in_study(checked)
        self._check_place(checked)
        # Of a sweep over values the study's own is yet to be made; what an earlier command left is none of its.
        hand_over(checked if first is config else None)

    def _check_place(self, config: Config) -> None:
        from tradingbot_exp.experiment.data import check_inputs

        check_inputs(config)
        check_space(launch_dir())

    def _organized(self, config: DictConfig) -> Organized:
        return self._finalized(config) if self._resume_point is None else self._resume_point.config

    def _job_started(self, run: TrackedRun, config: DictConfig) -> None:
        """Hand the job its configuration, and leave the recording to it."""
        hand_over(self._finalized(config))

    def _record_result(self, run: TrackedRun, value: Any) -> None:
        """Leave the objective to its own metric."""

    def _hand_over(self, error: Exception) -> None:
        hand_over(error)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Close the job's run; say how it went, or carry its error out without Hydra's words around it."""
        if current_batch() is not None:
            return
        run, parent = self._runs.get(job_key(config)), parent_run(config)
        spec = spec_of(config)
        if spec is not None:
            self._refusing(lambda: self._record_trial(run, job_return))
            super().on_job_end(config, job_return, **kwargs)
            return
        # Hydra prints a failed job's overrides.
        job_return.overrides = mask_secrets(task_overrides(config.hydra))
        super().on_job_end(config, job_return, **kwargs)
        error = error_of(job_return)
        report = None
        wanted = config.tracking.report if self._resume_point is None else self._resume_point.config.tracking.report
        if run is not None and parent is None and wanted and not isinstance(error, KeyboardInterrupt):
            report = report_at_end("training", run)
        if error is None and run is not None:
            naive = naive_name({key: OmegaConf.select(config, key) for key in ("training.loss", "data.target")})
            self._refusing(lambda: print_summary(run, report, naive))
        elif isinstance(error, Exception) and parent is None:
            raise Refusal(error)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Close a plain sweep's parent run and report on it; a study does both itself."""
        run, interrupted = self._sweep, isinstance(sys.exc_info()[1], KeyboardInterrupt)
        super().on_multirun_end(config, **kwargs)
        if run is not None and config.tracking.report and not interrupted:
            report = report_at_end("hpo", run)
            if report is not None:
                say(f"report  {report}\n")


def _refuse_registration(config: DictConfig) -> None:
    name = config.tracking.register
    if name is not None:
        raise ConfigError(
            f"tracking.register={name} is for the winner of a study, or for a single run: a plain sweep has no winner. "
            "Leave it out."
        )
