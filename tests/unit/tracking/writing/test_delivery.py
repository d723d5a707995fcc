"""Records that wait on disk are sent in order, once, also when sending is interrupted and repeated."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from support import artifact_folder

from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.store.client import open_client, open_experiment
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.writing.outbox import unsent
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.outbox.send import Record, send
from tradingbot_exp.tracking.writing.outbox.unsent import send_unsent, unsent_runs
from tradingbot_exp.tracking.writing.run import TrackedRun


def _offline_run(folder: Path) -> TrackedRun:
    def connect() -> Any:
        raise ConnectionError("nobody there")

    creation = {"name": "r", "experiment": "e", "start_time": 1000, "tags": {"k": "v"}, "uri": "http://x"}
    run = TrackedRun(Delivery(connect, creation, folder / ".tradingbot" / "unsent", "offline"), "r")
    run.log_metrics({"m": 1.0}, 1)
    run.flush()
    run.log_metrics({"m": 2.0}, 2)
    run.log_params({"p": 1})
    run.log_text("hello", "notes/hello.txt")
    run.end("FINISHED")
    return run


def test_a_store_that_cannot_be_written_is_given_as_the_reason(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workdir)  # MLflow makes a folder called "file:" where it is
    client = MlflowClient(f"sqlite:///file:{workdir / 'mlflow.db'}?mode=ro&uri=true")
    with pytest.raises(TrackingError, match=r"^Not recorded: .*readonly database"), wrapped("Not recorded"):
        client.create_run("0")


def test_records_of_a_run_that_is_still_going_on_are_not_sent_away_under_it(workdir: Path) -> None:
    uri = f"sqlite:///{workdir / 'mlflow.db'}"

    def connect() -> Any:
        raise ConnectionError("nobody there")

    creation = {"name": "r", "experiment": "e", "start_time": 1000, "tags": {}, "uri": uri}
    run = TrackedRun(Delivery(connect, creation, workdir / ".tradingbot" / "unsent", "offline"), "r")
    run.set_tags({"a": 1})
    with pytest.raises(TrackingError, match="still going on"):
        _send_all(workdir, uri)
    run.set_tags({"b": 2})
    run.end("FINISHED")
    _send_all(workdir, uri)
    client = MlflowClient(uri)
    (sent,) = client.search_runs(["1"])
    assert (sent.data.tags["a"], sent.data.tags["b"], sent.info.status) == ("1", "2", "FINISHED")


def _send_all(folder: Path, uri: str) -> None:
    client = open_client(uri)
    for waiting in unsent_runs(folder):
        send_unsent(waiting, client, lambda name: open_experiment(client, uri, name))


@pytest.mark.parametrize("interrupted_at", [None, 0, 1, 2, 3, 4])
def test_sending_again_after_an_interruption_neither_loses_nor_doubles(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, interrupted_at: int | None
) -> None:
    uri = f"sqlite:///{workdir / 'mlflow.db'}"
    _offline_run(workdir)
    if interrupted_at is not None:
        sent = iter(range(100))
        real = unsent.send

        def stops(*arguments: Any) -> None:
            if next(sent) == interrupted_at:
                raise KeyboardInterrupt
            real(*arguments)

        monkeypatch.setattr(unsent, "send", stops)
        with pytest.raises(KeyboardInterrupt):
            _send_all(workdir, uri)
        monkeypatch.setattr(unsent, "send", real)
        assert len(unsent_runs(workdir)) == 1
    _send_all(workdir, uri)
    assert unsent_runs(workdir) == []
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("e")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.info.start_time == 1000
    assert [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "m")] == [(1, 1), (2, 2)]
    assert run.data.params == {"p": "1"} and run.data.tags["k"] == "v"
    assert (artifact_folder(run) / "notes" / "hello.txt").read_text() == "hello"


def test_a_record_cut_off_in_writing_does_not_stop_the_others(workdir: Path) -> None:
    run = _offline_run(workdir)
    with (run.delivery.unsent_folder / "records.jsonl").open("a") as journal:
        journal.write('{"kind": "batch", "tags": {"x')
    uri = f"sqlite:///{workdir / 'mlflow.db'}"
    _send_all(workdir, uri)
    assert unsent_runs(workdir) == []


def test_before_training_a_failure_is_raised_and_afterwards_kept(workdir: Path) -> None:
    uri = f"sqlite:///{workdir / 'mlflow.db'}"
    client = open_client(uri)
    experiment = open_experiment(client, uri, "e")
    creation = {"name": "r", "experiment": "e", "start_time": 1, "tags": {}, "uri": uri}
    run = TrackedRun(Delivery(lambda: (client, experiment), creation, workdir / ".tradingbot" / "unsent", "raise"), "r")
    client.delete_run(run.run_id)  # a deleted run takes no more records
    with pytest.raises(TrackingError, match="cannot be recorded"):
        run.set_tags({"a": 1})
    assert unsent_runs(workdir) == []
    run.delivery.training_started()
    run.set_tags({"a": 2})
    run.set_tags({"b": 3})
    run.end("FINISHED")
    (waiting,) = unsent_runs(workdir)
    assert unsent.must_fail(waiting)
    client.restore_run(run.run_id)
    _send_all(workdir, uri)
    found = client.get_run(run.run_id)
    assert (found.data.tags["a"], found.data.tags["b"], found.info.status) == ("2", "3", "FINISHED")


def test_processes_that_log_the_same_data_at_the_same_moment_do_not_stop_each_other(workdir: Path) -> None:
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    dataset = {"name": "d", "source_type": "local", "source": "{}", "schema": "{}", "profile": "{}"}
    runs = [client.create_run("0").info.run_id for _ in range(8)]
    for number in range(5):
        record = Record("input", {"dataset": {**dataset, "digest": f"{number}"}, "context": "training"})
        together = threading.Barrier(len(runs))

        def log(run_id: str, record: Record = record, together: threading.Barrier = together) -> None:
            together.wait()
            send(client, run_id, record)

        with ThreadPoolExecutor(len(runs)) as pool:
            list(pool.map(log, runs))
    assert {len(client.get_run(run_id).inputs.dataset_inputs) for run_id in runs} == {5}
