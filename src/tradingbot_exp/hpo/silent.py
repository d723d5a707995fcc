"""A trial's training without its records: for searches and repetitions that are summed up by a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from tradingbot_exp.errors import TradingBotError
from tradingbot_exp.experiment.fitting import Fitting, fit_all, fit_folds, together
from tradingbot_exp.experiment.job import build
from tradingbot_exp.experiment.results import evaluate, objectives
from tradingbot_exp.hpo.trial_run import mean_of, seeds_of
from tradingbot_exp.hpo.trial_spec import Pruned
from tradingbot_exp.hpo.watching import Pruning

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.experiment.job import Job
    from tradingbot_exp.experiment.results import Evaluated
    from tradingbot_exp.tracking.writing.run import TrackedRun


def silent_values(
    config: Config, run: TrackedRun, ask: Callable[[int, float], bool] | None = None
) -> list[float] | Pruned:
    """Train as `tradingbot_exp.hpo.trial_run.run_trial` does, and record nothing, neither in MLflow nor on disk.

    Parameters
    ----------
    config : Config
    run : TrackedRun
        Open; nothing is written into it.
    ask : callable (step, value) -> bool, optional
        Whether to prune, asked after each epoch.

    Returns
    -------
    list of float, or Pruned
        The values of `hpo.metric`; NaN for one that is not defined.

    Raises
    ------
    DivergedError
        A loss became NaN or infinite.
    """
    config = replace(config, training=replace(config.training, progress="off"))
    results = []
    position = 0
    for seed in seeds_of(config, config.hpo.repeats):
        job = build(replace(config, seed=seed), run)
        histories = []
        for network in job.networks:
            pruning = Pruning(config, ask, position)
            histories.append(fit_folds(network, [pruning], pruning.is_over))
            position += 1
            if pruning.at is not None:
                return pruning.at
        results.append(evaluate(job, together(job, histories)).objective)
    return objectives(config, mean_of(results))


def silent_seeds(
    config: Config,
    seeds: Sequence[int],
    run: TrackedRun,
    keep: Callable[[int, Job, Evaluated], None] | None = None,
) -> list[float | TradingBotError]:
    """Train with each of some seeds, at once where their models can be stacked, and record nothing, as `silent_values`.

    Parameters
    ----------
    config : Config
        Its `hpo.repeats` is not read: each seed is one training.
    seeds : sequence of int
    run : TrackedRun
        Open; nothing is written into it.
    keep : callable (seed, job, evaluated), optional
        Told of each training that succeeded.

    Returns
    -------
    list of (float or TradingBotError)
        The value of the first metric of `hpo.metric`, NaN if it is not defined, or why there is none.
    """
    config = replace(config, training=replace(config.training, progress="off"))
    jobs = [build(replace(config, seed=seed), run) for seed in seeds]
    outcomes = iter(fit_all([Fitting(network, recorded=False) for job in jobs for network in job.networks]))
    values: list[float | TradingBotError] = []
    for job in jobs:
        own = list(islice(outcomes, len(job.networks)))
        try:
            evaluated = evaluate(job, together(job, own))
            values.append(objectives(config, evaluated.objective)[0])
        except TradingBotError as error:
            values.append(error)
        else:
            if keep is not None:
                keep(job.config.seed, job, evaluated)
    return values
