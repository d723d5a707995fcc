"""A trial's training without its records: for searches and repetitions that are summed up by a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tradingbot_exp.errors import TradingBotError
from tradingbot_exp.experiment.fitting import Fitting, fit_all, fit_folds
from tradingbot_exp.experiment.job import build
from tradingbot_exp.experiment.results import evaluate, objectives
from tradingbot_exp.hpo.trial_run import Pruning, mean_of
from tradingbot_exp.hpo.trial_spec import Pruned

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
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
    for shift in range(config.hpo.repeats):
        job, pruning = build(replace(config, seed=config.seed + shift), run), Pruning(config, ask, shift)
        histories = fit_folds(job, [pruning])
        if pruning.at is not None:
            return pruning.at
        results.append(evaluate(job, histories).objective)
    return objectives(config, mean_of(results))


def silent_seeds(config: Config, seeds: Sequence[int], run: TrackedRun) -> list[float | TradingBotError]:
    """Train with each of some seeds, at once where their models can be stacked, and record nothing, as `silent_values`.

    Parameters
    ----------
    config : Config
        Its `hpo.repeats` is not read: each seed is one training.
    seeds : sequence of int
    run : TrackedRun
        Open; nothing is written into it.

    Returns
    -------
    list of (float or TradingBotError)
        The value of the first metric of `hpo.metric`, NaN if it is not defined, or why there is none.
    """
    config = replace(config, training=replace(config.training, progress="off"))
    jobs = [build(replace(config, seed=seed), run) for seed in seeds]
    outcomes = fit_all([Fitting(job, recorded=False) for job in jobs])
    values: list[float | TradingBotError] = []
    for job, outcome in zip(jobs, outcomes, strict=True):
        try:
            if isinstance(outcome, Exception):
                raise outcome
            values.append(objectives(config, evaluate(job, outcome).objective)[0])
        except TradingBotError as error:
            values.append(error)
    return values
