"""A training job in three steps: `prepare` makes data, model and records, `fit` trains, `finish` evaluates."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from tradingbot_exp.config.finalize import config_sha256, finalize
from tradingbot_exp.config.plugins import ask_hooks, plugins_sha256
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import DivergedError
from tradingbot_exp.fold_training import train_in_turn
from tradingbot_exp.hpo.trial import TICKET_VARIABLE, Ticket
from tradingbot_exp.job_data import load_data
from tradingbot_exp.outcome import evaluate, objectives, periods_per_year, record_artifacts, report_undefined
from tradingbot_exp.resuming import find_resumption
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.tracking.store.registry import register_winner

if TYPE_CHECKING:
    from torch import nn

    from tradingbot_exp.checkpointing import FoldKeeper, RunKeeper
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.tracking.writing.logger import EnhancedMLflowLogger
    from tradingbot_exp.tracking.writing.run import TrackedRun
    from tradingbot_exp.training.history import History

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
        The last fold's.
    run : TrackedRun
    logger : EnhancedMLflowLogger
    earlier : tuple of Job
        Where `evaluation.scheme` makes several folds, a job for each but the last, with its own data and model.
    keeper : RunKeeper or None
        Keeps checkpoints, or knows where to go on.
    """

    config: Config
    data: PreparedData
    model: nn.Module
    run: TrackedRun
    logger: EnhancedMLflowLogger
    earlier: tuple[Job, ...] = ()
    keeper: RunKeeper | None = None

    @property
    def folds(self) -> tuple[Job, ...]:
        """A job for each fold, in time order; the last, or only one, is this job."""
        return (*self.earlier, self)


def run_job(composed: DictConfig, overrides: Sequence[str], folder: Path) -> Any:
    """Train, evaluate and record one configuration: the body of the Hydra task.

    Parameters
    ----------
    composed : DictConfig
        What Hydra composed.
    overrides : sequence of str
        The command line's.
    folder : Path
        The job's own.

    Returns
    -------
    float, list of float, or Pruned
        The value of `hpo.metric`; for a trial of a study, see `tradingbot_exp.hpo.job.run_trial`.
    """
    from tradingbot_exp.tracking.writing.active import current_run, start_failure
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

    failure = start_failure()
    if failure is not None:
        raise failure
    config = finalize(composed, overrides)
    run = current_run()
    ticket = os.environ.get(TICKET_VARIABLE)
    if ticket is not None and run is not None:
        from tradingbot_exp.hpo.job import run_trial

        return run_trial(config, run, Ticket.loads(ticket), folder)
    if run is not None:
        return run_in(config, overrides, run)
    resumption = find_resumption(config, overrides)
    with ExperimentOrganizer(config).start_run(resumption=resumption) as own:
        return run_in(config, overrides, own)


def run_in(config: Config, overrides: Sequence[str], run: TrackedRun) -> float:
    """Train, evaluate and record in an open run; one that is gone on with knows its own configuration."""
    job = prepare(config if run.resumption is None else run.resumption.config, run, overrides)
    (histories,) = fit([job])
    return finish(job, histories)


def prepare(config: Config, run: TrackedRun, overrides: Sequence[str] = ()) -> Job:
    """Make data and model, and record what the run is made of.

    Parameters
    ----------
    config : Config
        From `finalize`.
    run : TrackedRun
        Open; it gets the configuration, environment, data characteristics, and the model's summary, unless it is
        gone on with: then it has them.
    overrides : sequence of str
        Kept as ``config/overrides.yaml``.

    Returns
    -------
    Job
        Its config has `model.input_dim` and `model.version` filled in.
    """
    from tradingbot_exp.checkpointing import keeper_of
    from tradingbot_exp.tracking.reading.openings import tell_of_openings

    job = build(config, run)
    if run.resumption is not None:
        log.info("Going on with the run %s (%s) after %s.", run.name, run.run_id, run.resumption.where)
        return replace(job, keeper=keeper_of(job))
    tags = identifying_tags(job.config, job.data)
    run.set_tags({**tags, "engine": "single"})
    tell_of_openings(run, tags)
    job.logger.log_config(job.config, overrides)
    record_surroundings(job)
    job.logger.log_model_summary(job.model, input_shape=_row_shape(job))
    return replace(job, keeper=keeper_of(job))


@lru_cache
def _warn_once(text: str) -> None:
    """Warn of what all trials of a study have in common, and their replays, in one line rather than one for each."""
    log.warning(text)


def build(config: Config, run: TrackedRun) -> Job:
    """Make the data and the model of each fold, and fill `model.input_dim` and `model.version` in.

    All models start from the same weights. Nothing is recorded.

    Raises
    ------
    DataError
        A feature knows its future: see `tradingbot_exp.evaluation.leakage`.
    """
    import torch

    from tradingbot_exp.data.folds import fold_views
    from tradingbot_exp.evaluation.leakage import check_fold, check_leaks
    from tradingbot_exp.models.registry import build_model
    from tradingbot_exp.models.summary import model_version
    from tradingbot_exp.tracking.writing.logger import EnhancedMLflowLogger
    from tradingbot_exp.training.rng import SeededRng

    plain = load_data(config)
    check_leaks(plain)
    views = fold_views(plain, config.evaluation)
    for view in views:
        if view is not plain:
            check_fold(view)
    data = views[-1]
    if config.model.name == "lstm" and data.sequence_length == 1:
        _warn_once("model=lstm sees one bar at a time. data.sequence_length=20 gives it 20 bars to remember.")
    models = []
    for _ in views:
        with SeededRng(config.seed, torch.device("cpu")):
            models.append(build_model(config.model, len(data.feature_names), data.sequence_length))
    logger = EnhancedMLflowLogger(run)
    last = Job(config, data, models[-1], run, logger)
    version = config.model.version or model_version(last.model)
    derived = replace(config.model, input_dim=int(_row_shape(last)[-1]), version=version)
    config = replace(config, model=derived)
    jobs = [Job(config, view, model, run, logger) for view, model in zip(views, models, strict=True)]
    return replace(jobs[-1], earlier=tuple(jobs[:-1]))


def identifying_tags(config: Config, data: PreparedData) -> dict[str, str | None]:
    """Give the tags that say which model, data and configuration a run is of, and how its data were checked."""
    from tradingbot_exp.data.identity import identity_tags
    from tradingbot_exp.evaluation.leakage import check_leaks

    return {
        "model.name": config.model.name,
        "model.version": config.model.version,
        "plugins.sha256": plugins_sha256(config.plugins),
        "data.name": data.name,
        "data.fingerprint": data.fingerprint,
        "config.sha256": config_sha256(config, data.fingerprint),
        # Trials that differ in the seed alone are one try.
        "config.tried": config_sha256(replace(config, seed=0), data.fingerprint),
        **identity_tags(config.data, data),
        **check_leaks(data).tags(),
        # What `auto` came to; without returns nothing is counted in years.
        "periods_per_year": None if data.next_return is None else f"{periods_per_year(config, data):.12g}",
        # Whose model it is that is kept.
        "model.fold": None if config.evaluation.scheme == "chronological" else str(config.evaluation.folds),
    }


def record_surroundings(job: Job) -> None:
    """Record what all trials of a study share: environment, code, data."""
    data = job.data
    job.logger.log_environment_details()
    job.logger.log_data_characteristics(
        data.raw[data.train.rows],
        data.raw[data.val.rows],
        feature_names=data.feature_names,
        card=data.card,
        scaler=data.scaler,
    )
    job.run.log_input(_dataset(data), "training")


def _row_shape(job: Job) -> tuple[int, ...]:
    """Give the shape of one row as the model takes it: (F,), or (L, F) for a sequential model."""
    features, length = len(job.data.feature_names), job.data.sequence_length
    if getattr(job.model, "sequential", False):
        return (length, features) if length > 1 else (features,)
    return (features * length,)


def fit(jobs: Sequence[Job]) -> list[list[History]]:
    """Train prepared jobs, each with its own seed; several of one shape at once.

    Returns
    -------
    list of list of History
        Of each job, the history of each fold.

    Raises
    ------
    DivergedError
        A loss became NaN or infinite; the epochs so far are in the run, with their figure. The first of several
        errors is raised.
    """
    from tradingbot_exp.stacking import Fitting, fit_all

    outcomes = fit_all([Fitting(job, job.logger) for job in jobs])
    for job, outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome, DivergedError):
            job.logger.log_training_history(outcome.history, job.config.training.loss)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, Exception)]


def fit_folds(
    job: Job, logger: Any, on_epoch: Callable[[int, dict[str, float]], bool | None] | None = None
) -> list[History]:
    """Train the model of each fold of a job: see `fit_model`, and `tradingbot_exp.fold_training.train_in_turn`."""
    keeper = job.keeper

    def train(fold: Job, curves: Any) -> History:
        return fit_model(fold, curves, on_epoch, None if keeper is None else keeper.next_fold())

    return train_in_turn(job.folds, logger, train)


def fit_model(
    job: Job,
    logger: Any,
    on_epoch: Callable[[int, dict[str, float]], bool | None] | None = None,
    keeper: FoldKeeper | None = None,
) -> History:
    """Train one job's model, of several folds the last one's.

    Parameters
    ----------
    job : Job
    logger : object with ``log_metrics(metrics, step)``
        Gets the losses of each epoch.
    on_epoch, keeper
        See `train_model`.
    """
    from tradingbot_exp.training.loop import train_model
    from tradingbot_exp.training.optim import make_optimizer
    from tradingbot_exp.training.progress import make_progress

    def after_epoch(epoch: int, record: dict[str, float]) -> bool | None:
        interrupt.check()
        stop = ask_hooks(epoch, record, job.config)
        return (on_epoch is not None and on_epoch(epoch, record)) or stop

    config, data = job.config.training, job.data
    numbers = (config.learning_rate, config.weight_decay, config.momentum)
    optimizer = make_optimizer(config.optimizer, job.model.parameters(), *numbers)
    job.run.delivery.training_started()
    with make_progress(config.progress, config.epochs) as progress:
        return train_model(
            job.model,
            data.inputs(data.train),
            data.targets(data.train),
            data.inputs(data.val),
            data.targets(data.val),
            optimizer,
            None,
            config.epochs,
            logger,
            batch_size=config.batch_size,
            seed=job.config.seed,
            loss=config.loss,
            scheduler=config.scheduler,
            device=config.device,
            precision=config.precision,
            early_stopping=config.early_stopping,
            gradient_clip=config.gradient_clip,
            on_epoch=after_epoch,
            progress=progress,
            keeper=keeper,
        )


def finish(job: Job, histories: Sequence[History]) -> float:
    """Evaluate the trained models on the validation rows, record all of it, and give the objective; NaN if undefined.

    Parameters
    ----------
    job : Job
    histories : sequence of History
        Of each fold.
    """
    evaluated = evaluate(job, histories)
    job.logger.log_metrics(evaluated.metrics)
    report_undefined(job.run, evaluated.undefined)
    record_artifacts(job, histories, evaluated)
    tracking = job.config.tracking
    registered = register_winner(job.run, tracking.register, job.run.run_id, tracking.on_error)
    if registered is not None:
        log.info("The model is registered as %s.", registered)
    return objectives(job.config, evaluated.objective)[0]


def _dataset(data: PreparedData) -> dict[str, str]:
    """Describe the data as an MLflow dataset whose digest is our fingerprint."""
    columns = [{"name": name, "type": "double", "required": True} for name in data.feature_names]
    return {
        "name": data.name,
        "digest": data.fingerprint,
        "source_type": "local",
        "source": json.dumps({"uri": str(data.card.get("source", data.name))}),
        "schema": json.dumps({"mlflow_colspec": columns}),
        "profile": json.dumps({"num_rows": len(data.index), "num_features": len(data.feature_names)}),
    }
