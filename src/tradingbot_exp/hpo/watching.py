"""Listeners of a trial: one that asks the study's pruner, and one that leaves how far it is for the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.hpo.trial_spec import Pruned

if TYPE_CHECKING:
    from optuna.study import Study

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.training.state import Epoch

REFRESH_SECONDS = 0.3


class ProgressFile:
    """A listener that leaves how far a trial is in a file of its folder: for the process that has the terminal."""

    NAME = "progress.json"

    def __init__(self, folder: Path) -> None:
        self._file, self._written = folder / self.NAME, 0.0

    def on_epoch(self, epoch: Epoch) -> None:
        """Note an epoch, a few times a second at most."""
        if epoch.diverged or (epoch.number < epoch.epochs and time.monotonic() - self._written < REFRESH_SECONDS):
            return
        self._written = time.monotonic()
        fresh = self._file.with_suffix(".new")
        noted = {"epoch": epoch.number, "epochs": epoch.epochs, "val_loss": epoch.val_loss}
        fresh.write_text(json.dumps(noted), encoding="utf-8")
        fresh.replace(self._file)


class Pruning:
    """A listener that reports the epochs of one network of a trial to the study and asks its pruner, if there is one.

    Parameters
    ----------
    config : Config
    ask : callable (step, value) -> bool, optional
    position : int
        Which network, from 0: networks and folds count as further epochs.
    """

    def __init__(self, config: Config, ask: Callable[[int, float], bool] | None = None, position: int = 0) -> None:
        self.at: Pruned | None = None
        self._ask = ask
        # The models that were trained before those of this network.
        self._before = position * (1 if config.evaluation.scheme == "chronological" else config.evaluation.folds)
        # A pruner compares in the study's direction, and a loss is better when it is lower.
        self._sign = objectives_of(config.hpo)[0].sign

    def on_epoch(self, epoch: Epoch) -> bool:
        """Return True if the trial is to stop."""
        if self._ask is None or epoch.diverged:
            return False
        step = (self._before + epoch.fold - 1) * epoch.epochs + epoch.number
        if self._ask(step, self._sign * epoch.val_loss):
            self.at = Pruned(epoch.number, epoch.val_loss)
        return self.is_over()

    def is_over(self) -> bool:
        """Return whether the trial was pruned."""
        return self.at is not None


def pruner_of(study: Study, number: int) -> Callable[[int, float], bool]:
    """Return the question to ask after each epoch of a trial."""
    storage = study._storage
    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)

    def ask(step: int, value: float) -> bool:
        storage.set_trial_intermediate_value(trial_id, step, value)
        return bool(study.pruner.prune(study, storage.get_trial(trial_id)))

    return ask


@lru_cache(maxsize=4)
def open_once(address: str, name: str, pruner: str) -> Study:
    """Open a study once a process: a journal is read from its start each time that it is opened."""
    import optuna

    from tradingbot_exp.hpo.samplers import make_pruner, most_steps
    from tradingbot_exp.hpo.storage import open_storage

    storage, _ = open_storage(address, Path.cwd())
    study = optuna.load_study(study_name=name, storage=storage)
    study.pruner = make_pruner(pruner, most_steps(study.user_attrs["definition"]))
    return study
