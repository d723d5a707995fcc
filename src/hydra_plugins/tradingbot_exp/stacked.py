"""``hydra/launcher=stacked``: the trials of a batch in this process, their networks trained as one stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from tradingbot_exp.config.facts import wrong

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

    from hydra_plugins.tradingbot_exp._jobs import TrialConfigs
    from tradingbot_exp.hpo.batch import Observer


@dataclass
class StackedLauncherConf:
    """The most trials that a study asks for at once, and trains together, where `hpo.n_jobs` is not set.

    All trials of a batch are asked for before any has a value. Of 96 trials, no loss was seen in batches of up to 24
    against one trial after another; those of 48 found worse values, for a third less training on two idle cores:
    ``make bench-width``.
    """

    _target_: str = "hydra_plugins.tradingbot_exp.stacked.StackedLauncher"
    width: int = 24


class StackedLauncher(Launcher):
    """Runs the trials of a study in this process, stacked, and any other jobs one after another, as Hydra does.

    Parameters
    ----------
    width : int
        The most trials that a study asks for at once where `hpo.n_jobs` is not set, 1 or more: see
        `tradingbot_exp.hpo.batch.batch_width`.
    """

    def __init__(self, width: int = 24) -> None:
        self.width = width
        self._config: DictConfig
        self._context: HydraContext
        self._task: TaskFunction

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take note of what Hydra hands over, before the sweep.

        Raises
        ------
        ConfigError
            `width` is below 1.
        """
        if self.width < 1:
            raise wrong("hydra.launcher.width", "1 or more trials", self.width)
        self._config, self._context, self._task = config, hydra_context, task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of jobs one after another.

        Parameters
        ----------
        job_overrides : sequence of sequence of str
            The overrides of each job.
        initial_job_idx : int
            Number of the first.

        Returns
        -------
        sequence of JobReturn
            One a job, in order.
        """
        from hydra._internal.core_plugins.basic_launcher import BasicLauncher

        basic = BasicLauncher()
        basic.setup(hydra_context=self._context, task_function=self._task, config=self._config)
        return basic.launch(job_overrides, initial_job_idx)

    def why_not_at_once(self) -> str:
        """Say what keeps the trials of a study from being run in this process together; empty if nothing does."""
        if not getattr(self._task, "tradingbot_in_steps", False):
            return "hydra/launcher=stacked knows how to train only this package's own jobs at once"
        if self._config.hydra.job.chdir:
            return "hydra.job.chdir=true moves the whole process into the folder of one job"
        return ""

    def run_trials(self, configs: TrialConfigs, run: Callable[[Observer], list[Any]]) -> list[Any]:
        """Run a batch of trials, which callbacks of others see as jobs.

        Parameters
        ----------
        configs : TrialConfigs
        run : callable
            Runs them, tells the observer of each, and returns how each ended.
        """
        from hydra_plugins.tradingbot_exp._jobs import HydraJobs, batch_at_work

        with batch_at_work(self._config, self._context):
            return run(HydraJobs(configs, self._context, self._task))


ConfigStore.instance().store(
    group="hydra/launcher", name="stacked", node=StackedLauncherConf, provider="tradingbot_exp"
)
