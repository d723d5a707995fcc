"""A job: a configuration with its data, its models and the run that it is recorded in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from tradingbot_exp.config.choices import SEQUENCE_MODELS
from tradingbot_exp.config.losses import LOSSES
from tradingbot_exp.config.schema import Config
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.evaluation.leakage.gate import check_leaks
from tradingbot_exp.evaluation.leakage.seams import check_fold
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.models.registry import build_model
from tradingbot_exp.models.summary import model_version
from tradingbot_exp.tracking.writing.logger import EnhancedMLflowLogger

if TYPE_CHECKING:
    from torch import nn

    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.experiment.checkpoints import Checkpointer
    from tradingbot_exp.tracking.writing.run import TrackedRun


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A job that is ready to be trained.

    Attributes
    ----------
    config : Config
    data : PreparedData
        As the last fold sees them.
    model : nn.Module
        The last fold's; of several networks an `tradingbot_exp.models._ensemble.Ensemble`.
    run : TrackedRun
    logger : EnhancedMLflowLogger
    earlier : tuple of Job
        Where `evaluation.scheme` makes several folds, a job for each but the last, with its own data and model.
    checkpointer : Checkpointer or None
        Keeps checkpoints, or knows where to continue.
    """

    config: Config
    data: PreparedData
    model: nn.Module
    run: TrackedRun
    logger: EnhancedMLflowLogger
    earlier: tuple[Job, ...] = ()
    checkpointer: Checkpointer | None = None

    @property
    def folds(self) -> tuple[Job, ...]:
        """A job for each fold, in time order; the last, or only one, is this job."""
        return (*self.earlier, self)

    @property
    def networks(self) -> tuple[Job, ...]:
        """A job for each network that is to be trained, with its own seed: of an ensemble several, else this one."""
        count = self.config.training.ensemble
        return (self,) if count == 1 else tuple(self._network(position) for position in range(count))

    def _network(self, position: int) -> Job:
        from tradingbot_exp.models._ensemble import members_of

        config = replace(
            self.config,
            seed=seed_of(self.config, position),
            training=replace(self.config.training, ensemble=1),
        )
        kept = None if self.checkpointer is None else self.checkpointer.after(position * len(self.folds))
        earlier = tuple(fold._network(position) for fold in self.earlier)
        model = members_of(self.model)[position]
        return replace(self, config=config, model=model, earlier=earlier, checkpointer=kept)


@lru_cache
def _warn_once(text: str) -> None:
    """Warn of what all trials of a study have in common, and their replays, in one line rather than one for each."""
    log.warning(text)


def build(config: Config, run: TrackedRun) -> Job:
    """Make the data of each fold, and its job: see `job_of`. Nothing is recorded.

    Raises
    ------
    DataError
        A feature knows its future: see `tradingbot_exp.evaluation.leakage.gate`.
    """
    plain = load_data(config)
    check_leaks(plain)
    views = fold_views(plain, config.evaluation)
    for view in views:
        if view is not plain:
            check_fold(view)
    return job_of(config, views, run)


def job_of(config: Config, views: Sequence[PreparedData], run: TrackedRun) -> Job:
    """Make the model of each fold, given its data, and fill `model.input_dim` and `model.version` in.

    All models start from the same weights.
    """
    from tradingbot_exp.models._ensemble import members_of

    data = views[-1]
    if config.model.name in SEQUENCE_MODELS and data.sequence_length == 1:
        _warn_once(f"model={config.model.name} sees one bar at a time. data.sequence_length=20 gives it 20 bars.")
    models = [_model(config, data) for _ in views]
    logger = EnhancedMLflowLogger(run)
    last = Job(config, data, models[-1], run, logger)
    version = config.model.version or model_version(members_of(last.model)[0])
    derived = replace(config.model, input_dim=int(row_shape(last)[-1]), version=version)
    config = replace(config, model=derived)
    jobs = [Job(config, view, model, run, logger) for view, model in zip(views, models, strict=True)]
    return replace(jobs[-1], earlier=tuple(jobs[:-1]))


def _model(config: Config, data: PreparedData) -> nn.Module:
    """Build the network, or the networks of an ensemble, each with weights of its own seed."""
    import torch

    from tradingbot_exp.models._ensemble import Ensemble
    from tradingbot_exp.training.rng import SeededRng

    networks = []
    for position in range(config.training.ensemble):
        with SeededRng(seed_of(config, position), torch.device("cpu")):
            networks.append(build_model(config.model, len(data.feature_names), data.sequence_length))
    return networks[0] if len(networks) == 1 else Ensemble(networks, LOSSES[config.training.loss].logits)


def seed_of(config: Config, position: int) -> int:
    """Return the seed of a network, counted from 0, of those that are trained with one configuration."""
    return (config.seed + position) % 2**32


def row_shape(job: Job) -> tuple[int, ...]:
    """Return the shape of one row as the model takes it: (F,), or (L, F) for a sequential model."""
    features, length = len(job.data.feature_names), job.data.sequence_length
    if getattr(job.model, "sequential", False):
        return (length, features) if length > 1 else (features,)
    return (features * length,)
