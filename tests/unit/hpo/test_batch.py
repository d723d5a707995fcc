"""A batch of trials: many, where they can be trained as stacks, and else one; and each is ended by its own outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from mlflow import MlflowClient
from test_results import config, runner_of

from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.registries import EPOCH_HOOKS
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import ConfigError, Refusal
from tradingbot_exp.experiment.job import _warn_once, build
from tradingbot_exp.hpo.batch import Observer, batch_width
from tradingbot_exp.hpo.runner import Runner
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.trial_spec import TrialSpec

__all__ = ["config"]  # a fixture

NOWHERE: Any = None  # a run that nothing is written into
RATE = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


@pytest.mark.parametrize(
    ("overrides", "space", "width", "reason"),
    [
        ([], RATE, 8, ""),
        ([], {**RATE, "weight_decay": [0.0, 0.1], "dropout": [0.0, 0.1, 0.2], "gradient_clip": [1.0, 2.0, 3.0]}, 8, ""),
        ([], {**RATE, "batch_size": [16, 32, 64]}, 8, ""),
        (["model=linear"], RATE, 8, ""),
        (["training.optimizer=SGD", "training.momentum=0.9"], RATE, 8, ""),
        (["training.optimizer=SGD"], {**RATE, "momentum": {"low": 0.0, "high": 0.9}}, 1, "any number of kinds"),
        ([], {**RATE, "batch_size": [16, 32, 64], "optimizer": ["Adam", "SGD"]}, 1, "6 kinds of networks and batches"),
        ([], {**RATE, "batch_size": [16, 32, 64], "optimizer": ["Adam", "SGD"]}, 12, ""),
        ([], {**RATE, "model.options.x": {"low": 0.0, "high": 1.0}}, 1, "any number of kinds"),
        (["model=lstm", "data.sequence_length=20"], RATE, 8, ""),
        (["model=gru"], {**RATE, "hidden_layers": [[8], [16], [8, 8]]}, 8, ""),
        (["model=tcn", "data.sequence_length=20"], RATE, 8, ""),
        (["model=transformer", "data.sequence_length=20"], RATE, 8, ""),
        (
            ["model=lstm", "data.sequence_length=20", "model.hidden_layers=[128]"],
            *(RATE, 1, "model=lstm: with batches of 32 rows, training several models at once would be no faster"),
        ),
        (["training.optimizer=RMSprop"], RATE, 1, "training.optimizer=RMSprop is none of Adam, AdamW, SGD"),
        (["evaluation.scheme=walk_forward"], RATE, 8, ""),
    ],
)
def test_a_batch_is_asked_for_only_where_it_is_trained_as_a_stack(
    overrides: list[str], space: dict[str, Any], width: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config = compose_config(["data=synthetic", "hpo.num_trials=48", *overrides])
    assert batch_width(config, SearchSpace.parse(space), NOWHERE, max(width, 8)) == width
    assert reason in caplog.text and ("one by one" in caplog.text) == bool(reason)


@pytest.mark.parametrize(
    ("overrides", "width"),
    [
        (["hpo.num_trials=4"], 5),
        (["hpo.num_trials=10"], 5),
        (["hpo.num_trials=50"], 12),
        (["hpo.num_trials=96"], 24),
        (["hpo.num_trials=960"], 24),
        (["hpo.sampler=random"], 24),
        (["hpo=grid"], 24),
    ],
)
def test_a_study_has_batches_to_learn_from_unless_its_sampler_does_not_learn(overrides: list[str], width: int) -> None:
    config = compose_config(["data=synthetic", *overrides])
    assert batch_width(config, SearchSpace.parse(config.hpo.param_space), NOWHERE, 24) == width
    assert batch_width(config, SearchSpace.parse(RATE), NOWHERE, 1) == 1


def test_what_all_trials_have_in_common_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    _warn_once.cache_clear()
    for rate in (0.1, 0.01):
        build(compose_config(["data=synthetic", "model=lstm", f"model.learning_rate={rate}"]), NOWHERE)
    assert caplog.text.count("data.sequence_length=20") == 1


def outcomes(runner: Runner) -> list[tuple[str, str, str]]:
    """Of each trial that was begun its state in Optuna, and in MLflow that and its run's status."""
    client = MlflowClient(runner.organizer.config.tracking.uri)
    trials = [trial for trial in runner.study.optuna.trials if trial.state.name != "WAITING"]
    runs = [client.get_run(trial.user_attrs["run_id"]) for trial in trials]
    return [
        (trial.state.name, run.data.tags["trial.state"], run.info.status)
        for trial, run in zip(trials, runs, strict=True)
    ]


@pytest.mark.parametrize("failure", [Refusal(ConfigError("odd")), OSError("odd"), KeyboardInterrupt()])
def test_what_happens_while_one_trial_is_ended_costs_no_other_its_result(
    config: Config, failure: BaseException
) -> None:
    class Failing(Observer):
        def end(self, spec: TrialSpec, outcome: Any) -> None:
            if spec.number == 0:
                raise failure

    config.hpo.n_jobs, config.hpo.param_space = 3, RATE
    runner = runner_of(config)
    with pytest.raises(type(failure)) as caught:
        runner.run(lambda run: None, lambda specs: runner.run_here(specs, Failing()))
    assert caught.value is failure
    assert outcomes(runner) == [("COMPLETE", "complete", "FINISHED")] * 3


def test_a_trial_that_failed_before_its_batch_is_interrupted_has_failed(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(EPOCH_HOOKS, "interrupt", interrupt)
    config.hpo.n_jobs, config.hpo.param_space = 3, RATE
    runner = runner_of(config)

    def launch(specs: Sequence[TrialSpec]) -> list[Any]:
        odd = replace(specs[0], values={**specs[0].values, "model.dropout": 1.5})
        return runner.run_here([odd, *specs[1:]])

    with pytest.raises(KeyboardInterrupt):
        runner.run(lambda run: None, launch)
    interrupted = ("FAIL", "interrupted", "KILLED")
    assert outcomes(runner) == [("FAIL", "failed", "FAILED"), interrupted, interrupted]
