"""The same search again on targets that are permuted in blocks, where there is nothing to find: the permutation test.

Features stay, targets and the returns that belong to them change places in blocks, among train rows and among
validation rows apart, so that a loss of the replay compares with one of the study. Of purged k-fold, whose rows are
both, among all of them.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tradingbot_exp.errors import ConfigError, TradingBotError
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.evaluation.significance.block_length import block_length
from tradingbot_exp.evaluation.significance.permutation import PermutationTest
from tradingbot_exp.experiment.data import given_data, load_data
from tradingbot_exp.hpo.samplers import Grid, make_pruner, make_sampler, most_steps
from tradingbot_exp.hpo.silent import silent_values
from tradingbot_exp.hpo.trial_spec import Pruned
from tradingbot_exp.tracking.store.errors import wrapped

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from optuna.trial import FrozenTrial

    from tradingbot_exp.config.schema import EvaluationConfig
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.hpo.study import Study
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)

KIND = "null_study"
_MOST_RUNS = 10_000


def replay(
    study: Study, parent: TrackedRun, organizer: ExperimentOrganizer, winner: FrozenTrial
) -> PermutationTest | None:
    """Repeat the search `hpo.null_replays` times, and see where the real winner stands; None for 0.

    Each replay is a run of kind ``null_study`` with the tag ``null_of``; those that an earlier start recorded, for as
    many trials, are not repeated.

    Raises
    ------
    TradingBotError
        No replay has a value.
    """
    wanted = study.config.hpo.null_replays
    found = _recorded(organizer, parent.run_id, study.total)
    for number in range(wanted):
        if number not in found:
            found[number] = _replayed(study, parent.run_id, organizer, number)
            log.info("search %d of %d on permuted targets: best %s", number + 1, wanted, f"{found[number]:.6g}")
    if not found:
        return None
    values = [found[number] for number in sorted(found) if math.isfinite(found[number])]
    if not values:
        raise TradingBotError(f"none of the {len(found)} replays has a trial with a value")
    return PermutationTest.of(objectives_of(study.config.hpo)[0], winner.number, float(winner.values[0]), values)


def permuted(data: PreparedData, evaluation: EvaluationConfig, length: int, rng: np.random.Generator) -> PreparedData:
    """Return the data with targets, and one-bar returns, permuted in blocks of `length` bars; test rows stay."""
    start, middle, stop = data.train.start, data.val.start, data.val.stop
    parts = [(start, stop)] if evaluation.scheme == "purged_kfold" else [(start, middle), (middle, stop)]
    order = np.arange(len(data.target))
    for first, end in parts:
        order[first:end] = first + block_permutation(end - first, length, rng)
    returns = None if data.next_return is None else data.next_return[order]
    return replace(data, target=data.target[order], next_return=returns)


def block_permutation(n: int, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the rows 0 to n − 1 in blocks of `length`, the last shorter, in random order; cut at a random row."""
    rows = np.roll(np.arange(n), int(rng.integers(max(n, 1))))
    blocks = [rows[at : at + length] for at in range(0, n, length)]
    return np.concatenate([blocks[each] for each in rng.permutation(len(blocks))]) if blocks else rows


def _recorded(organizer: ExperimentOrganizer, run_id: str, planned: int) -> dict[int, float]:
    """Return the best value of each replay that is over, of searches as long as this one."""
    client, experiment_id = organizer.connect()
    query = f"tags.`null_of` = '{run_id}' and attributes.status = 'FINISHED'"
    with wrapped("The replays of the study cannot be read"):
        runs = client.search_runs([experiment_id], query, max_results=_MOST_RUNS)
    return {
        int(run.data.tags["null.number"]): float(run.data.metrics.get("best_value", math.nan))
        for run in runs
        if run.data.tags.get("null.planned") == str(planned)
    }


def _replayed(study: Study, run_id: str, organizer: ExperimentOrganizer, number: int) -> float:
    """Make one replay, recorded as a run of its own; give its best value, NaN if no trial has one."""
    config, data = study.config, load_data(study.config)
    length = math.ceil(max(float(data.horizon), block_length(data.targets(data.train))))
    tags: dict[str, Any] = {
        "null_of": run_id,
        "null__number": number,
        "null__planned": config.hpo.num_trials,
        "null__block": length,
        "study__name": study.name,
    }
    run = organizer.open_run(f"null-{study.name}-{number + 1}", kind=KIND, **tags)
    try:
        metric, direction = objectives_of(config.hpo)[0]
        planned = config.hpo.num_trials
        run.log_params({"hpo.metric": metric, "hpo.direction": direction, "hpo.num_trials": planned})
        best, trials = _search(study, run, number, length)
        run.log_metrics({"trials": trials} | ({"best_value": best} if math.isfinite(best) else {}))
    except BaseException as error:
        organizer.close_run(run, error)
        raise
    organizer.close_run(run)
    return best


def _search(searched: Study, run: TrackedRun, number: int, length: int) -> tuple[float, int]:
    """Search as the study did, in memory: the best value, and how many trials there were."""
    hpo, space = searched.config.hpo, searched.space
    seeds = np.random.SeedSequence([searched.config.seed, number]).generate_state(3)
    goals = objectives_of(hpo)
    study = optuna.create_study(
        sampler=make_sampler(hpo.sampler, int(seeds[0])),
        pruner=make_pruner(hpo.pruner, most_steps(searched.definition)),
        directions=[StudyDirection[goal.direction.upper()] for goal in goals],
    )
    seed = int(seeds[1] % 2**31)
    best = math.inf
    known: dict[str, list[float]] = {}
    null: dict[int, tuple[PreparedData, PreparedData]] = {}  # with the data, so that none is taken for another
    planned = hpo.num_trials
    if hpo.sampler == "grid":
        points = space.grid()
        planned = min(planned, len(points))
        Grid(points).enqueue(study, planned)
    for _ in range(planned):
        trial = study.ask()
        point = space.suggest(trial)
        try:
            tried = replace(searched.trial_config(point), seed=seed)
        except ConfigError:  # the trial failed, as it would in the study
            study.tell(trial, state=TrialState.FAIL)
            continue
        data = load_data(tried)
        if id(data) not in null:  # features may be searched: the targets are the same
            rng = np.random.default_rng(int(seeds[2]))
            null[id(data)] = data, permuted(data, searched.config.evaluation, length, rng)
        key = json.dumps(point, sort_keys=True)
        values: list[float] | Pruned | None = known.get(key)
        if values is None:
            with given_data(null[id(data)][1]):
                values = _values(tried, run, _asking(trial) if hpo.pruner != "none" else None)
        if isinstance(values, Pruned):
            study.tell(trial, state=TrialState.PRUNED)
        elif all(math.isfinite(value) for value in values):
            known[key] = values
            study.tell(trial, values)
            best = min(best, goals[0].sign * values[0])
        else:
            study.tell(trial, state=TrialState.FAIL)
    return (goals[0].sign * best if math.isfinite(best) else math.nan), len(study.trials)


def _values(config: Any, run: TrackedRun, ask: Callable[[int, float], bool] | None) -> list[float] | Pruned:
    try:
        return silent_values(config, run, ask)
    except TradingBotError:  # such as a loss that diverges: the trial failed, as it would in the study
        return [math.nan]


def _asking(trial: optuna.Trial) -> Callable[[int, float], bool]:
    """Return the question to ask after each epoch."""

    def ask(step: int, value: float) -> bool:
        trial.report(value, step)
        return trial.should_prune()

    return ask
