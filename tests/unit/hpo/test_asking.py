"""Points that are tried first, samplers by name, and studies that stop before their number of trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from tradingbot_exp import ConfigurationManager, ExperimentOrganizer, run_hpo_study
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.hpo.checks import check_study
from tradingbot_exp.hpo.samplers import INTERRUPTED, START, make_sampler
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.storage import open_storage
from tradingbot_exp.hpo.study import StudyResult, enqueue_start
from tradingbot_exp.hpo.trials import Trials
from tradingbot_exp.plugins import sampler

SPACE = SearchSpace.parse(
    {
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "hidden_layers": [[8], [8, 4]],
        "batch_size": {"low": 16, "high": 64, "step": 16},
    }
)
START_POINTS = [{"learning_rate": 0.01, "hidden_layers": [8, 4], "batch_size": 32}, {"training.batch_size": 48}]


@pytest.mark.parametrize(
    ("point", "why"),
    [
        ({"learning_rate": 1.0}, r"hpo.start\[0\].learning_rate=1.0 is not in the search space: .*'high': 0.1"),
        ({"learning_rate": 10**400}, r"hpo.start\[0\].learning_rate=10+ is not in the search space"),
        ({"batch_size": 20}, r"hpo.start\[0\].batch_size=20 is not in the search space"),
        ({"batch_size": True}, r"hpo.start\[0\].batch_size=true is not in the search space"),
        ({"hidden_layers": [4]}, r"hpo.start\[0\].hidden_layers=\[4\] is not in the search space"),
        ({"dropout": 0.1}, r"hpo.start\[0\].dropout is not searched. The space has: model.learning_rate, "),
        ({"lr": 0.1}, r"hpo.start\[0\].lr is not a key"),
        ({"learning_rate": 0.01, "training.learning_rate": 0.02}, "model.learning_rate is given twice"),
    ],
)
def test_a_point_outside_of_the_space_is_refused_by_name(point: dict[str, Any], why: str) -> None:
    config = compose_config(["data=synthetic"])
    config.hpo.start = [point]
    with pytest.raises(ConfigError, match=why):
        check_study(config, SPACE)


@pytest.mark.parametrize("given", ["[1]", "[{}]", "7"])
def test_what_is_no_list_of_points_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match=r"hpo.start"):
        compose_config(["data=synthetic", f"hpo.start={given}"])


def test_points_are_tried_first_and_again_where_their_process_died() -> None:
    config = compose_config(["data=synthetic"])
    config.hpo.start = START_POINTS
    study = optuna.create_study(sampler=make_sampler("random", 1, SPACE.distributions))
    for _ in range(2):
        enqueue_start(study, config, SPACE)
    assert len(study.get_trials()) == 2
    first = study.ask()
    assert SPACE.decode(SPACE.suggest(first))["training.batch_size"] == 32
    second = study.ask()  # its process dies before it has drawn a value
    trials = Trials(study, 3)
    trials.interrupt(second.number, "killed")
    trials.interrupt(first.number, "killed")
    again = [study.ask() for _ in range(2)]
    points = [SPACE.decode(SPACE.suggest(trial)) for trial in again]
    assert sorted(point["training.batch_size"] for point in points) == [32, 48]
    assert sorted(trial.user_attrs[START] for trial in again) == [0, 1]
    assert all(INTERRUPTED in trial.user_attrs for trial in study.get_trials()[:2])


def test_a_sobol_sequence_fills_the_space_evenly_from_its_first_point_on_whoever_asks() -> None:
    space = SearchSpace.parse(
        {"dropout": {"low": 0.0, "high": 0.5}, "weight_decay": {"low": 0.0, "high": 1.0}, "batch_size": [16, 32]}
    )
    study = optuna.create_study()
    for _ in range(32):
        study.sampler = make_sampler("qmc", 3, space.distributions)  # as a process that starts anew has it
        study.tell(trial := study.ask(), float(sum(space.suggest(trial).values())))
    drawn = np.array(
        [[trial.params["model.dropout"] * 2, trial.params["training.weight_decay"]] for trial in study.trials]
    )
    for axis in drawn.T:
        assert np.bincount((axis * 32).astype(int), minlength=32).max() == 1
    choices = [trial.params["training.batch_size"] for trial in study.trials]
    assert sorted(map(choices.count, (16, 32))) == [16, 16]


def test_patience_counts_from_the_first_trial_of_each_value_in_front() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    trials, seen = Trials(study, 1), []
    for values in ((1, 1), (2, 0), (1, 1), (2, 2), (2, 0), (1, 1), (2, 2)):
        study.tell(study.ask(), values)
        seen.append(trials.since_better())
    assert seen == [0, 0, 1, 2, 3, 4, 5]


def test_a_number_is_meant_for_a_choice_whatever_its_type_and_a_truth_is_not() -> None:
    space = SearchSpace.parse({"dropout": [0.0, 0.1], "batch_size": [16, 32]})
    assert space.encode({"dropout": 0, "batch_size": 32.0}, "start") == {
        "model.dropout": 0.0,
        "training.batch_size": 32,
    }
    with pytest.raises(ConfigError, match=r"start.dropout=false is not in the search space"):
        space.encode({"dropout": False}, "start")


def test_a_sampler_of_ones_own_is_asked_and_what_is_none_is_refused() -> None:
    @sampler("mine")
    def mine(seed: int) -> object:
        return optuna.samplers.RandomSampler(seed=seed)

    @sampler("broken")
    def broken(seed: int) -> object:
        return seed

    study = optuna.create_study(sampler=make_sampler("mine", 1, SPACE.distributions))
    assert SPACE.suggest(study.ask())
    with pytest.raises(ConfigError, match=r"hpo.sampler=broken: .*broken gave \d+; expected one of Optuna's samplers"):
        make_sampler("broken", 1, SPACE.distributions)
    with pytest.raises(ConfigError, match="'tpe' is a sampler of this package"):
        sampler("tpe")
    assert compose_config(["data=synthetic", "hpo.sampler=mine"]).hpo.sampler == "mine"


def run(**hpo: Any) -> StudyResult:
    config = ConfigurationManager(overrides=["training=smoke", "training.progress=off"]).get_config()
    config.hpo.reseeds, config.hpo.param_space = (
        0,
        {"learning_rate": {"low": 1e-4, "high": 1e-2}, "batch_size": [32, 64]},
    )
    for name, value in hpo.items():
        setattr(config.hpo, name, value)
    rng = np.random.default_rng(0)
    sets = rng.normal(size=(200, 4)), rng.normal(size=200), rng.normal(size=(60, 4)), rng.normal(size=60)
    return run_hpo_study(config, *sets, ExperimentOrganizer(config))


def test_a_study_stops_when_its_time_is_over_and_goes_on_with_more(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workdir)
    stopped = run(num_trials=60, timeout=1e-3)
    assert stopped.stopped_early == "the 0.001 s of hpo.timeout are over" and not stopped.best
    ended = run(num_trials=4, timeout=600.0)
    assert ended.stopped_early is None and len(ended.study.trials) == 4


def test_a_study_stops_after_so_many_trials_that_were_no_better(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workdir)
    start = [{"learning_rate": 1e-3, "batch_size": 32}]
    found = run(num_trials=60, patience=3, start=start, sampler="gp")
    best = found.best[0].number
    assert found.stopped_early == "the last 3 trials were no better (hpo.patience=3)"
    assert len(found.study.trials) - 1 - best >= 3 and len(found.study.trials) < 60
    assert found.study.trials[0].params == {"model.learning_rate": 1e-3, "training.batch_size": 32}
    assert open_storage(None, workdir)[0].get_all_studies()
