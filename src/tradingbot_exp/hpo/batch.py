"""A batch of trials in one process: built, trained as stacks, judged, and only then kept or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tradingbot_exp.errors import DivergedError
from tradingbot_exp.experiment import Job, finish
from tradingbot_exp.hpo.job import Trial, worth_keeping
from tradingbot_exp.stacking import Fitting, fit_all


def run_trials(trials: Sequence[Trial], after_epoch: Callable[[], object] = lambda: None) -> list[Any]:
    """Bring trials to their ends together.

    Parameters
    ----------
    trials : sequence of Trial
        Just built.
    after_epoch : callable, optional
        Called after each epoch of each stack.

    Returns
    -------
    list of (list of float, Pruned or Exception)
        What `tradingbot_exp.hpo.job.run_trial` would have returned or raised for each.
    """
    while going := [trial for trial in trials if trial.goes_on]:
        # A pruner is to see a trial's seeds one after the other.
        pruned = going[0].config.hpo.pruner != "none"
        waves = [[trial.next()] if pruned else trial.rest() for trial in going]
        outcomes = iter(fit_all([fitting for wave in waves for fitting in wave], after_epoch))
        for trial, wave in zip(going, waves, strict=True):
            for _ in wave:
                trial.fitted(next(outcomes))
    judged = []
    for trial in trials:
        if trial.outcome is None and _succeeds(trial, trial.judge):
            judged.append(trial)
    for trial in judged:
        # Of equals the first counts, as if the trials had ended one after another; of others, the best of all.
        others = [other.values for other in judged if other.values != trial.values]
        others += [other.values for other in judged[: judged.index(trial)] if other.values == trial.values]
        kept = worth_keeping(trial.config, trial.ticket, trial.values, others)
        _succeeds(trial, lambda trial=trial, kept=kept: trial.keep(kept))  # type: ignore[misc]
    return [trial.values if trial.outcome is None else trial.outcome for trial in trials]


def run_jobs(jobs: Sequence[Job], after_epoch: Callable[[], object] = lambda: None) -> list[Any]:
    """Train and finish the jobs of a plain sweep together.

    Returns
    -------
    list of (float or Exception)
        What the task would have returned or raised for each.
    """
    outcomes: list[Any] = list(fit_all([Fitting(job, job.logger) for job in jobs], after_epoch))
    for position, (job, outcome) in enumerate(zip(jobs, outcomes, strict=True)):
        try:
            if isinstance(outcome, DivergedError):
                job.logger.log_training_history(outcome.history, job.config.training.loss)
            elif not isinstance(outcome, Exception):
                outcomes[position] = finish(job, outcome)
        except Exception as error:
            outcomes[position] = error
    return outcomes


def _succeeds(trial: Trial, step: Callable[[], object]) -> bool:
    try:
        step()
    except Exception as error:
        trial.outcome = error
    return trial.outcome is None
