"""A training job in three steps: `prepare` makes data, model and records, `fit` trains, `finish` evaluates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from tradingbot_exp.config.schema import Config
from tradingbot_exp.data.identity import market_returns
from tradingbot_exp.errors import DivergedError
from tradingbot_exp.experiment.checkpoints import checkpointer_of
from tradingbot_exp.experiment.fitting import Fitting, fit_all, together
from tradingbot_exp.experiment.job import Job, build
from tradingbot_exp.experiment.recording import (
    identifying_tags,
    record_artifacts,
    record_history,
    record_origin,
    record_results,
)
from tradingbot_exp.experiment.results import evaluate, intervals, objectives
from tradingbot_exp.tracking.reading.openings import tell_of_openings
from tradingbot_exp.tracking.writing.registration import first_alias, register_winner
from tradingbot_exp.training.listeners import Curves, seed_prefix

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
        tags = identifying_tags(job.config, job.data)
        tell_of_openings(run, tags, market_returns(job.data))
        record_origin(job, tags, overrides)
    return replace(job, checkpointer=checkpointer_of(job.config, job.data.fingerprint, run))


def fit(jobs: Sequence[Job]) -> list[list[History]]:
    """Train prepared jobs, each with its own seed; several of one shape, and the networks of an ensemble, at once.

    Returns
    -------
    list of list of History
        Of each job, the history of each fold; of an ensemble the mean over its networks.

    Raises
    ------
    DivergedError
        A loss became NaN or infinite; the epochs so far are in the run, with their figure. The first of several
        errors is raised.
    """
    networks = [job.networks for job in jobs]
    outcomes = iter(fit_all([Fitting(each, [_curves(each, own)]) for own in networks for each in own]))
    found: list[list[History]] = []
    failed: list[Exception] = []
    for job, own in zip(jobs, networks, strict=True):
        try:
            found.append(together(job, list(islice(outcomes, len(own)))))
        except Exception as error:
            if isinstance(error, DivergedError):
                record_history(job, error.history)
            failed.append(error)
    if failed:
        raise failed[0]
    return found


def _curves(network: Job, all_networks: Sequence[Job]) -> Curves:
    """Log the curves of a network; of an ensemble under its seed, and their mean comes with the figure of them."""
    prefix = seed_prefix(network.config.seed) if len(all_networks) > 1 else ""
    return Curves(network.logger, prefix, len(network.folds))


def finish(job: Job, histories: Sequence[History]) -> float:
    """Evaluate the trained models on the validation rows, record all of it, and give the objective; NaN if undefined.

    Parameters
    ----------
    job : Job
    histories : sequence of History
        Of each fold.
    """
    evaluated = evaluate(job, histories)
    record_results(job.run, evaluated.metrics | intervals(job, evaluated), evaluated.undefined, evaluated)
    record_artifacts(job, histories, evaluated)
    registered = register_winner(job.run, job.config.tracking, job.run.run_id)
    if registered is not None:
        log.info("The model is registered as %s, the %s.", registered, first_alias(job.config.tracking))
    return objectives(job.config, evaluated.objective)[0]
