"""What a restarted study does with trials that were under way: import results, close and retry, or leave alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient
from support import in_ci
from test_arrays import arrays, config  # noqa: F401 - the fixture

from tradingbot_exp import ExperimentOrganizer, run_hpo_study
from tradingbot_exp.config.schema import Config
from tradingbot_exp.hpo.study import StudyResult
from tradingbot_exp.hpo.trials import MAX_DEATHS
from tradingbot_exp.runtime import process
from tradingbot_exp.runtime.process import identity, is_alive
from tradingbot_exp.tracking.run_names import result_tags
from tradingbot_exp.tracking.writing.outbox.send import now_ms

DEAD = {**identity(), "process.pid": "999999999"}


@pytest.fixture
def other_process() -> Iterator[dict[str, str]]:
    """A living process that is not this one."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield identity(sleeper.pid)
    sleeper.kill()
    sleeper.wait()


def stale_trial(config: Config, first: StudyResult, owner: dict[str, str], tags: dict[str, str]) -> str:  # noqa: F811
    """Leave a trial as a process that died would: RUNNING in Optuna, its child in MLflow with `tags`."""
    client = MlflowClient(config.tracking.uri)
    trial = first.study.ask()
    trial.set_user_attr("owner", owner)
    trial.suggest_categorical("model.learning_rate", [0.001, 0.01, 0.03])
    trial.suggest_categorical("training.batch_size", [16, 32])
    parent = client.get_run(first.parent_id)
    lineage = {"mlflow.parentRunId": first.parent_id, "run.kind": "trial", "trial.number": str(trial.number)}
    run = client.create_run(
        parent.info.experiment_id, now_ms(), {**lineage, "trial.state": "running", **owner, **tags}, "stale"
    )
    trial.set_user_attr("run_id", run.info.run_id)
    return str(run.info.run_id)


def test_a_result_that_mlflow_has_is_imported(config: Config) -> None:  # noqa: F811
    first = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    run_id = stale_trial(config, first, DEAD, result_tags("complete", [0.001]))
    client = MlflowClient(config.tracking.uri)
    client.set_terminated(run_id, "FINISHED")
    config.hpo.num_trials = 4
    second = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    assert len(second.study.trials) == 4
    assert second.best[0].user_attrs["run_id"] == run_id and second.best[0].value == 0.001
    assert client.get_run(first.parent_id).data.tags["best.run_id"] == run_id


def test_a_result_written_just_before_the_death_counts_too(config: Config) -> None:  # noqa: F811
    first = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    run_id = stale_trial(config, first, DEAD, result_tags("complete", [0.001]))
    config.hpo.num_trials = 4
    second = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    assert second.best[0].value == 0.001
    assert MlflowClient(config.tracking.uri).get_run(run_id).info.status == "FINISHED"


def test_a_trial_whose_process_died_is_killed_and_its_point_tried_again(config: Config) -> None:  # noqa: F811
    first = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    run_id = stale_trial(config, first, DEAD, {})
    config.hpo.num_trials = 4
    second = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    run = MlflowClient(config.tracking.uri).get_run(run_id)
    assert (run.info.status, run.data.tags["trial.state"]) == ("KILLED", "interrupted")
    *_, dead, again = second.study.trials
    assert dead.user_attrs["interrupted"] == "killed" and dead.params == again.params
    assert again.state.name == "COMPLETE"


def test_a_point_that_kills_its_process_each_time_is_given_up(config: Config) -> None:  # noqa: F811
    first = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    point = {"model.learning_rate": 0.03, "training.batch_size": 32}
    for _ in range(MAX_DEATHS):
        first.study.enqueue_trial(point)
        stale_trial(config, first, DEAD, {})
    config.hpo.num_trials = 4
    second = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    tries = [trial for trial in second.study.trials[3:] if trial.params == point]
    dead = [trial for trial in tries if trial.user_attrs.get("interrupted") == "killed"]
    assert len(dead) == MAX_DEATHS
    states = [trial.state.name for trial in second.study.trials if not trial.user_attrs.get("interrupted")]
    assert states.count("COMPLETE") == 4 and set(states) == {"COMPLETE", "WAITING"}
    # Each death but the last was followed by a retry, of which one was needed.
    assert states.count("WAITING") == MAX_DEATHS - 2


def test_a_run_that_was_left_open_by_a_trial_that_counts_is_closed_by_its_result(config: Config) -> None:  # noqa: F811
    first = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    run_id = stale_trial(config, first, DEAD, {})
    first.study.tell(len(first.study.trials) - 1, 0.5)  # and its process died with the rest in its journal
    config.hpo.num_trials = 4
    second = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    run = MlflowClient(config.tracking.uri).get_run(run_id)
    assert (run.info.status, run.data.tags["trial.state"], run.data.tags["trial.values"]) == (
        "FINISHED",
        "complete",
        "[0.5]",
    )
    assert len(second.study.trials) == 4


@in_ci
def test_a_trial_whose_worker_lives_is_left_alone(config: Config, other_process: dict[str, str]) -> None:  # noqa: F811
    first = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    run_id = stale_trial(config, first, other_process, {})
    config.hpo.num_trials = 4  # the living trial is the fourth: there is nothing left to ask for
    client = MlflowClient(config.tracking.uri)
    finisher = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from mlflow import MlflowClient; c = MlflowClient(sys.argv[1]); time.sleep(3);"
            "c.set_tag(sys.argv[2], 'trial.values', '[0.5]'); c.set_tag(sys.argv[2], 'trial.state', 'complete');"
            "c.set_terminated(sys.argv[2])",
            config.tracking.uri,
            run_id,
        ]
    )
    second = run_hpo_study(config, *arrays(), ExperimentOrganizer(config))
    finisher.wait()
    assert len(second.study.trials) == 4 and second.study.trials[3].value == 0.5
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_process_is_told_from_another_one_with_its_number_and_from_a_silent_host(
    other_process: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_alive(identity()) and is_alive(other_process) and not is_alive(DEAD)
    away = {**identity(), "process.host": "elsewhere"}
    assert not is_alive(away)
    monkeypatch.setattr(process.time, "time", lambda: 1000.0)
    assert is_alive({**away, "process.heartbeat": "950"}) and not is_alive({**away, "process.heartbeat": "500"})
