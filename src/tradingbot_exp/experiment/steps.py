"""A training job in three steps: `prepare` makes data, model and records, `fit` trains, `finish` evaluates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tradingbot_exp.config.schema import Config
from tradingbot_exp.data.identity import market_returns
from tradingbot_exp.errors import DivergedError
from tradingbot_exp.experiment.checkpoints import checkpointer_of
from tradingbot_exp.experiment.fitting import Fitting, fit_all
from tradingbot_exp.experiment.job import Job, build, row_shape
from tradingbot_exp.experiment.recording import (
    identifying_tags,
    record_artifacts,
    record_run_context,
    report_undefined,
)
from tradingbot_exp.experiment.results import evaluate, intervals, objectives
from tradingbot_exp.tracking.reading.openings import tell_of_openings
from tradingbot_exp.tracking.writing.registration import first_alias, register_winner
from tradingbot_exp.training.listeners import Curves

if TYPE_CHECKING:
    from tradingbot_exp.tracking.writing.run import TrackedRun
    from tradingbot_exp.training.history import History

log = logging.getLogger(__name__)


def run_in(config: Config, overrides: Sequence[str], run: TrackedRun) -> float:
    """Train, evaluate and record in an open run; one that is resumed knows its own configuration."""
    job = prepare(config if run.resume_point is None else run.resume_point.config, run, overrides)
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
        resumed: then it has them.
    overrides : sequence of str
        Kept as ``config/overrides.yaml``.

    Returns
    -------
    Job
        Its config has `model.input_dim` and `model.version` filled in.
    """
    job = build(config, run)
    if run.resume_point is not None:
        log.info("Resuming the run %s (%s) after %s.", run.name, run.run_id, run.resume_point.where)
    else:
        _record_origin(job, overrides)
    return replace(job, checkpointer=checkpointer_of(job.config, job.data.fingerprint, run))


def _record_origin(job: Job, overrides: Sequence[str]) -> None:
    """Record what the run is made of."""
    run = job.run
    tags = identifying_tags(job.config, job.data)
    run.set_tags({**tags, "engine": "single"})
    tell_of_openings(run, tags, market_returns(job.data))
    job.logger.log_config(job.config, overrides)
    record_run_context(job)
    job.logger.log_model_summary(job.model, input_shape=row_shape(job))


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
    outcomes = fit_all([Fitting(job, [Curves(job.logger, folds=len(job.folds))]) for job in jobs])
    for job, outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome, DivergedError):
            job.logger.log_training_history(outcome.history, job.config.training.loss)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, Exception)]


def finish(job: Job, histories: Sequence[History]) -> float:
    """Evaluate the trained models on the validation rows, record all of it, and give the objective; NaN if undefined.

    Parameters
    ----------
    job : Job
    histories : sequence of History
        Of each fold.
    """
    evaluated = evaluate(job, histories)
    job.logger.log_metrics(evaluated.metrics | intervals(job, evaluated))
    report_undefined(job.run, evaluated.undefined)
    record_artifacts(job, histories, evaluated)
    registered = register_winner(job.run, job.config.tracking, job.run.run_id)
    if registered is not None:
        log.info("The model is registered as %s, the %s.", registered, first_alias(job.config.tracking))
    return objectives(job.config, evaluated.objective)[0]
