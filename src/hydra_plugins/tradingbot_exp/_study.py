"""What ``hydra/sweeper=study`` does: an Optuna study that is resumed after a kill, pruned, shared, and recorded.

Hydra's side only: which overrides are fixed and which are searched, and how a batch of trials is launched.
The study itself is `tradingbot_exp.hpo`.
"""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write

from hydra_plugins.tradingbot_exp._jobs import PreparedLoader, TrialConfigs, launch_words_of, words_of
from hydra_plugins.tradingbot_exp.stacked import StackedLauncher
from tradingbot_exp.config.finalize import finalize
from tradingbot_exp.config.overrides import quote, split_words
from tradingbot_exp.config.own_conf import refuse_another_app, search_path
from tradingbot_exp.errors import ConfigError, TradingBotError
from tradingbot_exp.evaluation.leakage.gate import check_leaks
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.experiment.handover import handed_over
from tradingbot_exp.hpo.batch import batch_width
from tradingbot_exp.hpo.runner import Runner
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.trial_spec import Lost
from tradingbot_exp.hpo.workers import Crew
from tradingbot_exp.reporting.automatic import report_at_end
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
from tradingbot_exp.training.device import resolve_device
from tradingbot_exp.training.threads import share_cores

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.hpo.loop import Launch
    from tradingbot_exp.hpo.study import Study
    from tradingbot_exp.hpo.trial_spec import TrialSpec

log = logging.getLogger(__name__)

# What joblib raises when a worker was killed, by the kernel for want of memory as a rule.
_WORKER_DIED = ("TerminatedWorkerError", "BrokenProcessPool")
# References that do not change a trial's configuration: of the learning rates, which come together, and resolvers'.
_HARMLESS = ("${model.learning_rate}", "${tradingbot.", "${training.learning_rate}")


class StudySweep:
    """Runs a study over ``hpo.param_space`` and whatever the command line sweeps over.

    Parameters
    ----------
    official : mapping of str to object
        Keys of the official Optuna sweeper, refused with the key to use instead.
    context : HydraContext
    task : TaskFunction
    config : DictConfig
        The sweep's.
    """

    def __init__(
        self, official: Mapping[str, Any], context: HydraContext, task: TaskFunction, config: DictConfig
    ) -> None:
        self._official, self.config, self._task = official, config, task
        self._loader = PreparedLoader(context.config_loader)
        self._context = replace(context, config_loader=self._loader) if _is_basic(config) else context  # type: ignore[arg-type]
        self.launcher = self._new_launcher()

    def _new_launcher(self) -> Launcher:
        return Plugins.instance().instantiate_launcher(
            hydra_context=self._context, task_function=self._task, config=self.config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Bring the study to its end.

        Parameters
        ----------
        arguments : list of str
            The overrides of the command line.
        """
        refuse_another_app(self.config)
        for key, ours in (("n_trials", "hpo.num_trials"), ("params", "hpo.param_space")):
            if self._official[key] is not None:
                raise ConfigError(f"hydra.sweeper.{key}={self._official[key]} is not read here: set {ours} instead.")
        fixed, swept = split_words(arguments)
        config = handed_over() or finalize(self.config, fixed)
        # A sweep string given for an entry of the space is an entry, not a sweep over the space.
        prefix = "hpo.param_space."
        entries = dict(word.lstrip("+").removeprefix(prefix).split("=", 1) for word in swept if prefix in word)
        swept = [word for word in swept if prefix not in word]
        space = SearchSpace.parse({**config.hpo.param_space, **entries}, swept)
        space = space.without(word.lstrip("+").partition("=")[0] for word in fixed)
        launcher = str(self.config.hydra.launcher._target_)
        _refuse_unreachable(config.hpo.pruner, launcher, config.hpo.storage or "")
        if config.hpo.n_jobs > 1 and _is_basic(self.config):
            log.warning(
                "hpo.n_jobs=%d: the basic launcher still runs one trial after another, and asks for all of them before "
                "it knows the first one's value. hydra/launcher=stacked, the default, or joblib runs them at once.",
                config.hpo.n_jobs,
            )
        if config.hpo.workers == 1:
            runner, launch, width = self._open(config, space, fixed)
            result = runner.run(partial(report_at_end, "hpo"), launch, width)
            return result.best[0].values if result.best else None
        _refuse_workers(self.launcher, config)
        check_leaks(load_data(config))  # once for all
        until = math.inf if config.hpo.timeout is None else time.monotonic() + config.hpo.timeout
        with closing(Crew(lambda study: self._work(config, space, fixed, study=study, until=until))) as crew:
            runner, launch, width = self._open(config, space, fixed)
            result = runner.run(partial(report_at_end, "hpo"), launch, width, crew=crew)
        return result.best[0].values if result.best else None

    def _open(
        self, config: Config, space: SearchSpace, fixed: Sequence[str], *, is_worker: bool = False
    ) -> tuple[Runner, Launch, int]:
        """Open the study; return what runs it, what runs a batch of its trials, and how many are asked for at once."""
        overrides = [*search_path(self.config.hydra), *fixed]
        configure = self._configuring(config, fixed)
        runner = Runner(config, space, ExperimentOrganizer(config), overrides, configure, is_worker=is_worker)
        try:
            self._choose_folder(runner.study)
            self.launcher = self._new_launcher()  # once more: what it keeps beside the jobs goes there too
            configs = TrialConfigs(self.config, fixed)
            here, width = self._at_once(runner, fixed)
        except BaseException as error:
            if not is_worker:
                runner.close(error)
            raise

        def launch(specs: Sequence[TrialSpec]) -> Sequence[Any]:
            if here is not None:
                return here.run_trials(configs, partial(runner.run_here, specs))
            return self._launch(configs, fixed, specs)

        return runner, launch, width

    def _work(self, config: Config, space: SearchSpace, fixed: Sequence[str], *, study: str, until: float) -> int:
        """Work on the study of a name in a process of its own, until it has all its trials; return the exit status."""
        share_cores(config.hpo.workers)
        config = replace(config, hpo=replace(config.hpo, study_name=study, resume=True))  # it is there
        try:
            runner, launch, width = self._open(config, space, fixed, is_worker=True)
            runner.work(launch, width, until)
        except TradingBotError as error:
            log.warning("A worker of the study ended: %s", error)
            return 1
        return 0

    def _configuring(self, config: Config, fixed: Sequence[str]) -> Callable[[Mapping[str, Any]], Config] | None:
        """Return what makes a trial's configuration where one value may follow another; else None."""
        tree = OmegaConf.masked_copy(self.config, [key for key in map(str, self.config) if key != "hydra"])
        if not _has_reference(OmegaConf.to_container(tree)):
            return None

        def configure(values: Mapping[str, Any]) -> Config:
            varied = copy.deepcopy(tree)
            for key, value in values.items():
                OmegaConf.update(varied, key, value)
            return finalize(varied, [*fixed, *(f"{key}=" for key in values)])

        return configure

    def _at_once(self, runner: Runner, fixed: Sequence[str]) -> tuple[StackedLauncher | None, int]:
        """Return what runs trials in this process without jobs, if anything, and how many are asked for at once."""
        config, launcher = runner.study.config, self.launcher
        if not isinstance(launcher, StackedLauncher):
            return None, config.hpo.n_jobs
        reason, widest = launcher.why_not_at_once(), launcher.width
        if reason:
            log.warning("The jobs are run one after another: %s.", reason)
            widest = 1  # a batch would be asked for blindly, and be no faster for it
        here = None if reason else launcher
        named = any(word.partition("=")[0] == "hpo.n_jobs" for word in fixed)
        if named or config.hpo.n_jobs > 1:
            return here, config.hpo.n_jobs
        return here, max(1, batch_width(config, runner.study.space, runner.parent, widest) // config.hpo.workers)

    def _choose_folder(self, study: Study) -> None:
        """Put all starts of a study into one folder, unless the user names another."""
        given = [word for word in self.config.hydra.overrides.hydra if word.startswith("hydra.sweep.dir=")]
        with read_write(self.config.hydra), read_write(self.config.hydra.overrides.hydra):
            if given:
                study.folder = Path(str(self.config.hydra.sweep.dir)).absolute()
            else:
                self.config.hydra.sweep.dir = str(study.folder)
                self.config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quote(str(study.folder))}")

    def _launch(self, configs: TrialConfigs, fixed: Sequence[str], specs: Sequence[TrialSpec]) -> list[Any]:
        """Run a batch of trials as jobs of a launcher of Hydra's, and return how each ended."""
        overrides = [[*fixed, *words_of(spec), *launch_words_of(spec)] for spec in specs]
        self._loader.prepare(configs, zip(overrides, specs, strict=True))
        try:
            returns = self.launcher.launch(overrides, initial_job_idx=specs[0].number)
        except KeyboardInterrupt:
            _stop_workers()
            interrupt.check()  # Ray turns SIGTERM's exception into that of Ctrl-C
            raise
        except Exception as error:
            if type(error).__name__ not in _WORKER_DIED:
                raise
            return [Lost(str(error).partition("\n")[0]) for _ in specs]
        return [_outcome(job_return) for job_return in returns]


def _has_reference(tree: Any) -> bool:
    """Whether a value may follow another that a study varies."""
    if isinstance(tree, dict):
        return any(_has_reference(value) for value in tree.values())
    if isinstance(tree, list):
        return any(_has_reference(value) for value in tree)
    return isinstance(tree, str) and "${" in tree and not tree.startswith(_HARMLESS)


def _refuse_workers(launcher: Launcher, config: Config) -> None:
    """Refuse workers where something else would have to start them, or where they cannot be started."""
    if not isinstance(launcher, StackedLauncher):
        raise ConfigError(
            f"hpo.workers={config.hpo.workers} are processes of hydra/launcher=stacked on this machine; other "
            "launchers run hpo.n_jobs trials at once. Use hydra/launcher=stacked, or leave hpo.workers=1."
        )
    if reason := launcher.why_not_at_once():
        raise ConfigError(f"hpo.workers={config.hpo.workers}: {reason}. Leave hpo.workers=1.")
    if resolve_device(config.training.device).type != "cpu":
        raise ConfigError(
            f"hpo.workers={config.hpo.workers} train on the CPU, and training.device={config.training.device} is "
            "another device here. Set training.device=cpu, or leave hpo.workers=1."
        )
    if not hasattr(os, "fork"):
        raise ConfigError(
            f"hpo.workers={config.hpo.workers} needs a system that can fork a process; use hpo.workers=1."
        )


def _is_basic(config: DictConfig) -> bool:
    """Whether jobs are launched one after another, in this process."""
    return str(config.hydra.launcher._target_).endswith(".BasicLauncher")


def _refuse_unreachable(pruner: str, launcher: str, storage: str) -> None:
    """Refuse pruning where jobs run on machines that cannot be expected to see the study's file."""
    remote = any(word in launcher.lower() for word in ("slurm", "aws"))
    if pruner != "none" and remote and not storage.startswith("postgresql"):
        raise ConfigError(
            f"hpo.pruner={pruner} needs jobs that reach the study's storage, and those of this launcher run on other "
            "machines. Give hpo.storage=postgresql://USER@HOST/NAME, or set hpo.pruner=none."
        )


def _outcome(job_return: JobReturn) -> Any:
    """Return a job's value, or the exception that it raised, without Hydra's printing."""
    from hydra.core.utils import JobStatus

    if job_return.status is JobStatus.COMPLETED:
        return job_return.return_value
    error = job_return._return_value
    return error if isinstance(error, BaseException) else RuntimeError(f"the job failed without saying why: {error}")


def _stop_workers() -> None:
    """End the launcher's workers on this machine, which would finish their jobs all the same."""
    import signal
    import sys

    import psutil

    if "joblib.externals.loky" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True, kill_workers=True)
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()
    if "submitit" in sys.modules:
        # Each job has a controller, which passes SIGINT on and kills after a second; its job ignores SIGTERM.
        mine = [child for child in psutil.Process().children() if "submitit.local._local" in child.cmdline()]
        for controller in mine:
            controller.send_signal(signal.SIGINT)
        psutil.wait_procs(mine, timeout=10)
