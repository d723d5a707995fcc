"""The run that plain MLflow calls find: in this thread and others, one within another, and nothing of it afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.tracking import fluent

from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.writing.active import mlflow_active
from tradingbot_exp.tracking.writing.checkpoints import resume_command
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
from tradingbot_exp.tracking.writing.outbox.unsent import send_command


@pytest.fixture
def organizer(workdir: Path) -> ExperimentOrganizer:
    return named(workdir, "raise")


def named(folder: Path, on_error: str, uri: str = "") -> ExperimentOrganizer:
    names = SimpleNamespace(name="e", run_name="r", description=None, tags={})
    tracking = SimpleNamespace(uri=uri or f"sqlite:///{folder / 'mlflow.db'}", on_error=on_error)
    return ExperimentOrganizer(SimpleNamespace(experiment=names, tracking=tracking))  # type: ignore[arg-type]


def state() -> list[Any]:
    where = [mlflow.is_tracking_uri_set(), mlflow.get_tracking_uri(), fluent._active_experiment_id]
    functions = [getattr(module, name) for module in (mlflow, fluent) for name in ("start_run", "end_run")]
    return [mlflow.active_run(), *where, *functions, mlflow.set_experiment, mlflow.set_tracking_uri]


@pytest.fixture(autouse=True)
def nothing_is_left(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(workdir)
    before = state()
    yield
    assert state() == before


def metrics(organizer: ExperimentOrganizer, run_id: str) -> dict[str, float]:
    return dict(MlflowClient(organizer.config.tracking.uri).get_run(run_id).data.metrics)


def test_what_was_set_before_is_set_again_whatever_happens_within(
    organizer: ExperimentOrganizer, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db")
    before = state()
    with suppress(KeyError), organizer.start_run() as run, mlflow.start_run():
        mlflow.log_metric("m", 1.0)
        raise KeyError
    assert state() == before and mlflow.get_tracking_uri() == "sqlite:///mine.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert metrics(organizer, run.run_id) == {"m": 1.0} and run.info.status == "FAILED"


def test_a_command_that_is_named_within_a_run_is_one_for_a_shell_without(
    organizer: ExperimentOrganizer, workdir: Path
) -> None:
    other = named(workdir, "raise", f"sqlite:///{workdir / 'other.db'}")
    for within, flag, key in ((organizer, "", ""), (other, " --tracking-uri ", " tracking.uri=")):
        uri = within.config.tracking.uri
        with within.start_run():
            found = send_command(uri), resume_command("a" * 32, uri)
        assert found == (send_command(uri), resume_command("a" * 32, uri))
        assert found[0].endswith(f"doctor --fix{flag}{uri if flag else ''}")
        assert found[1].endswith(f"training.resume={'a' * 12}{key}{uri if key else ''}")


def test_of_runs_within_one_another_each_call_finds_the_innermost(organizer: ExperimentOrganizer) -> None:
    with organizer.start_run() as outer:
        with organizer.start_run(parent=outer.run_id) as inner:
            with mlflow.start_run() as taken:
                mlflow.log_metric("inner", 1.0)
            assert taken.info.run_id == inner.run_id
        assert mlflow.active_run().info.run_id == outer.run_id
        mlflow.end_run()
        with mlflow.start_run() as again:
            mlflow.log_metric("outer", 2.0)
        assert again.info.run_id == outer.run_id and outer.info.status == "RUNNING"
    assert metrics(organizer, inner.run_id) == {"inner": 1.0} and metrics(organizer, outer.run_id) == {"outer": 2.0}
    assert outer.info.status == inner.info.status == "FINISHED"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_runs_that_are_open_at_once_end_in_any_order(organizer: ExperimentOrganizer, order: tuple[int, ...]) -> None:
    runs = [organizer.open_run() for _ in range(3)]
    actives = [mlflow_active(run, organizer.config.tracking.uri) for run in runs]
    for active in actives:
        active.__enter__()
    left = list(range(3))
    for number in order:
        with mlflow.start_run():
            mlflow.log_metric(f"before {number}", 1.0)
        assert number in left and mlflow.active_run().info.run_id == runs[left[-1]].run_id
        actives[number].__exit__(None, None, None)
        organizer.close_run(runs[number])
        left.remove(number)
    logged = [name for run in runs for name in metrics(organizer, run.run_id)]
    assert sorted(logged) == ["before 0", "before 1", "before 2"]
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_thread_that_outlives_a_run_logs_to_the_one_that_is_open_then(organizer: ExperimentOrganizer) -> None:
    with ThreadPoolExecutor(1) as pool:
        for value in (1.0, 2.0):
            with organizer.start_run() as run:
                pool.submit(mlflow.log_metric, "m", value).result()
                assert pool.submit(mlflow.active_run).result().info.run_id == run.run_id
                with ThreadPoolExecutor(1) as fresh:  # where MLflow knows no run yet
                    child = fresh.submit(mlflow.start_run, nested=True).result()
                    fresh.submit(mlflow.end_run).result()
                assert child.data.tags["mlflow.parentRunId"] == run.run_id
            assert metrics(organizer, run.run_id) == {"m": value}
            assert pool.submit(mlflow.active_run).result() is None


@pytest.mark.parametrize("way", ["uri", "path", "imported"])
def test_a_second_store_is_refused_and_the_same_one_is_not(
    organizer: ExperimentOrganizer, workdir: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    set_before = mlflow.set_tracking_uri  # as `from mlflow import set_tracking_uri` has it
    with organizer.start_run() as run:
        mlflow.set_tracking_uri("sqlite:///mlflow.db")
        own = mlflow.get_tracking_uri()
        if way == "imported":
            set_before("sqlite:///other.db")
        with pytest.raises(TrackingError, match=r"other.* nothing is written to a second store"):
            {
                "uri": lambda: mlflow.set_tracking_uri("sqlite:///other.db"),
                "path": lambda: mlflow.set_tracking_uri(workdir / "other"),
                "imported": lambda: mlflow.start_run(nested=True),
            }[way]()
        set_before(own)
        mlflow.log_metric("m", 1.0)
    assert metrics(organizer, run.run_id) == {"m": 1.0}
    assert not list(workdir.glob("other*"))


def test_what_was_imported_within_a_run_works_in_the_next_one_and_after_it(organizer: ExperimentOrganizer) -> None:
    with organizer.start_run():
        from mlflow import end_run, start_run
    with organizer.start_run() as second:
        with start_run() as taken:
            assert taken.info.run_id == second.run_id
        start_run(log_system_metrics=True)
        assert second.run_id in fluent.run_id_to_system_metrics_monitor
    assert second.run_id not in fluent.run_id_to_system_metrics_monitor
    mlflow.set_tracking_uri(organizer.config.tracking.uri)
    try:
        own = start_run()
        end_run()
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    assert own.info.run_id != second.run_id and own.info.experiment_id == "0"


def test_another_experiment_is_said_and_not_made(
    organizer: ExperimentOrganizer, caplog: pytest.LogCaptureFixture
) -> None:
    with organizer.start_run() as run, caplog.at_level(logging.WARNING):
        own = run.info.experiment_id
        assert mlflow.set_experiment("e").experiment_id == mlflow.set_experiment(experiment_id=own).experiment_id == own
        assert caplog.text == ""
        assert mlflow.set_experiment("another").experiment_id == own
        assert "The experiment another, which the program asks MLflow for, is not followed" in caplog.text
        with mlflow.start_run(nested=True) as child:
            assert child.info.experiment_id == own
    assert MlflowClient(organizer.config.tracking.uri).get_experiment_by_name("another") is None


def test_without_its_run_in_mlflow_nothing_is_logged_elsewhere(workdir: Path, free_port: int) -> None:
    organizer = named(workdir, "offline", f"http://127.0.0.1:{free_port}")
    organizer.connect = lambda: (_ for _ in ()).throw(ConnectionError("nobody there"))  # type: ignore[method-assign]
    before = sorted(workdir.rglob("*"))
    with organizer.start_run(), pytest.raises(TrackingError, match=r"r is not in MLflow \(nobody there\)"):
        mlflow.log_metric("m", 1.0)
    assert [each for each in sorted(workdir.rglob("*")) if each not in before and ".tradingbot" not in str(each)] == []
