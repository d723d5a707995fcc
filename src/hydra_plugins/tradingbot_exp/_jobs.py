"""The trials of a study as Hydra's jobs: their configurations, and what callbacks of others are shown of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.execution_policy import execution_whitelist
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, env_override, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from tradingbot_exp.config.overrides import quote
from tradingbot_exp.hpo.batch import Observer
from tradingbot_exp.hpo.trial_spec import TRIAL_VARIABLE, TrialSpec
from tradingbot_exp.tracking.run_names import trial_name

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader


def words_of(spec: TrialSpec) -> list[str]:
    """Write a trial's values as overrides."""
    return [f"{key}={quote(value)}" for key, value in spec.values.items()]


def launch_words_of(spec: TrialSpec) -> list[str]:
    """Write what a launcher of Hydra's, and the trial's job, have to know of it besides, as overrides."""
    return [*_place_words(spec), f"+hydra.job.env_set.{TRIAL_VARIABLE}={quote(spec.dumps())}"]


def _place_words(spec: TrialSpec) -> list[str]:
    return [f"hydra.sweep.subdir={trial_name(spec.number)}", "hydra.output_subdir=null"]


class TrialConfigs:
    """Makes the configurations that Hydra would compose for the trials of a study, which differ in plain values.

    Parameters
    ----------
    master : DictConfig
        The sweep's.
    fixed : sequence of str
        The overrides that all trials have.
    """

    def __init__(self, master: DictConfig, fixed: Sequence[str]) -> None:
        self._fixed, self.hydra_overrides = list(fixed), list(master.hydra.overrides.hydra)
        self._shared = copy.deepcopy(master)
        for node in (self._shared, self._shared.hydra):  # opening it for each trial would take longer than the writing
            OmegaConf.set_readonly(node, False)
            OmegaConf.set_struct(node, False)

    def shared(self, spec: TrialSpec) -> DictConfig:
        """Return the configuration of a trial, in an object that is the next trial's when that is asked for."""
        config, name = self._shared, trial_name(spec.number)
        for key, value in spec.values.items():
            OmegaConf.update(config, key, value)
        hydra = config.hydra
        hydra.overrides.task = [*self._fixed, *words_of(spec)]
        hydra.overrides.hydra = [*self.hydra_overrides, *_place_words(spec)]
        hydra.sweep.subdir, hydra.output_subdir = name, None
        hydra.job.id, hydra.job.num = str(spec.number), spec.number
        return config

    def own(self, spec: TrialSpec) -> DictConfig:
        """Return the configuration of a trial in an object of its own, which takes no other keys."""
        config = copy.deepcopy(self.shared(spec))
        OmegaConf.set_struct(config.hydra, None)
        OmegaConf.set_struct(config, True)
        return config


class HydraJobs(Observer):
    """Shows the trials of a batch to Hydra's global state and to callbacks of others, as a launcher shows its jobs.

    Parameters
    ----------
    configs : TrialConfigs
    context : HydraContext
    task : TaskFunction
        The app's; it is not called.
    """

    def __init__(self, configs: TrialConfigs, context: HydraContext, task: TaskFunction) -> None:
        self._configs, self._task = configs, task
        self._others = Callbacks()
        self._others.callbacks = [each for each in context.callbacks.callbacks if not _is_ours(each)]
        self._jobs: dict[int, tuple[DictConfig, JobReturn]] = {}

    def start(self, spec: TrialSpec) -> None:
        """Make a trial Hydra's current job, and call the start callbacks."""
        # Callbacks of others may keep what they are shown.
        config = self._configs.own(spec) if self._others.callbacks else self._configs.shared(spec)
        _put_output(config, Path(str(config.hydra.sweep.dir)) / trial_name(spec.number))
        _make_current(config)
        if not self._others.callbacks:
            return
        job = JobReturn(
            list(config.hydra.overrides.task),
            OmegaConf.masked_copy(config, [key for key in map(str, config) if key != "hydra"]),
            copy.deepcopy(config),
            str(Path.cwd()),
            JobRuntime.instance().get("name"),
        )
        self._jobs[spec.number] = config, job
        self._others.on_job_start(config=config, task_function=self._task)

    def end(self, spec: TrialSpec, outcome: Any) -> None:
        """Make a trial Hydra's current job again, and call the end callbacks."""
        if spec.number in self._jobs:
            config, job = self._jobs.pop(spec.number)
            _make_current(config)
            job.return_value = outcome
            job.status = JobStatus.FAILED if isinstance(outcome, BaseException) else JobStatus.COMPLETED
            self._others.on_job_end(config=config, job_return=job)


@contextmanager
def batch_at_work(master: DictConfig, context: HydraContext) -> Iterator[None]:
    """Let Hydra's global state, environment and log be those of a batch of jobs for the length of a ``with`` block."""
    folder = Path(str(master.hydra.sweep.dir)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    setup_globals()
    before: Any = HydraConfig.instance().cfg

    def configure(config: DictConfig, block: str) -> None:
        configure_log(config.hydra[block], config.hydra.verbose, context.execution_whitelist)

    try:
        with execution_whitelist(context.execution_whitelist, reset=True):
            config = copy.deepcopy(master)
            _put_output(config, folder)
            _make_current(config)
            configure(config, "job_logging")  # one log for all jobs, beside their folders
            environment: Any = OmegaConf.to_container(config.hydra.job.env_set, resolve=True)
            with env_override({str(key): str(value) for key, value in environment.items()}):
                yield
    finally:
        HydraConfig.instance().cfg = before
        configure(master, "hydra_logging")


class PreparedLoader:
    """Stands in for Hydra's loader under a launcher of Hydra's that runs jobs in this process: composing takes longest.

    Parameters
    ----------
    loader : ConfigLoader
        Hydra's.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._prepared: dict[tuple[str, ...], tuple[TrialConfigs, TrialSpec]] = {}

    def prepare(self, configs: TrialConfigs, trials: Iterable[tuple[Sequence[str], TrialSpec]]) -> None:
        """Take note of the trials that are launched next, each with its overrides."""
        self._prepared = {tuple(overrides): (configs, spec) for overrides, spec in trials}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return a job's configuration as Hydra composes it."""
        if tuple(sweep_overrides) not in self._prepared:
            return self._loader.load_sweep_config(master_config, sweep_overrides)
        configs, spec = self._prepared[tuple(sweep_overrides)]
        config = configs.own(spec)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.overrides.hydra = [*configs.hydra_overrides, *launch_words_of(spec)]
            config.hydra.job.env_set[TRIAL_VARIABLE] = spec.dumps()
        return config


def _put_output(config: DictConfig, folder: Path) -> None:
    """Let a job's output be in a folder."""
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(folder.absolute())


def _make_current(config: DictConfig) -> None:
    """Make a configuration that of Hydra's current job."""
    state: Any = HydraConfig.instance()
    state.cfg = config  # all of `set_config` that counts here; it copies the whole configuration


def _is_ours(callback: object) -> bool:
    """Whether a callback is this package's own: a subclass, which may do otherwise, is not."""
    return bool(vars(type(callback)).get("tradingbot_own"))
