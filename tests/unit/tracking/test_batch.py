"""Runs recorded as one batch: nothing is written twice, nothing is lost to a kill, and the journal goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tradingbot_exp.tracking.batch import JOURNALS, RunBatch, current_batch, run_batch, send_journals
from tradingbot_exp.tracking.delivery import UNSENT_DIR, Delivery
from tradingbot_exp.tracking.process import identity
from tradingbot_exp.tracking.run import TrackedRun


@pytest.fixture
def client(workdir: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")


def open_run(client: MlflowClient, folder: Path) -> TrackedRun:
    run_id = client.create_run("0").info.run_id
    return TrackedRun(Delivery.attach(client, run_id, folder / UNSENT_DIR, "sqlite:///mlflow.db"), "run")


def journal(folder: Path) -> list[dict[str, dict[str, object]]]:
    (file,) = folder.glob(JOURNALS)
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_batch_writes_down_what_mlflow_does_not_have_yet_and_sends_it_at_once(
    workdir: Path, client: MlflowClient
) -> None:
    run = open_run(client, workdir)
    with run_batch(workdir) as batch:
        assert current_batch() is batch
        batch.add(run)
        run.log_batch({"lr": 0.1}, {"engine": "stacked"})
        run.log_metrics({"val_loss": 2.0}, 1)
        batch.note()
        run.log_metrics({"val_loss": 1.0}, 2)
        batch.note()
        run.log_metrics({"seed_43/val_loss": 3.0}, 1)  # a second seed begins with the first epoch again
        batch.note()
        batch.note()
        assert not client.get_run(run.run_id).data.metrics
        owner, *lines = journal(workdir)
        assert owner == {"owner": identity()}
        contents = [line[run.run_id] for line in lines]
        assert contents[0]["params"] == {"lr": "0.1"} and contents[0]["tags"] == {"engine": "stacked"}
        assert [[point[0] for point in each["metrics"]] for each in contents] == [  # type: ignore[attr-defined, union-attr]
            ["val_loss"],
            ["val_loss"],
            ["seed_43/val_loss"],
        ]
        run.end("FINISHED")
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED" and found.data.params == {"lr": "0.1"}
    assert [point.step for point in client.get_metric_history(run.run_id, "val_loss")] == [1, 2]
    assert not list(workdir.glob(JOURNALS)) and current_batch() is None


def test_what_a_dead_process_wrote_down_is_sent_once_and_what_a_living_one_did_is_left(
    workdir: Path, client: MlflowClient
) -> None:
    run, ended = open_run(client, workdir), open_run(client, workdir)
    client.set_terminated(ended.run_id)
    batch = RunBatch(workdir)
    for each in (run, ended):
        batch.add(each)
        each.log_batch({"lr": 0.1}, {})
    for epoch in (1, 2):
        for each in (run, ended):
            each.log_metrics({"val_loss": 1.0 / epoch}, epoch)
        batch.note()
    (file,) = workdir.glob(JOURNALS)
    send_journals(workdir, client)
    assert file.exists() and not client.get_run(run.run_id).data.metrics
    text = file.read_text().replace(f'"process.pid": "{identity()["process.pid"]}"', '"process.pid": "999999999"')
    for _ in range(2):  # a kill may come between sending and removing
        file.write_text(text + '{"cut off')
        send_journals(workdir, client)
        assert not file.exists()
    points = client.get_metric_history(run.run_id, "val_loss")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (2, 0.5)]
    assert client.get_run(run.run_id).data.params == {"lr": "0.1"}
    assert not client.get_run(ended.run_id).data.metrics
