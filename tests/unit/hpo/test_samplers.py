"""Samplers: the same points after a restart, different ones for each trial, and a grid whose points are taken once."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.hpo.samplers import (
    INTERRUPTED,
    KILLED,
    PRUNER_STARTUP_TRIALS,
    PRUNER_WARMUP_EPOCHS,
    STARTUP_TRIALS,
    SURPLUS,
    Grid,
    draws,
    make_pruner,
    make_sampler,
    most_steps,
)
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.storage import create_or_load, open_storage
from tradingbot_exp.hpo.trials import Trials

SPACE = SearchSpace.parse(
    {
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
        "batch_size": [16, 32, 64],
    }
)
GRID = SearchSpace.parse({"learning_rate": [0.1, 0.01, 0.001], "batch_size": [16, 32], "epochs": [1, 2]})
TRIALS = 70  # more than a generation of NSGA-II
TAKE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_samplers import take
print("ready", flush=True)
sys.stdin.readline()
take(Path(sys.argv[1]))
"""


def value_of(params: dict[str, Any]) -> float:
    return abs(params["model.learning_rate"] - 0.01) + params["training.weight_decay"] / params["training.batch_size"]


def open_study(folder: Path, name: str, seed: int = 42) -> optuna.Study:
    study, _ = create_or_load(open_storage(None, folder)[0], "s", ["minimize"])
    study.sampler = make_sampler(name, seed, SPACE.distributions)
    return study


def one(study: optuna.Study) -> dict[str, Any]:
    trial = study.ask()
    encoded = SPACE.suggest(trial)
    study.tell(trial, value_of(encoded))
    return encoded


@pytest.mark.parametrize("name", ["tpe", "random", "cmaes", "nsgaii", "qmc"])
def test_a_study_stopped_and_reopened_proposes_what_an_undisturbed_one_does(tmp_path: Path, name: str) -> None:
    undisturbed = open_study(tmp_path / "undisturbed", name)
    expected = [one(undisturbed) for _ in range(TRIALS)]
    stops = {1, 2, 11, 49, 50, 51, 69}
    found = []
    study = open_study(tmp_path / "stopped", name)
    for number in range(TRIALS):
        if number in stops:
            study = open_study(tmp_path / "stopped", name)
        found.append(one(study))
    assert found == expected
    assert len({tuple(sorted(point.items())) for point in found}) > 0.9 * TRIALS
    other = open_study(tmp_path / "other", name, seed=43)
    assert one(other) != expected[0]


@pytest.mark.parametrize("name", ["tpe", "random", "nsgaii"])
def test_trials_that_are_killed_and_tried_again_change_no_later_proposal(tmp_path: Path, name: str) -> None:
    drawn = []
    for kills in (set(), {5, 8, 9, 20}):
        study = open_study(tmp_path / f"{len(kills)} kills", name)
        trials = Trials(study, len(SPACE.distributions))
        while len(trials.done()) < 20:
            trial = study.ask()
            if trial.number == 20 in kills:  # it died before all of its point was drawn
                SPACE.parameters["model.learning_rate"].suggest(trial)
            else:
                value = value_of(SPACE.suggest(trial))
            if trial.number in kills:
                trials.interrupt(trial.number, KILLED)
                trials.interrupt(trial.number, KILLED)  # once is enough
            else:
                trials.finish(trial.number, TrialState.COMPLETE, [value])
        found = study.get_trials()
        places = dict(zip(draws(found), found, strict=True))
        drawn.append([places[place].params for place in range(20)])
        assert [trial.number for trial in found if trial.user_attrs.get(INTERRUPTED)] == sorted(kills)
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_trials_asked_beside_each_other_get_different_points(tmp_path: Path, name: str) -> None:
    first, second = open_study(tmp_path, name), open_study(tmp_path, name)
    points = [SPACE.suggest(study.ask()) for _ in range(10) for study in (first, second)]
    assert len({tuple(sorted(point.items())) for point in points}) == 20


def test_tpe_models_its_trials_from_the_sixth_on_however_many_follow(tmp_path: Path) -> None:
    drawn = []
    for name, sign in (("low", 1.0), ("high", -1.0)):
        study = open_study(tmp_path / name, "tpe")
        points = []
        for _ in range(10):
            trial = study.ask()
            points.append(SPACE.suggest(trial))
            study.tell(trial, sign * points[-1]["model.learning_rate"])
        drawn.append(points)
    low, high = drawn
    assert low[:STARTUP_TRIALS] == high[:STARTUP_TRIALS]
    assert all(a != b for a, b in zip(low[STARTUP_TRIALS:], high[STARTUP_TRIALS:], strict=True))


@pytest.mark.parametrize("name", ["median", "percentile"])
def test_a_pruner_waits_for_as_many_trials_and_epochs_as_the_configuration_says(tmp_path: Path, name: str) -> None:
    study = open_study(tmp_path, "random")
    study.pruner = make_pruner(name)
    stopped = {}
    for number in range(PRUNER_STARTUP_TRIALS + 1):
        trial = study.ask()
        for epoch in range(1, 2 * PRUNER_WARMUP_EPOCHS):
            trial.report(float(number), epoch)  # each is worse than all before
            if trial.should_prune():
                stopped.setdefault(number, epoch)
        study.tell(trial, float(number))
    assert stopped == {PRUNER_STARTUP_TRIALS: PRUNER_WARMUP_EPOCHS}
    told = (conf_dir() / "hpo" / "base.yaml").read_text(encoding="utf-8")
    assert f"need {PRUNER_STARTUP_TRIALS} finished trials first" in told
    assert f"before its {PRUNER_WARMUP_EPOCHS}th epoch" in told
    assert f"The first {STARTUP_TRIALS} trials of tpe and gp are random" in told


@pytest.mark.parametrize(
    ("searched", "expected"),
    [
        ({}, 30),
        ({"evaluation.scheme": "walk_forward", "evaluation.folds": 4}, 120),
        ({"evaluation.scheme": "chronological", "evaluation.folds": 4}, 30),
        ({"hpo.param_space.training.epochs": {"choices": [5, 40, 7]}}, 120),
        ({"hpo.param_space.training.epochs": {"low": 5, "high": 20, "log": False, "step": 1}}, 60),
        ({"hpo.param_space.training.ensemble": {"choices": [1, 3, 2]}, "training.ensemble": 1}, 90),
    ],
)
def test_hyperband_divides_the_most_epochs_that_a_trial_can_report(searched: dict[str, Any], expected: int) -> None:
    steps = most_steps({"training.epochs": 10, "hpo.repeats": 3, **searched})
    assert steps == expected
    pruner: Any = make_pruner("hyperband", steps)
    assert pruner._max_resource == expected


def grid_study(folder: Path) -> optuna.Study:
    study, _ = create_or_load(open_storage(None, folder)[0], "s", ["minimize"])
    study.sampler = make_sampler("grid", 42, GRID.distributions)
    return study


def ask_of(grid: Grid, study: optuna.Study) -> optuna.Trial | None:
    """Ask for a trial; None if there is no point for it."""
    trial = study.ask()
    GRID.suggest(trial)
    why = grid.refusal(study, trial.number)
    if why:
        Trials(study, 3).interrupt(trial.number, why)
    return None if why else trial


def take(folder: Path) -> None:
    """Ask for trials until the grid has no point left."""
    study, grid = grid_study(folder), Grid(GRID.grid())
    while grid.enqueue(study, 2):
        trial = ask_of(grid, study)
        time.sleep(0.02)
        if trial is not None:
            study.tell(trial, 1.0)


@pytest.mark.parametrize("pruner", [optuna.pruners.NopPruner(), optuna.pruners.HyperbandPruner()])
def test_a_grid_takes_every_point_once_whatever_is_interrupted(tmp_path: Path, pruner: Any) -> None:
    points, grid = GRID.grid(), Grid(GRID.grid())
    results: list[dict[str, Any]] = []
    killed = 0
    for number in itertools.count():
        study = grid_study(tmp_path)  # as after a restart
        study.pruner = pruner
        if not grid.enqueue(study, 1 + number % 3):
            break
        if number % 4 == 1:  # its process died before the point was drawn
            Trials(study, 3).interrupt(study.ask().number, (KILLED, SURPLUS)[number % 8 // 4])
            killed += 1
            continue
        trial = ask_of(grid, study)
        assert trial is not None
        results.append(trial.params)
        if number % 5 == 0:
            study.tell(trial, state=TrialState.FAIL)  # by itself: it counts
        else:
            study.tell(trial, 1.0)
    assert killed > 2 and sorted(map(points.index, results)) == list(range(len(points)))
    undisturbed = grid_study(tmp_path / "undisturbed")
    grid.enqueue(undisturbed, 100)
    assert [GRID.suggest(undisturbed.ask()) for _ in points] == points


def test_processes_that_ask_at_once_do_not_take_a_point_of_a_grid_twice(tmp_path: Path) -> None:
    points = GRID.grid()
    grid_study(tmp_path)
    command = [sys.executable, "-c", TAKE, str(tmp_path), str(Path(__file__).parent)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    counted = [trial for trial in grid_study(tmp_path).trials if not trial.user_attrs.get(INTERRUPTED)]
    assert sorted(points.index(trial.params) for trial in counted) == list(range(len(points)))
