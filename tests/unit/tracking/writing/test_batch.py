"""Runs recorded as one batch: nothing is written twice, nothing is lost to a kill, and the journal goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tradingbot_exp.cli import main as cli
from tradingbot_exp.runtime.process import identity
from tradingbot_exp.tracking.writing.batch import JOURNALS, RunBatch, current_batch, run_batch, send_journals
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.run import TrackedRun


@pytest.fixture
def client(workdir: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")


def open_run(client: MlflowClient, folder: Path) -> TrackedRun:
    run_id = client.create_run("0").info.run_id
    return TrackedRun(Delivery.attach(client, run_id, folder / ".tradingbot" / "unsent", "sqlite:///mlflow.db"), "run")


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


def left_behind(client: MlflowClient, folder: Path) -> tuple[str, Path]:
    """Leave a run of one epoch that a killed process had written down but not sent; give its id and the journal."""
    folder.mkdir(parents=True, exist_ok=True)
    run, batch = open_run(client, folder), RunBatch(folder)
    for name, text in {**identity(), "process.pid": "999999999"}.items():
        client.set_tag(run.run_id, name, text)
    batch.add(run)
    run.log_batch({"lr": 0.1}, {"trial.state": "running", "engine": "stacked"})
    run.log_metrics({"val_loss": 1.0}, 1)
    batch.note()
    (file,) = folder.glob(JOURNALS)
    mine = f'"process.pid": "{identity()["process.pid"]}"'
    file.write_text(file.read_text().replace(mine, '"process.pid": "999999999"'))
    return run.run_id, file


def test_a_run_closed_as_killed_before_its_epochs_were_sent_gets_them_and_keeps_its_tags(
    workdir: Path, client: MlflowClient
) -> None:
    run_id, file = left_behind(client, workdir)
    client.set_tag(run_id, "trial.state", "interrupted")
    client.set_terminated(run_id, "KILLED")
    assert send_journals(workdir, client) == 1
    run = client.get_run(run_id)
    assert run.info.status == "KILLED" and run.data.metrics == {"val_loss": 1.0} and run.data.params == {"lr": "0.1"}
    assert run.data.tags["trial.state"] == "interrupted" and run.data.tags["engine"] == "stacked"
    assert not file.exists()


def test_a_journal_that_another_process_begins_or_removes_meanwhile_is_passed_over(
    workdir: Path, client: MlflowClient
) -> None:
    begun = workdir / JOURNALS.replace("*", "begun")
    begun.touch()
    (workdir / JOURNALS.replace("*", "removed")).symlink_to(workdir / "nowhere")  # listed, and not there to be read
    assert send_journals(workdir, client) == 0
    assert begun.exists()


def test_doctor_sends_the_epochs_of_a_killed_study_before_it_closes_the_runs(
    workdir: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workdir)
    run_id, file = left_behind(client, workdir / "multirun" / "study")
    assert cli.run(["doctor"]) == 1
    said = capsys.readouterr().out
    assert f"epochs of killed trials are waiting in {file}; send them with: doctor --fix" in said
    assert "No records are waiting" not in said and file.exists()
    assert cli.run(["doctor", "--fix"]) == 0
    assert f"The last epochs of 1 trials, left in {file.parent}, are sent." in " ".join(capsys.readouterr().out.split())
    run = client.get_run(run_id)
    assert run.info.status == "KILLED" and run.data.metrics == {"val_loss": 1.0}
