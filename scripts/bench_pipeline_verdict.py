"""Who is fooled by whole studies of the real pipeline? The rules of ``bench_verdict.py`` judge searches of networks.

Each study searches the default space with the default sampler: its trials are asked for in two batches, trained as
stacks by the engine of `hydra/launcher=stacked`, evaluated on the validation bars, and its winner is judged by the
functions that judge a study of the command line. Nothing is recorded in MLflow, and the leak gate has nothing to do.
Where there is nothing to find, the targets of a market's bars are permuted in blocks, of a panel by dates, as
`hpo.null_replays` permutes them; where there is a signal, the bars are those of `data=synthetic`, of another path each
time, traded at the close that made the forecast and at no cost. 200 studies of a kind take some minutes on two cores,
of panels half an hour; a run that is stopped goes on from the file `--out`.
"""

from __future__ import annotations

import argparse
import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from bench_verdict import RULES, best_by, print_table, rules_taken_in
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tradingbot_exp import ExperimentOrganizer
from tradingbot_exp.config.finalize import vary
from tradingbot_exp.config.metrics import family_of
from tradingbot_exp.config.schema import Config
from tradingbot_exp.data import PreparedData
from tradingbot_exp.errors import DivergedError
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.experiment.data import given_data, load_data
from tradingbot_exp.experiment.fitting import Fitting, fit_all
from tradingbot_exp.experiment.job import build
from tradingbot_exp.experiment.results import Evaluated, evaluate, objectives
from tradingbot_exp.hpo.results.bars import ALL, BEFORE, as_sums, kept_of
from tradingbot_exp.hpo.samplers import make_sampler
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.trials import best_trials
from tradingbot_exp.hpo.verdict.judge import evidence_of
from tradingbot_exp.hpo.verdict.null_search import block_of, permuted
from tradingbot_exp.tracking.writing.run import TrackedRun


@dataclass(frozen=True)
class Kind:
    """Studies of one kind.

    Attributes
    ----------
    name : str
    data : callable
        From a configuration and the study's number to the configuration with its seeds, and its data.
    change : callable
        Sets up the default configuration for the kind.
    metric : str
        What is searched for.
    trials : int
    """

    name: str
    data: Callable[[Config, int], tuple[Config, PreparedData]]
    change: Callable[[Config], None] = lambda config: None
    metric: str = "val_loss"
    trials: int = 24


def pipeline_config(kind: Kind, trials: int | None, epochs: int, folder: Path) -> Config:
    """Give the default configuration, with a study of so many trials and epochs, changed as a kind asks."""
    config = Config()
    config.training.epochs, config.training.progress = epochs, "off"
    config.hpo.num_trials, config.hpo.metric = trials or kind.trials, kind.metric
    config.hpo.direction = "minimize" if kind.metric == "val_loss" else "maximize"
    config.hpo.param_space = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "batch_size": [16, 32, 64]}
    config.tracking.uri = f"sqlite:///{folder / 'mlflow.db'}"
    kind.change(config)
    return config


def with_nothing_to_find(config: Config, number: int) -> tuple[Config, PreparedData]:
    """Give a market's bars with their targets permuted."""
    config = replace(config, seed=number)
    return config, without_signal(config, load_data(config))


def without_signal(config: Config, data: PreparedData) -> PreparedData:
    """Permute targets in blocks, of a panel by dates."""
    return permuted(data, config.evaluation, block_of(data), np.random.default_rng([config.seed, 5]))


def with_signal(
    config: Config, number: int, strength: float = 0.3, bars: int = 3_270, symbols: int = 1
) -> tuple[Config, PreparedData]:
    """Give synthetic bars whose next return has a correlation of `strength` with the last."""
    source = replace(config.data, name="synthetic", source="synthetic")
    source.synthetic = replace(source.synthetic, bars=bars, signal=strength, seed=number, symbols=symbols)
    free = replace(config.evaluation, execution_lag=0, cost_bps=0.0)
    config = replace(config, seed=number, data=source, evaluation=free)
    return config, load_data(config)


def with_signal_across(config: Config, number: int) -> tuple[Config, PreparedData]:
    """Give a synthetic panel of 50 symbols, 500 validation dates, and an information coefficient of 0.05 across."""
    return with_signal(config, number, strength=0.05, bars=3_374, symbols=50)


def with_nothing_across(config: Config, number: int) -> tuple[Config, PreparedData]:
    """Give such a panel with its targets permuted: what the symbols of a date had stays together."""
    config, data = with_signal_across(config, number)
    return config, without_signal(config, data)


def _of_panel(**data: Any) -> Callable[[Config], None]:
    """Give what sets these keys of the data, and batches as large as a panel has rows for."""

    def change(config: Config) -> None:
        _on(**data)(config)
        config.training.batch_size = 1_024
        del config.hpo.param_space["batch_size"]

    return change


def _on(**data: Any) -> Callable[[Config], None]:
    """Give what sets these keys of the data."""

    def change(config: Config) -> None:
        config.data = replace(config.data, **data)

    return change


def _folds(scheme: str, folds: int) -> Callable[[Config], None]:
    """Give what sets a validation scheme."""

    def change(config: Config) -> None:
        config.evaluation.scheme, config.evaluation.folds = scheme, folds

    return change


RANKS = _of_panel(target="rank", scaling="date")
NULLS = (
    Kind("networks, IBM permuted, searched by loss", with_nothing_to_find),
    Kind("networks, MSFT permuted, searched by Sharpe ratio", with_nothing_to_find, _on(name="msft"), "val_sharpe"),
    Kind("networks, IBM permuted, horizon 5", with_nothing_to_find, _on(horizon=5)),
    Kind("networks, IBM permuted, 4 walk-forward folds", with_nothing_to_find, _folds("walk_forward", 4)),
    Kind("networks, IBM permuted, 4 purged folds", with_nothing_to_find, _folds("purged_kfold", 4)),
    Kind("networks, ranks of 50 symbols permuted by date", with_nothing_across, RANKS, "val_cs_ic", 8),
)
SKILLS = (
    Kind("networks, 0.3 planted over 3,270 bars, searched by loss", with_signal),
    Kind("networks, 0.3 planted over 3,270 bars, searched by Sharpe ratio", with_signal, metric="val_sharpe"),
    Kind("networks, 0.05 planted across ranks of 50 symbols", with_signal_across, RANKS, "val_cs_ic", 8),
    Kind("networks, 0.05 planted across returns of 50 symbols", with_signal_across, _of_panel(), "val_cs_ic", 8),
)
KINDS = {kind.name: kind for kind in (*NULLS, *SKILLS)}


def evidence(config: Config, data: PreparedData, run: TrackedRun) -> StudyEvidence:
    """Search, and give what the verdict on the winner rests on."""
    with given_data(data):
        session: Any = SimpleNamespace(config=config, space=SearchSpace.parse(config.hpo.param_space))
        results = search(session, run)
        winner = next(iter(best_trials(session.study)), None)
        if winner is None:
            raise ValueError("No trial is complete.")
        dates = {trial: data.days(result.rows) for trial, result in results.items()}
        left = {trial: kept_of(config, data, result) for trial, result in results.items()}
        matrices = {kept: pd.DataFrame() for kept in ALL} | {
            kept: pd.DataFrame(
                {
                    trial: as_sums(bars[kept]) if kept is BEFORE else pd.Series(bars[kept], dates[trial], kept.dtype)
                    for trial, bars in left.items()
                }
            )
            for kept in left[str(winner.number)]
        }
        return evidence_of(config, session.study.get_trials(), winner, matrices, ever=0)


def search(session: Any, run: TrackedRun) -> dict[str, Evaluated]:
    """Make the trials of a study, in two batches; give what each came to by its number."""
    config, found = session.config, {}
    session.study = optuna.create_study(
        sampler=make_sampler(config.hpo.sampler, config.seed, session.space.distributions),
        directions=[StudyDirection[goal.direction.upper()] for goal in objectives_of(config.hpo)],
    )
    first = config.hpo.num_trials // 2
    for size in (first, config.hpo.num_trials - first):
        trials = [session.study.ask() for _ in range(size)]
        points = [session.space.decode(session.space.suggest(trial)) for trial in trials]
        jobs = [build(vary(config, point, own_data=False), run) for point in points]
        outcomes = fit_all([Fitting(job) for job in jobs])
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


def studies(kind: Kind, numbers: Sequence[int], *, trials: int | None, epochs: int) -> Iterator[StudyEvidence]:
    """Give each study of a kind, by the numbers that their seeds come from."""
    optuna.logging.set_verbosity(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        config = pipeline_config(kind, trials, epochs, Path(folder))
        with ExperimentOrganizer(config).start_run() as run:  # trials are built for a run, and write nothing into it
            for number in numbers:
                yield evidence(*kind.data(config, number), run)


def judged(study: StudyEvidence, *, seed: int = 0, rules: tuple[str, ...] = RULES) -> list[str]:
    """Give the rules that call the winner of a study skilled: the winner of the search, or the best by the others."""
    forecasts = family_of(study.metric) == "forecast"
    by_forecast, by_return = (study, best_by(study, "val_sharpe")) if forecasts else (best_by(study, "val_ic"), study)
    return rules_taken_in(by_forecast, by_return, seed=seed, rules=rules)


def _judge(trials: int | None, epochs: int, name: str, number: int) -> list[str]:
    torch.set_num_threads(1)
    (study,) = studies(KINDS[name], [number], trials=trials, epochs=epochs)
    return judged(study, seed=number)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200, help="studies of each kind")
    parser.add_argument("--trials", type=int, help="24, of panels 8")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only", default="", help="kinds whose name holds this text")
    parser.add_argument("--out", type=Path, default=Path("bench_pipeline_verdict.jsonl"), help="gone on from")
    given = parser.parse_args()
    kinds = [name for name in KINDS if given.only in name]
    judge = partial(_judge, given.trials, given.epochs)
    print_table(kinds, judge, repetitions=given.repetitions, out=given.out, chunk=1)


if __name__ == "__main__":
    main()
