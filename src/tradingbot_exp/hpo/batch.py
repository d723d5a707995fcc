"""A batch of trials in one process: how many, and how they are built, trained as stacks, judged, and only then kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tradingbot_exp.errors import ConfigError
from tradingbot_exp.experiment.fitting import fit_all, why_alone
from tradingbot_exp.experiment.job import build
from tradingbot_exp.hpo.samplers import TPE_STARTUP_TRIALS
from tradingbot_exp.hpo.trial_run import Trial, worth_keeping

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.hpo.space.space import SearchSpace
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)

# What the models of one stack share, of the keys that can be searched, and what each has for itself.
_SHARED = (
    *("data.", "model.", "training.batch_size", "training.loss", "training.precision"),
    *("training.optimizer", "training.momentum"),
)
_OWN = ("model.learning_rate", "model.dropout")
# Batches that a study is to have at the least, so that it learns from its values; scripts/bench_width.py has figures.
LEAST_BATCHES = 4
# Samplers that do not look at values.
_BLIND = ("random", "grid")


def batch_width(config: Config, space: SearchSpace, run: TrackedRun, widest: int) -> int:
    """Give how many trials to ask for at once: as many as are worth it, all before any of them has a value.

    One, where stacks would be of one model for the most part, and asking for more would be no faster. Else `widest`,
    but of a small study a quarter, or the random trials that TPE begins with if those are more.

    Parameters
    ----------
    config : Config
        The study's.
    space : SearchSpace
    run : TrackedRun
        Open; nothing is written into it.
    widest : int
        1 or more.
    """
    if widest == 1:
        return 1
    kinds = _kinds(space)
    reason = why_alone(build(config, run))
    if not reason and 2 * kinds > widest:
        number = f"{kinds:.0f}" if math.isfinite(kinds) else "any number of"
        reason = f"hpo.param_space makes {number} kinds of networks and batches, and a stack is of one kind"
    if reason:
        log.info("Trials are asked for and trained one by one: %s.", reason)
        return 1
    if config.hpo.sampler in _BLIND:
        return widest
    return min(widest, max(TPE_STARTUP_TRIALS, config.hpo.num_trials // LEAST_BATCHES))


def _kinds(space: SearchSpace) -> float:
    """Count the combinations of what the models of one stack share; infinite for a continuous range."""
    count = 1.0
    for name, parameter in space.parameters.items():
        if name.startswith(_SHARED) and name not in _OWN:
            try:
                count *= len(parameter.points())
            except ConfigError:
                return math.inf
    return count


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
        What `tradingbot_exp.hpo.trial_run.run_trial` would have returned or raised for each.
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


def _succeeds(trial: Trial, step: Callable[[], object]) -> bool:
    try:
        step()
    except Exception as error:
        trial.outcome = error
    return trial.outcome is None
