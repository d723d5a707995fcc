"""``hydra/sweeper=study``: an Optuna study that is resumed after a kill, pruned, shared, and recorded in MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class StudySweeperConf:
    """The sweeper takes everything from the block ``hpo``; the official sweeper's keys are answered with ours."""

    _target_: str = "hydra_plugins.tradingbot_exp.sweeper.StudySweeper"
    n_trials: Any = None
    params: Any = None


class StudySweeper(Sweeper):
    """Runs a study over ``hpo.param_space`` and whatever the command line sweeps over.

    Parameters
    ----------
    n_trials, params
        Keys of the official Optuna sweeper, refused with the key to use instead.
    """

    def __init__(self, n_trials: Any = None, params: Any = None) -> None:
        self._official = {"n_trials": n_trials, "params": params}
        self._given: tuple[HydraContext, TaskFunction, DictConfig]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take note of what Hydra hands over, before the sweep."""
        self._given = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        """Bring the study to its end.

        Parameters
        ----------
        arguments : list of str
            The overrides of the command line.
        """
        from hydra_plugins.tradingbot_exp._study import StudySweep

        return StudySweep(self._official, *self._given).sweep(arguments)


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConf, provider="tradingbot_exp")
