"""Keeping checkpoints of a training run: when, of which folds, and what has to be the same to continue."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradingbot_exp.config.finalize import config_sha256
from tradingbot_exp.config.modules import plugins_sha256
from tradingbot_exp.runtime.package import VERSION, code_sha256
from tradingbot_exp.tracking.writing.checkpoints import FILE_TAG, CheckpointFile

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.tracking.writing.run import TrackedRun
    from tradingbot_exp.training.state import Epoch, Snapshot

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


class Checkpointer:
    """A listener that keeps how far the training of a run is, fold by fold, as each is begun.

    Parameters
    ----------
    file : CheckpointFile
    every : int or None
        Epochs after each of which a checkpoint is written, and at the end of each fold; None: never.
    identity : dict of str to str
        What the bits depend on.
    snapshots : sequence of dict
        What to continue from, of each fold begun: see `tradingbot_exp.training.state.TrainingState.snapshot`.
    """

    def __init__(
        self,
        file: CheckpointFile,
        every: int | None,
        identity: dict[str, str],
        snapshots: Sequence[Snapshot] = (),
    ) -> None:
        self._file, self._every, self._identity, self._snapshots = file, every, identity, list(snapshots)
        self._before = 0

    def after(self, models: int) -> Checkpointer:
        """Return what keeps checkpoints, in the same file, of the folds of a network before which others are trained.

        Parameters
        ----------
        models : int
            The folds of the networks before it.
        """
        later = copy.copy(self)
        later._before = models
        return later

    def snapshot_of(self, fold: int) -> Snapshot | None:
        """Return what to continue a fold from, counted from 1; None to begin it."""
        place = self._before + fold - 1
        return self._snapshots[place] if place < len(self._snapshots) else None

    def on_epoch(self, epoch: Epoch) -> None:
        """Write a checkpoint, if it is time to; the last of the listeners, so that all others have decided."""
        due = self._every is not None and (epoch.number % self._every == 0 or not epoch.training.goes_on)
        if due and not epoch.diverged:
            self._snapshots[self._before + epoch.fold - 1 :] = [epoch.training.snapshot()]
            self._file.write({"identity": self._identity, "folds": self._snapshots})


def checkpointer_of(config: Config, fingerprint: str, run: TrackedRun) -> Checkpointer | None:
    """Make what keeps checkpoints of a run, or knows where to continue; None for a run that does neither."""
    every, resume_point = config.training.checkpoint_every, run.resume_point
    if run.parent is not None or (every is None and resume_point is None):
        return None
    if run.delivery.client is None or run.delivery.failure is not None:
        log.warning("No checkpoints are kept: the run is not in MLflow, where they would be.")
        return None
    file = CheckpointFile(run, None if resume_point is None else resume_point.tags.get(FILE_TAG), config.plugins)
    run.after_finish.append(file.remove)
    # Whoever looks from another host has to be able to tell whether the run is being trained.
    run.start_heartbeat()
    return Checkpointer(file, every, identity(config, fingerprint), () if resume_point is None else resume_point.states)
