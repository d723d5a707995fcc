"""The callback in somebody else's Hydra app: one run a job, a parent run a sweep, and the truth about each."""

from __future__ import annotations

from pathlib import Path

from support import REPOSITORY, in_ci, python

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
def test_joblib_workers_give_the_same_parent_and_children(workdir: Path) -> None:
    done = python(workdir, APP, "--multirun", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "x=1,2")
    assert done.status == 0, done.err
    parent, *children = done.runs()
    assert parent.info.status == "FINISHED"
    assert sorted(child.info.run_name for child in children) == ["trial-0000", "trial-0001"]
    assert {child.info.status for child in children} == {"FINISHED"}
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}


def test_a_store_that_cannot_be_used_ends_the_app_instead_of_running_it_untracked(tmp_path: Path) -> None:
    done = python(tmp_path, APP, env={"MLFLOW_TRACKING_URI": "sqlite:////nowhere/x.db"})
    assert done.status == 1
    assert "Error: tracking.uri=sqlite:////nowhere/x.db" in done.err and "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []
