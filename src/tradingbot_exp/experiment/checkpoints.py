"""Keeping checkpoints of a training run: when, of which folds, and what has to be the same for going on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.finalize import config_sha256
from tradingbot_exp.config.plugins import plugins_sha256
from tradingbot_exp.runtime.package import VERSION, code_sha256
from tradingbot_exp.tracking.writing.checkpoints import FILE_TAG, CheckpointFile

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.experiment.job import Job

log = logging.getLogger(__name__)

DATA, CONFIGURATION = "the data", "the configuration"
_PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "scipy")


def identity(config: Config, fingerprint: str) -> dict[str, str]:
    """Name what the bits of a training depend on."""
    import platform
    from importlib import metadata

    from tradingbot_exp.training.device import resolve_device

    return {
        DATA: fingerprint,
        CONFIGURATION: config_sha256(config, fingerprint),
        "the source of tradingbot_exp": f"{code_sha256()} (version {VERSION})",
        "the source of the plugins": plugins_sha256(config.plugins) or "none",
        "the device": resolve_device(config.training.device).type,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


class RunKeeper:
    """Keeps how far the training of a run is: fold by fold, as each is begun.

    Parameters
    ----------
    file : CheckpointFile
    every : int or None
        Epochs after each of which a checkpoint is written, and at the end of each fold; None: never.
    identity : dict of str to str
        What the bits depend on.
    states : sequence of dict
        What to go on from, of each fold begun.
    """

    def __init__(
        self,
        file: CheckpointFile,
        every: int | None,
        identity: dict[str, str],
        states: Sequence[dict[str, Any]] = (),
    ) -> None:
        self._file, self._every, self._identity = file, every, identity
        self._states = list(states)
        self._begun = 0

    def next_fold(self) -> FoldKeeper:
        """Give the keeper of the next fold's model."""
        self._begun += 1
        return FoldKeeper(self, self._states[self._begun - 1] if self._begun <= len(self._states) else None)

    def after_epoch(self, epoch: int, goes_on: bool, take: Callable[[], dict[str, Any]]) -> None:
        """Write a checkpoint, if it is time to."""
        if self._every is not None and (epoch % self._every == 0 or not goes_on):
            self._states[self._begun - 1 :] = [take()]
            self._file.write({"identity": self._identity, "folds": self._states})


@dataclass(frozen=True, eq=False)
class FoldKeeper:
    """Keeps how far the training of one fold's model is: a `tradingbot_exp.training.checkpoint.Keeper`."""

    run: RunKeeper
    state: dict[str, Any] | None

    def after_epoch(self, epoch: int, goes_on: bool, take: Callable[[], dict[str, Any]]) -> None:
        """Write a checkpoint, if it is time to."""
        self.run.after_epoch(epoch, goes_on, take)


def keeper_of(job: Job) -> RunKeeper | None:
    """Give what keeps checkpoints of a job, or knows where to go on; None for a job that does neither."""
    run, every, resumption = job.run, job.config.training.checkpoint_every, job.run.resumption
    if run.parent is not None or (every is None and resumption is None):
        return None
    if run.delivery.client is None or run.delivery.failure is not None:
        log.warning("No checkpoints are kept: the run is not in MLflow, where they would be.")
        return None
    file = CheckpointFile(run, None if resumption is None else resumption.tags.get(FILE_TAG))
    run.after_finish.append(file.remove)
    # Whoever looks from another host has to be able to tell whether the run is being trained.
    run.start_heartbeat()
    states = () if resumption is None else resumption.states
    return RunKeeper(file, every, identity(job.config, job.data.fingerprint), states)
