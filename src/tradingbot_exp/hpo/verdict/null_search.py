"""The same search again on targets that are permuted in blocks, where there is nothing to find: the permutation test.

Features stay, targets and the returns that belong to them change places in blocks, among train rows and among
validation rows apart, so that a loss of the replay compares with one of the study. Of purged k-fold, whose rows are
both, among all of them. No target comes to one of the rows whose features reach back to the bars that it is of: on a
panel of 50 symbols the return over 20 bars would have an information coefficient of 0.01 with such targets, which is
what the best of eight trials has by chance.

Of a panel dates change places, the same for all symbols: what a date's symbols had stays together. A symbol that has a
row on one of two such dates alone is given, there, one of its own targets that are left over for the same reason, so
that each symbol keeps its targets, each once.
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

from tradingbot_exp.data.features import warmup_of
from tradingbot_exp.errors import ConfigError, TradingBotError
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.evaluation.significance.block_length import block_length
from tradingbot_exp.evaluation.significance.permutation import PermutationTest
from tradingbot_exp.experiment.data import given_data, load_data
from tradingbot_exp.hpo.samplers import Grid, make_pruner, make_sampler, most_steps
from tradingbot_exp.hpo.silent import silent_values
from tradingbot_exp.hpo.study import enqueue_start, prior_of
from tradingbot_exp.hpo.trial_spec import Pruned
from tradingbot_exp.hpo.trials import counting

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from optuna.trial import FrozenTrial

    from tradingbot_exp.config.schema import EvaluationConfig
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.data.panel_blocks import Panel
    from tradingbot_exp.hpo.study import Study
    from tradingbot_exp.tracking.store.store import Store
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)

KIND = "null_study"
_TRIES = 200  # places that are tried for a block which cannot stay where it is


def replay(
    study: Study, parent: TrackedRun, organizer: ExperimentOrganizer, store: Store, winner: FrozenTrial
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
    found = _recorded(store, organizer.connect()[1], parent.run_id, _size(study))
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
    """Return the data with targets, and one-bar returns, permuted in blocks of `length` bars; test rows stay.

    Of a panel so do rows whose target is known in the test part only, as before a long gap.
    """
    panel = data.panel
    train, val = panel.in_dates(data.train), panel.in_dates(data.val)
    start, middle, stop = train.start, val.start, val.stop
    memory = warmup_of(data.feature_names) + data.sequence_length - 1 + data.horizon
    parts = [(start, stop)] if evaluation.scheme == "purged_kfold" else [(start, middle), (middle, stop)]
    order = np.arange(len(data.target))
    for first, end in parts:
        moved = first + block_permutation(end - first, length, rng, memory)
        _move_dates(order, panel, slice(first, end), moved, panel.in_dates(data.test).start)
    returns = None if data.next_return is None else data.next_return[order]
    return replace(data, target=data.target[order], next_return=returns)


def _move_dates(order: NDArray[np.int64], panel: Panel, dates: slice, moved: NDArray[np.int64], known_by: int) -> None:
    """Write into `order` which row's target each row of some dates is given; see the module."""
    layout = panel.layout
    rows = np.flatnonzero(panel.known < known_by)
    grid = np.full((len(layout.starts), len(layout.names)), -1)
    grid[layout.days[rows], layout.symbol[rows]] = rows
    here, there = grid[dates].T, grid[moved].T  # a symbol after another: of each as many are left over here as there
    for at, given in (((here >= 0) & (there >= 0),) * 2, ((here >= 0) & (there < 0), (here < 0) & (there >= 0))):
        order[here[at]] = there[given]


def block_of(data: PreparedData) -> int:
    """Return how many bars change places together: of a panel, the median of what suits its symbols."""
    target, layout = data.targets(data.train), data.layout.take(data.train.rows)
    series = (target[layout.rows_of(code)] for code in np.unique(layout.symbol))
    return math.ceil(max(float(data.horizon), float(np.median([block_length(each) for each in series]))))


def block_permutation(n: int, length: int, rng: np.random.Generator, memory: int = -1) -> NDArray[np.int64]:
    """Return the rows 0 to n − 1 in blocks of `length`, the last shorter, in random order; cut at a random row.

    With `memory`, blocks of which a row stays, or comes to one of so many places after its own, change places with
    others, as far as there are any.
    """
    rows = np.roll(np.arange(n), int(rng.integers(max(n, 1))))
    blocks = [rows[at : at + length] for at in range(0, n, length)]
    order = rng.permutation(len(blocks))
    ends = np.cumsum([len(blocks[each]) for each in order], dtype=np.int64)

    def near(place: int, block: int) -> bool:
        later = np.arange(ends[place] - len(blocks[order[place]]), ends[place]) - blocks[block]
        return bool(((later >= 0) & (later <= memory)).any())

    for place in range(len(order) if memory >= 0 else 0):
        for other in rng.integers(len(order), size=_TRIES) if near(place, order[place]) else ():
            alike = len(blocks[order[place]]) == len(blocks[order[other]])
            if alike and not near(place, order[other]) and not near(other, order[place]):
                order[[place, other]] = order[[other, place]]
                break
    return np.concatenate([blocks[each] for each in order]) if blocks else rows


def _recorded(store: Store, experiment_id: str, run_id: str, planned: int) -> dict[int, float]:
    """Return the best value of each replay that is over, of searches as long as this one."""
    query = f"tags.`null_of` = '{run_id}' and attributes.status = 'FINISHED'"
    return {
        int(run.data.tags["null.number"]): float(run.data.metrics.get("best_value", math.nan))
        for run in store.search(query, [experiment_id])
        if run.data.tags.get("null.planned") == str(planned)
    }


def _size(study: Study) -> int:
    """Count the trials of a study, which may have stopped before `hpo.num_trials`."""
    return sum(trial.state.is_finished() for trial in counting(study.optuna))


def _replayed(study: Study, run_id: str, organizer: ExperimentOrganizer, number: int) -> float:
    """Make one replay, recorded as a run of its own; give its best value, NaN if no trial has one."""
    config, data = study.config, load_data(study.config)
    length = block_of(data)
    tags: dict[str, Any] = {
        "null_of": run_id,
        "null__number": number,
        "null__planned": _size(study),
        "null__block": length,
        "study__name": study.name,
    }
    run = organizer.open_run(f"null-{study.name}-{number + 1}", kind=KIND, **tags)
    try:
        metric, direction = objectives_of(config.hpo)[0]
        planned = _size(study)
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
        sampler=make_sampler(hpo.sampler, int(seeds[0]), space.distributions),
        pruner=make_pruner(hpo.pruner, most_steps(searched.definition)),
        directions=[StudyDirection[goal.direction.upper()] for goal in goals],
    )
    seed = int(seeds[1] % 2**31)
    best = math.inf
    known: dict[str, list[float]] = {}
    null: dict[int, tuple[PreparedData, PreparedData]] = {}  # with the data, so that none is taken for another
    planned = _size(searched)
    if hpo.sampler == "grid":
        points = space.grid()
        planned = min(planned, len(points))
        Grid(points).enqueue(study, planned)
    enqueue_start(study, searched.config, space, prior_of(searched.optuna, space))
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
