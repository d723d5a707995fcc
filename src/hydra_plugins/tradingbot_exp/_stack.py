"""What ``hydra/launcher=stacked`` does: the jobs of a batch in this process, their networks trained as one stack.

To callbacks, folders and the sweeper it is a launcher that starts all jobs of a batch before it ends the first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hydra_plugins.tradingbot_exp._composing import compose
from tradingbot_exp.errors import ConfigError, TrackingError
from tradingbot_exp.experiment.steps import prepare
from tradingbot_exp.hpo.trial_run import Trial
from tradingbot_exp.hpo.trial_spec import TICKET_VARIABLE
from tradingbot_exp.tracking.writing.active import current_run, start_failure
from tradingbot_exp.tracking.writing.batch import run_batch
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

    from hydra_plugins.tradingbot_exp._composing import Composed
    from tradingbot_exp.experiment.job import Job
    from tradingbot_exp.tracking.writing.batch import RunBatch

log = logging.getLogger(__name__)


class StackedBatches:
    """The work of `hydra_plugins.tradingbot_exp.stacked.StackedLauncher`, which hands all its calls on."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._has_told = False
        self.config: DictConfig
        self._context: HydraContext
        self._task: TaskFunction

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take note of what Hydra hands over, before the sweep."""
        if self.width < 1:
            raise ConfigError(f"hydra.launcher.width={self.width} is impossible. Right would be 1 or more trials.")
        self.config, self._context, self._task = config, hydra_context, task_function
        if self._why_not():
            self.width = 1  # a batch would be asked for blindly, and be no faster for it

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of jobs."""
        from hydra._internal.core_plugins.basic_launcher import BasicLauncher
        from hydra._internal.execution_policy import execution_whitelist
        from hydra.core.utils import setup_globals

        reason = self._why_not()
        named = any(word.startswith("hydra/launcher=") for word in self.config.hydra.overrides.hydra)
        wanted = named or any(TICKET_VARIABLE in word for word in job_overrides[0])
        if reason or not wanted:
            if wanted and not self._has_told:
                log.warning("The jobs are run one after another: %s.", reason)
                self._has_told = True
            basic = BasicLauncher()
            basic.setup(hydra_context=self._context, task_function=self._task, config=self.config)
            return basic.launch(job_overrides, initial_job_idx)
        setup_globals()
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        self._configure_logging(self.config, "hydra_logging")
        try:
            with execution_whitelist(self._context.execution_whitelist, reset=True):
                return self._launch(job_overrides, initial_job_idx)
        finally:
            self._configure_logging(self.config, "hydra_logging")

    def _why_not(self) -> str:
        """Say why the jobs cannot be taken apart; empty if they can."""
        if not getattr(self._task, "tradingbot_in_steps", False):
            return "hydra/launcher=stacked knows how to train only this package's own jobs at once"
        if self.config.hydra.job.chdir:
            return "hydra.job.chdir=true moves the whole process into the folder of one job"
        if not any(_is_ours(each) for each in self._context.callbacks.callbacks):
            return "hydra.callbacks.tracking, which opens their runs, was taken out"
        return ""

    def _configure_logging(self, config: DictConfig, block: str) -> None:
        from hydra.core.utils import configure_log

        configure_log(config.hydra[block], config.hydra.verbose, self._context.execution_whitelist)

    def _launch(self, job_overrides: Sequence[Sequence[str]], initial: int) -> list[JobReturn]:
        composed = compose(self._context.config_loader, self.config, job_overrides)
        only_ours = all(_is_ours(each) for each in self._context.callbacks.callbacks)
        jobs = [_Job(each, initial + place, self, shares=only_ours) for place, each in enumerate(composed)]
        folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        with jobs[0].at_work() as config:
            _set_output(config, folder)
            self._configure_logging(config, "job_logging")  # one log for all jobs, beside their folders
        with run_batch() as batch:
            try:
                self._run(jobs, batch)
            except BaseException as error:
                for job in jobs:
                    job.end(error)
                raise
        return [job.result for job in jobs]

    def _run(self, jobs: Sequence[_Job], batch: RunBatch) -> None:
        from tradingbot_exp.hpo.batch import run_jobs, run_trials

        ticket = jobs[0].composed.ticket
        if ticket is not None:
            with jobs[0].at_work() as config:
                organizer = ExperimentOrganizer(_names(config))
            batch.fetch(*organizer.connect(), ticket.parent_id)
        for job in jobs:
            job.start()
        begun = [job for job in jobs if job.begun is not None]
        run: Any = run_jobs if ticket is None else run_trials
        outcomes = dict(zip(map(id, begun), run([job.begun for job in begun]), strict=True))
        refusal: SystemExit | None = None
        for job in jobs:
            try:
                job.end(outcomes.get(id(job), job.failure))
            except SystemExit as error:  # the others' results are to be recorded all the same
                refusal = refusal or error
        if refusal is not None:
            raise refusal


class _Job:
    """One job between its start and its end, which Hydra's own `run_job` has in one piece."""

    def __init__(self, composed: Composed, number: int, launcher: StackedBatches, *, shares: bool) -> None:
        from hydra.core.utils import JobReturn

        self.composed, self._number, self._launcher = composed, number, launcher
        # Callbacks of others may keep the configuration that they are shown; ours do not.
        self._own = None if shares else composed.config(number)
        self.result = JobReturn()
        self.result.overrides = composed.task_overrides
        # Built and ready to be trained, or what kept it from that.
        self.begun: Trial | Job | None = None
        self.failure: Exception | None = None
        self._started = self._ended = False

    @contextmanager
    def at_work(self) -> Iterator[DictConfig]:
        """Be the job that Hydra's global state speaks of, for the length of a ``with`` block."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.core.utils import env_override

        config = self.composed.config(self._number, shared=True) if self._own is None else self._own
        state: Any = HydraConfig.instance()
        before = state.cfg
        try:
            state.cfg = config  # all of `set_config` that counts here; it copies the whole configuration
            folder = Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)
            _set_output(config, folder)
            environment = OmegaConf.to_container(config.hydra.job.env_set, resolve=True)
            with env_override({str(key): str(value) for key, value in environment.items()}):  # type: ignore[union-attr]
                yield config
        finally:
            state.cfg = before

    def start(self) -> None:
        """Make the job's folder, call the start callbacks, and build what is to be trained."""
        from hydra.core.utils import JobRuntime

        with self.at_work() as config:
            folder = Path(str(config.hydra.runtime.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            self.result.working_dir, self.result.task_name = str(Path.cwd()), JobRuntime.instance().get("name")
            if self._own is not None:
                self.result.hydra_cfg, self.result.cfg = config, _without_hydra(config)
            if config.hydra.output_subdir is not None:
                self._save(config, folder / str(config.hydra.output_subdir))
            self._started = True
            self._launcher._context.callbacks.on_job_start(config=config, task_function=self._launcher._task)
            try:
                self.begun = self._begin(folder)
            except Exception as error:
                self.failure = error

    def _begin(self, folder: Path) -> Trial | Job:
        failure, run = start_failure(), current_run()
        if failure is not None or run is None:
            raise failure or TrackingError("No callback has opened the job's run.")
        config = self.composed.finalized()
        if self.composed.ticket is None:
            return prepare(config, run, self.composed.task_overrides)
        return Trial(config, run, self.composed.ticket, folder)

    def _save(self, config: DictConfig, folder: Path) -> None:
        """Write the files that Hydra writes about a job."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.core.utils import _save_config

        _save_config(_without_hydra(config), "config.yaml", folder)
        shown: Any = HydraConfig.instance().cfg
        _save_config(OmegaConf.masked_copy(shown, "hydra"), "hydra.yaml", folder)
        _save_config(config.hydra.overrides.task, "overrides.yaml", folder)

    def end(self, outcome: Any) -> None:
        """Take the job's value, or what it failed with, and call the end callbacks; done once, if it was started."""
        from hydra.core.utils import JobStatus

        if not self._started or self._ended:
            return
        self._ended = True
        self.result.return_value = outcome
        self.result.status = JobStatus.FAILED if isinstance(outcome, BaseException) else JobStatus.COMPLETED
        with self.at_work() as config:
            self._launcher._context.callbacks.on_job_end(config=config, job_return=self.result)


def _set_output(config: DictConfig, folder: Path) -> None:
    """Tell Hydra where a job's output is, as `run_job` does; opening a configuration that is open takes long."""
    if not (OmegaConf.is_readonly(config.hydra) or OmegaConf.is_struct(config.hydra)):
        config.hydra.runtime.output_dir = str(folder.absolute())
        return
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.runtime.output_dir = str(folder.absolute())


def _is_ours(callback: object) -> bool:
    """Whether a callback is this package's own: a subclass, which may do otherwise, is not."""
    return bool(vars(type(callback)).get("tradingbot_own"))


def _names(config: DictConfig) -> Any:
    """Give the experiment's names and the store, all that an organizer reads."""
    from types import SimpleNamespace

    return SimpleNamespace(experiment=config.experiment, tracking=config.tracking)


def _without_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [key for key in map(str, config) if key != "hydra"])
