"""Measure how often the verdict on a whole study of the real pipeline is wrong.

Each study searches the default space with the default sampler: its trials are asked for in two batches, trained as
stacks by the engine of `hydra/launcher=stacked`, evaluated on the validation bars, and its winner is judged by the
functions that judge a study of the command line. Nothing is recorded in MLflow, and the leak gate has nothing to do.
Where there is nothing to find, the targets of IBM's bars are permuted in blocks, as `hpo.null_replays` permutes them;
where there is a signal, the bars are those of `data=synthetic`, of another path each time, traded at the close that
made the forecast and at no cost. 200 studies of each kind take about a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.study import StudyDirection
from optuna.trial import TrialState
from scipy.stats import binomtest

from tradingbot_exp import ExperimentOrganizer
from tradingbot_exp.config.schema import Config
from tradingbot_exp.data import PreparedData
from tradingbot_exp.errors import DivergedError
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.evaluation.significance.block_length import block_length
from tradingbot_exp.evaluation.significance.verdict import winner_test
from tradingbot_exp.experiment.data import given_data, load_data
from tradingbot_exp.experiment.fitting import Fitting, fit_all
from tradingbot_exp.experiment.job import build
from tradingbot_exp.experiment.results import Evaluated, evaluate, objectives
from tradingbot_exp.hpo.results.bars import BEFORE, FORECASTS, RETURNS, as_sums
from tradingbot_exp.hpo.samplers import make_sampler
from tradingbot_exp.hpo.silent import with_values
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.verdict.judge import evidence_of, first_winner
from tradingbot_exp.hpo.verdict.null_search import permuted
from tradingbot_exp.tracking.writing.run import TrackedRun

DIRECTIONS = {"val_loss": "minimize", "val_sharpe": "maximize"}


def pipeline_config(metric: str, trials: int, epochs: int, folder: Path) -> Config:
    """Give the default configuration, with a study of so many trials and epochs."""
    config = Config()
    config.training.epochs, config.training.progress = epochs, "off"
    config.hpo.num_trials, config.hpo.metric, config.hpo.direction = trials, metric, DIRECTIONS[metric]
    config.hpo.param_space = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "batch_size": [16, 32, 64]}
    config.tracking.uri = f"sqlite:///{folder / 'mlflow.db'}"
    return config


def with_nothing_to_find(config: Config, number: int) -> tuple[Config, PreparedData]:
    """Give IBM's bars with their targets permuted."""
    config = replace(config, seed=number)
    data = load_data(config)
    length = math.ceil(max(float(data.horizon), block_length(data.targets(data.train))))
    return config, permuted(data, config.evaluation, length, np.random.default_rng([number, 5]))


def with_signal(config: Config, number: int, strength: float, bars: int) -> tuple[Config, PreparedData]:
    """Give synthetic bars whose next return has a correlation of `strength` with the last."""
    source = replace(config.data, name="synthetic", source="synthetic")
    source.synthetic = replace(source.synthetic, bars=bars, signal=strength, seed=number)
    free = replace(config.evaluation, execution_lag=0, cost_bps=0.0)
    config = replace(config, seed=number, data=source, evaluation=free)
    return config, load_data(config)


def word_of(config: Config, data: PreparedData, run: TrackedRun) -> str:
    """Search, and give the word of the verdict on the winner."""
    with given_data(data):
        session: Any = SimpleNamespace(config=config, space=SearchSpace.parse(config.hpo.param_space))
        results = search(session, run)
        winner = first_winner(session.study, objectives_of(config.hpo)[0].sign)
        if winner is None:
            return "no trial is complete"
        dates = {trial: data.dates(result.rows) for trial, result in results.items()}
        forecasts = {t: pd.Series(r.forecast.astype(np.float32), dates[t]) for t, r in results.items()}
        returns = {t: pd.Series(r.columns["strategy_return"], dates[t]) for t, r in results.items()}
        before = pd.DataFrame({trial: as_sums(result.before) for trial, result in results.items()})
        matrices = {FORECASTS: pd.DataFrame(forecasts), RETURNS: pd.DataFrame(returns), BEFORE: before}
        evidence = evidence_of(session, session.study.get_trials(), winner, matrices, ever=0)
    return winner_test(evidence, seed=0).word


def search(session: Any, run: TrackedRun) -> dict[str, Evaluated]:
    """Make the trials of a study, in two batches; give what each came to by its number."""
    config, found = session.config, {}
    nowhere = SimpleNamespace(log_metrics=lambda metrics, step: None)
    session.study = optuna.create_study(
        sampler=make_sampler(config.hpo, session.space, config.seed),
        directions=[StudyDirection[goal.direction.upper()] for goal in objectives_of(config.hpo)],
    )
    first = config.hpo.num_trials // 2
    for size in (first, config.hpo.num_trials - first):
        trials = [session.study.ask() for _ in range(size)]
        points = [session.space.decode(session.space.suggest(trial)) for trial in trials]
        jobs = [build(with_values(config, point), run) for point in points]
        outcomes = fit_all([Fitting(job, nowhere) for job in jobs])
        for trial, job, histories in zip(trials, jobs, outcomes, strict=True):
            if isinstance(histories, Exception):
                if not isinstance(histories, DivergedError):
                    raise histories
                session.study.tell(trial, state=TrialState.FAIL)
                continue
            result = evaluate(job, histories)
            values = objectives(config, result.objective)
            if all(map(math.isfinite, values)):
                session.study.tell(trial, values)
                found[str(trial.number)] = result
            else:
                session.study.tell(trial, state=TrialState.FAIL)
    return found


def words_of(
    kind: str, metric: str, numbers: Sequence[int], *, trials: int, epochs: int, signal: float = 0.4, bars: int = 8_000
) -> Iterator[str]:
    """Give the word of each study of a kind, by the numbers that their seeds come from."""
    optuna.logging.set_verbosity(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        config = pipeline_config(metric, trials, epochs, Path(folder))
        with ExperimentOrganizer(config).start_run() as run:  # trials are built for a run, and write nothing into it
            for number in numbers:
                given = (
                    with_signal(config, number, signal, bars)
                    if kind == "signal"
                    else with_nothing_to_find(config, number)
                )
                yield word_of(*given, run)


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200, help="studies of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first study, from which its seeds come")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--signal", type=float, default=0.4, help="correlation of the planted signal")
    parser.add_argument("--bars", type=int, default=8_000, help="bars with the planted signal")
    parser.add_argument("--kinds", nargs="+", choices=("nothing", "signal"), default=("nothing", "signal"))
    parser.add_argument("--metrics", nargs="+", choices=tuple(DIRECTIONS), default=tuple(DIRECTIONS))
    asked = parser.parse_args()
    numbers = range(asked.first, asked.first + asked.repetitions)
    for metric, kind in itertools.product(asked.metrics, asked.kinds):
        began, words = time.perf_counter(), []
        size = {"trials": asked.trials, "epochs": asked.epochs, "signal": asked.signal, "bars": asked.bars}
        for word in words_of(kind, metric, numbers, **size):
            words.append(word)
            if len(words) % 20 == 0 or len(words) == asked.repetitions:
                _say(f"{metric}, {kind}", words, time.perf_counter() - began)


def _say(name: str, words: Sequence[str], seconds: float) -> None:
    count = words.count("real")
    low, high = binomtest(count, len(words)).proportion_ci(0.95)
    print(
        f"{name}: {count} of {len(words)} called real, {100 * count / len(words):.1f} % "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %), "
        f"{len(words) - count - words.count('not shown')} cannot be told; {seconds:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
