"""The callback in somebody else's Hydra app: one run a job, a parent run a sweep, and the truth about each."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import REPOSITORY, in_ci, python

LOGGING = str(REPOSITORY / "tests" / "apps" / "logging_app.py")
# What the job's run has of each way to call MLflow, in `logging_app.py`, beside its result.
WAYS = {
    "plain": {"m"},
    "block": {"m", "after"},
    "named": {"m"},
    "twice": {"m0", "m1"},
    "ended": {"m", "after"},
    "nested": set(),
    "left_open": set(),
    "threads": {"m", "pooled"},
    "experiment": {"m"},
    "scikit": {"training_score"},
    "models": {"rsquared"},
    "lightning": {"m", "tested"},
}
APP = str(REPOSITORY / "tests" / "apps" / "plain_app.py")


def test_a_single_job_gets_one_run_with_params_result_and_its_own_metrics(workdir: Path) -> None:
    done = python(workdir, APP, "x=2")
    assert done.status == 0, done.err
    run = done.run
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "x": "2",
        "optimizer.name": "none",
        "optimizer.never_needed": "${oc.env:NOT_SET_ANYWHERE}",
        "optimizer.secret_uri": "http://***@host/",
    }
    assert run.data.metrics == {"objective": 4.0, "own_metric": 4.0}
    assert run.data.tags["team"] == "research" and run.data.tags["run.kind"] == "training"
    assert done.client.get_experiment(run.info.experiment_id).name == "plain"
    assert (done.artifacts() / "config" / "overrides.yaml").read_text() == "- x=2\n"
    assert (done.artifacts() / "environment" / "requirements.txt").is_file()


def test_a_failing_job_is_failed_with_its_error(workdir: Path) -> None:
    done = python(workdir, APP, "x=3")
    assert done.status == 1
    assert "x=3 is more than this app can take" in done.err
    assert done.run.info.status == "FAILED"
    assert done.run.data.tags["error"] == "ValueError: x=3 is more than this app can take"
    assert "plain_app.py" in (done.artifacts() / "error" / "traceback.txt").read_text()


def test_a_sweep_has_a_parent_and_a_child_for_each_job(workdir: Path) -> None:
    done = python(workdir, APP, "--multirun", "x=1,2,3")
    assert done.status == 1
    parent, *children = done.runs()
    assert parent.data.tags["run.kind"] == "sweep" and parent.info.status == "FAILED"
    assert [child.info.run_name for child in children] == ["trial-0000", "trial-0001", "trial-0002"]
    assert [child.info.status for child in children] == ["FINISHED", "FINISHED", "FAILED"]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert [child.data.metrics.get("objective") for child in children] == [1.0, 4.0, None]


@in_ci
def test_the_jobs_of_a_sweep_within_a_job_have_a_parent_of_their_own(workdir: Path) -> None:
    done = python(workdir, LOGGING, "--multirun", "optimizer.name=sweep_within,plain")
    assert done.status == 0, done.err
    outer, first, inner, *within, last = done.runs()
    assert [run.data.tags["run.kind"] for run in (outer, inner)] == ["sweep", "sweep"]
    assert {run.data.tags["mlflow.parentRunId"] for run in (first, last)} == {outer.info.run_id}
    assert {run.data.tags["mlflow.parentRunId"] for run in within} == {inner.info.run_id}
    assert "mlflow.parentRunId" not in inner.data.tags
    assert [set(run.data.metrics) - {"objective"} for run in (first, *within, last)] == [
        {"m", "after"},
        {"m"},
        {"m", "after"},
        {"m"},
    ]


def test_a_store_that_cannot_be_used_ends_the_app_instead_of_running_it_untracked(tmp_path: Path) -> None:
    done = python(tmp_path, APP, env={"MLFLOW_TRACKING_URI": "sqlite:////nowhere/x.db"})
    assert done.status == 1
    assert "Error: tracking.uri=sqlite:////nowhere/x.db" in done.err and "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("launcher", ["basic", *(pytest.param(name, marks=in_ci) for name in ("stacked", "joblib"))])
def test_however_an_app_calls_mlflow_it_lands_in_the_run_of_its_job(workdir: Path, launcher: str) -> None:
    ways = ",".join(WAYS if launcher == "basic" else ["plain", "block", "named", "nested", "threads"])
    more = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    done = python(workdir, LOGGING, "--multirun", f"hydra/launcher={launcher}", *more, f"optimizer.name={ways}")
    assert done.status == 0, done.err
    runs = {run.info.run_id: run for run in done.runs()}
    found = {run.data.params["optimizer.name"]: run for run in runs.values() if "optimizer.name" in run.data.params}
    assert list(found) == ways.split(",") or launcher == "joblib"
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {run.info.experiment_id for run in runs.values()} == {found["plain"].info.experiment_id}
    for way, run in found.items():
        assert WAYS[way] | {"objective"} <= set(run.data.metrics), way
        assert "training_score" in run.data.metrics or len(run.data.metrics) <= len(WAYS[way]) + 1 or way == "models"
    children = [run.data.tags["mlflow.parentRunId"] for run in runs.values() if run.info.run_name == "child"]
    assert children == [found[way].info.run_id for way in ("nested", "left_open") if way in found]
    assert (found["named"].info.run_name, found["named"].data.tags["t"]) == ("mine", "1")
    assert (done.artifacts(found["plain"]) / "own.txt").read_text() == "text"
    (sweep,) = (run_id for run_id, run in runs.items() if run.data.tags.get("run.kind") == "sweep")
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {sweep}
    names = [run.info.run_name for way, run in found.items() if way != "named"]
    assert len(set(names)) == len(names) and set(names) <= {f"trial-{number:04d}" for number in range(len(found))}
    assert len(runs) == 1 + len(found) + len(children)  # the sweep, a run a job, and the nested ones
    if launcher == "basic":
        assert "The experiment mine, which the program asks MLflow for, is not followed" in done.out
        (model,) = done.client.search_logged_models([found["models"].info.experiment_id])
        assert model.source_run_id == found["models"].info.run_id


def test_a_job_that_fails_within_its_own_block_is_failed_and_so_is_one_that_would_write_to_a_second_store(
    workdir: Path,
) -> None:
    done = python(workdir, LOGGING, "--multirun", "optimizer.name=failing,second_start,other_store")
    assert done.status == 1
    found = [(run.info.status, run.data.tags["error"]) for run in done.runs()[1:]]
    assert [status for status, _ in found] == ["FAILED"] * 3
    assert found[0][1] == "ValueError: x=1 is more than this app can take"
    assert "is already active" in found[1][1]
    assert found[2][1].startswith("TrackingError: The program gives MLflow the address sqlite:///other.db")
    assert not (workdir / "other.db").exists()


@pytest.mark.parametrize("more", [[], ["~hydra.callbacks.tracking"]], ids=["tracked", "untracked"])
def test_the_study_sweeper_says_whose_it_is(tmp_path: Path, more: list[str]) -> None:
    done = python(tmp_path, APP, "--multirun", "hydra/sweeper=study", "x=1,2", *more)
    assert done.status == 1
    assert "Error: hydra/sweeper=study is tradingbot_exp's" in done.err and "Traceback" not in done.err
    assert "the app plain has no data, model, training and hpo" in done.err
    assert list(tmp_path.iterdir()) == []
