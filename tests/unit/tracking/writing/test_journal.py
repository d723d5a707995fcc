"""Every record is on this disk before MLflow gets it, and reaches it in order, once, whatever comes in between."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES
from support import artifact_folder, give_up

from tradingbot_exp.cli import main as cli
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.runtime.process import identity
from tradingbot_exp.tracking.run_names import result_tags
from tradingbot_exp.tracking.store import patience
from tradingbot_exp.tracking.store.client import open_client
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.store.patience import Client, Outage, own_request
from tradingbot_exp.tracking.writing.batch import current_batch, run_batch
from tradingbot_exp.tracking.writing.outbox import journal
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.outbox.send import Record, send
from tradingbot_exp.tracking.writing.outbox.unsent import must_fail, send_left_behind, send_unsent, unsent_runs
from tradingbot_exp.tracking.writing.run import TrackedRun

DEAD = {**identity(), "process.pid": "999999999"}


@pytest.fixture
def uri(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(workdir)
    return f"sqlite:///{workdir / 'mlflow.db'}"


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return open_client(uri)


def journals() -> list[Path]:
    return sorted(Path(".tradingbot/unsent").resolve().glob("*"))


def offline(uri: str) -> TrackedRun:
    def connect() -> Any:
        raise ConnectionError("nobody there")

    creation = {"name": "r", "experiment": "e", "start_time": 1000, "tags": {"k": "v"}, "uri": uri}
    return TrackedRun(Delivery.create(connect, creation, Path(".tradingbot/unsent").resolve(), "offline"), "r")


def attached(client: MlflowClient, run_id: str | None = None) -> TrackedRun:
    run_id = run_id or client.create_run("0", 1, {"k": "v"}, "r").info.run_id
    folder = Path(".tradingbot/unsent").resolve()
    return TrackedRun(Delivery.attach(client, run_id, folder, client.tracking_uri), "run")


def send_all(uri: str) -> None:
    client = open_client(uri)
    for folder in unsent_runs(Path.cwd()):
        send_unsent(folder, client)


def killed(run_id: str, uri: str, *records: dict[str, object], cut: str = "", owner: dict[str, str] = DEAD) -> Path:
    """The journal of a process that is gone."""
    folder = Path(".tradingbot/unsent").resolve() / f"{run_id}-1"
    folder.mkdir(parents=True)
    header = {"run_id": run_id, "uri": uri, "on_error": "raise", "owner": owner}
    (folder / "run.json").write_text(json.dumps(header))
    (folder / "records.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records) + cut)
    return folder


def batch(step: int, **tags: str) -> dict[str, object]:
    return {"kind": "batch", "metrics": [["val_loss", 1.0 / step, 1000 + step, step]], "params": {}, "tags": tags}


END = {"kind": "end", "status": "FINISHED", "time": 5000}


def steps(client: MlflowClient, run_id: str) -> list[int]:
    return [point.step for point in client.get_metric_history(run_id, "val_loss")]


def test_a_store_that_cannot_be_written_is_given_as_the_reason(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workdir)  # MLflow makes a folder called "file:" where it is
    client = MlflowClient(f"sqlite:///file:{workdir / 'mlflow.db'}?mode=ro&uri=true")
    with pytest.raises(TrackingError, match=r"^Not recorded: .*readonly database"), wrapped("Not recorded"):
        client.create_run("0")


def test_the_journal_of_a_living_process_is_left_alone(uri: str) -> None:
    run = offline(uri)
    run.set_tags({"a": 1})
    assert unsent_runs(Path.cwd()) == []
    with pytest.raises(TrackingError, match="still going on"):
        send_unsent(run.delivery.unsent_folder, open_client(uri))
    run.set_tags({"b": 2})
    run.end("FINISHED")
    send_all(uri)
    (sent,) = MlflowClient(uri).search_runs(["1"])
    assert (sent.data.tags["a"], sent.data.tags["b"], sent.info.status) == ("1", "2", "FINISHED")


@pytest.mark.parametrize("interrupted_at", [None, 0, 1, 2, 3])
def test_sending_again_after_an_interruption_neither_loses_nor_doubles(
    uri: str, monkeypatch: pytest.MonkeyPatch, interrupted_at: int | None
) -> None:
    run = offline(uri)
    run.log_metrics({"val_loss": 1.0}, 1)
    run.log_text("hello", "notes/hello.txt")
    run.log_metrics({"val_loss": 2.0}, 2)
    run.log_params({"p": 1})
    run.end("FINISHED")
    if interrupted_at is not None:
        count = iter(range(100))

        def stops(*arguments: Any) -> None:
            send(*arguments)  # and is killed before it could take note
            if next(count) == interrupted_at:
                raise KeyboardInterrupt

        monkeypatch.setattr(journal, "send", stops)
        with pytest.raises(KeyboardInterrupt):
            send_all(uri)
        monkeypatch.setattr(journal, "send", send)
        assert len(unsent_runs(Path.cwd())) == 1
    send_all(uri)
    assert journals() == []
    client = MlflowClient(uri)
    (sent,) = client.search_runs(["1"])
    assert sent.info.status == "FINISHED" and sent.info.start_time == 1000
    assert [(point.step, point.value) for point in client.get_metric_history(sent.info.run_id, "val_loss")] == [
        (1, 1.0),
        (2, 2.0),
    ]
    assert sent.data.params == {"p": "1"} and sent.data.tags["k"] == "v"
    assert (artifact_folder(sent) / "notes" / "hello.txt").read_text() == "hello"


def test_what_a_kill_left_is_sent_by_the_next_start_up_to_the_line_that_was_cut_off(
    uri: str, client: MlflowClient
) -> None:
    run_id = client.create_run("0").info.run_id
    killed(run_id, uri, batch(1, engine="stacked"), batch(2), cut='{"kind": "batch", "tags": {"x')
    other = killed(client.create_run("0").info.run_id, "sqlite:///elsewhere.db", batch(1))
    nothing_left = killed("0" * 32, uri)
    send_left_behind(client)
    assert journals() == [other] and not nothing_left.exists()
    assert steps(client, run_id) == [1, 2] and client.get_run(run_id).data.tags["engine"] == "stacked"


def _bytes(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _given_away(folder: Path) -> None:
    if os.geteuid() != 0:
        give_up("only root gives a folder to another user")
    os.chown(folder, os.geteuid() + 1, -1)


@pytest.mark.parametrize(
    "spoil",
    [
        _bytes("records.jsonl", b'\x80not ours\n{"kind": "end"}\n'),
        _bytes("records.jsonl", b'{"kind": "batch", "metrics": [["m", "1", 2, 3]]}\n'),
        _bytes("records.jsonl", b'{"kind": "delete"}\n'),
        _bytes("records.jsonl", b'{"kind": "artifact", "file": "files/../../../secret", "folder": ""}\n'),
        _bytes("run.json", b"[]"),
        _bytes("sent", b"all"),
        _given_away,
    ],
)
def test_a_journal_that_is_damaged_or_another_users_is_named_and_nothing_of_it_is_sent(
    uri: str, client: MlflowClient, spoil: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    run_id = client.create_run("0").info.run_id
    folder = killed(run_id, uri, batch(1), END)
    spoil(folder)
    before = sorted(folder.rglob("*"))
    send_left_behind(client)
    assert str(folder) in caplog.text
    with pytest.raises(TrackingError, match=str(folder)):
        send_unsent(folder, client)
    assert [each for each in sorted(folder.rglob("*")) if each.name != "in-use.lock"] == before
    assert client.get_run(run_id).info.status == "RUNNING" and not client.get_run(run_id).data.metrics
    assert cli.run(["doctor", "--fix"]) == 1


def test_a_trial_that_its_study_has_given_up_gets_what_it_had_done_and_stays_closed(
    uri: str, client: MlflowClient
) -> None:
    run_id = client.create_run("0", tags={"trial.state": "interrupted"}).info.run_id
    client.set_terminated(run_id, "KILLED")
    killed(run_id, uri, batch(1, engine="stacked"), batch(2, **result_tags("complete", [0.5])), END)
    send_left_behind(client)
    run = client.get_run(run_id)
    assert "trial.values" not in run.data.tags
    assert run.info.status == "KILLED" and run.data.tags["trial.state"] == "interrupted"
    assert steps(client, run_id) == [1, 2] and run.data.tags["engine"] == "stacked"


def test_what_was_left_of_a_run_that_another_process_has_gone_on_with_is_dropped(
    uri: str, client: MlflowClient
) -> None:
    run_id = client.create_run("0", tags={**identity(), "resumed.count": "1"}).info.run_id
    killed(run_id, uri, batch(1), END)
    send_left_behind(client)
    assert client.get_run(run_id).info.status == "RUNNING" and not client.get_run(run_id).data.metrics
    assert journals() == []


def test_before_training_a_failure_is_raised_and_afterwards_kept(uri: str, client: MlflowClient) -> None:
    run = attached(client)
    client.delete_run(run.run_id)  # a deleted run takes no more records
    with pytest.raises(TrackingError, match="cannot be recorded"):
        run.set_tags({"a": 1})
    run.delivery.training_started()
    run.set_tags({"a": 2})
    run.set_tags({"b": 3})
    run.end("FINISHED")
    (waiting,) = unsent_runs(Path.cwd())
    assert must_fail(waiting)
    client.restore_run(run.run_id)
    send_all(uri)
    found = client.get_run(run.run_id)
    assert (found.data.tags["a"], found.data.tags["b"], found.info.status) == ("2", "3", "FINISHED")


def test_processes_that_log_the_same_data_at_the_same_moment_do_not_stop_each_other(client: MlflowClient) -> None:
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


def test_the_runs_of_a_batch_wait_for_nothing_until_its_end(uri: str, client: MlflowClient) -> None:
    lone = attached(client)
    with run_batch() as batch:
        assert current_batch() is batch
        runs = [attached(client) for _ in range(3)]
        for run in runs:
            batch.add(run)
            run.log_batch({"lr": 0.1}, {"engine": "stacked"})
            for epoch in (1, 2):
                run.log_metrics({"val_loss": 1.0}, epoch)
            run.flush({"trial.state": "complete"})
        lone.set_tags({"a": 1})
        assert len(journals()) == 4 and client.get_run(lone.run_id).data.tags["a"] == "1"
        for run in runs:
            run.end("FINISHED")
    assert current_batch() is None and journals() == [lone.delivery.unsent_folder]
    for run in runs:
        found = client.get_run(run.run_id)
        assert (found.info.status, found.data.params, steps(client, run.run_id)) == ("FINISHED", {"lr": "0.1"}, [1, 2])
        assert (found.data.tags["engine"], found.data.tags["trial.state"]) == ("stacked", "complete")


class Away:
    """MLflow's client, of a store that can go away: before it takes a request, or after, so that its answer is lost."""

    def __init__(self, client: MlflowClient) -> None:
        self._client, self.is_away, self.loses_answers = client, False, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)

        def request(*arguments: Any, **named: Any) -> Any:
            if self.is_away:
                raise requests.ConnectionError("refused")
            answer = found(*arguments, **named)
            if self.loses_answers:
                self.loses_answers -= 1
                raise requests.ConnectionError("reset")
            return answer

        return request if callable(found) else found


@pytest.fixture
def away(uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> Away:
    monkeypatch.setattr(patience, "_BLIP", 0.2)
    return Away(client.raw)  # type: ignore[attr-defined]


def patient(away: Away, seconds: float) -> Any:
    return Client(away, Outage("the store", seconds))


def test_an_outage_is_waited_out_while_training_goes_on(away: Away, caplog: pytest.LogCaptureFixture) -> None:
    client = patient(away, 60)
    other, run = attached(client), attached(client)
    other.set_tags({"b": 1})  # has nothing to send in the outage
    run.delivery.training_started()
    away.is_away = True
    for epoch in range(1, 4):
        began = time.monotonic()
        run.log_metrics({"val_loss": 1.0}, epoch)
        assert time.monotonic() - began < 0.5
    run.set_tags({"a": 1})  # waits until it is clear that this will last
    run.log_text("hello", "notes/hello.txt")
    threading.Timer(2, lambda: setattr(away, "is_away", False)).start()
    run.end("FINISHED")
    run.delivery.settle(patiently=True)
    found = client.get_run(run.run_id)
    assert steps(client, run.run_id) == [1, 2, 3] and found.info.status == "FINISHED" and found.data.tags["a"] == "1"
    assert (artifact_folder(found) / "notes" / "hello.txt").is_file()
    assert journals() == [other.delivery.unsent_folder]
    said = [record.message for record in caplog.records]
    assert len(said) == 2 and "tracking.patience" in said[0] and "answers again" in said[1]


def test_what_waits_when_patience_ends_is_kept_and_sent_by_the_next_start(
    away: Away, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = patient(away, 1.5)
    runs = [attached(client) for _ in range(2)]
    away.is_away = True
    for run in runs:
        run.delivery.training_started()
        run.log_metrics({"val_loss": 1.0}, 1)
    for run in runs:
        run.end("FINISHED")
        run.delivery.settle(patiently=True)
    assert all(run.delivery.failure for run in runs) and len(unsent_runs(Path.cwd())) == 2
    assert [record.message for record in caplog.records if "doctor --fix" in record.message][1:] == []
    with pytest.raises(requests.ConnectionError):  # what is asked for now fails at once
        client.get_run(runs[0].run_id)
    away.is_away = False
    send_left_behind(open_client(uri))
    assert [MlflowClient(uri).get_run(run.run_id).info.status for run in runs] == ["FINISHED"] * 2
    assert steps(client, runs[0].run_id) == [1] and journals() == []


def test_what_a_process_reads_is_what_it_has_written_also_after_an_outage(away: Away) -> None:
    client = patient(away, 60)
    run = attached(client)
    away.is_away = True
    run.set_tags({"trial.state": "complete"})
    threading.Timer(1, lambda: setattr(away, "is_away", False)).start()
    assert client.get_run(run.run_id).data.tags["trial.state"] == "complete"


def test_a_run_whose_creation_was_answered_to_nobody_is_made_once(away: Away) -> None:
    client = patient(away, 60)
    away.loses_answers = 1
    made = client.create_run("0", 1234, {"a": "b"}, "trial-0001")
    assert [run.info.run_id for run in client.search_runs(["0"])] == [made.info.run_id]
    assert client.create_run("0", 1234, {"a": "b"}, "trial-0001").info.run_id != made.info.run_id


def test_mlflows_own_requests_are_made_as_ever(uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def retries() -> int:
        return int(MLFLOW_HTTP_REQUEST_MAX_RETRIES.get())

    usual = retries()
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    with own_request(), ThreadPoolExecutor(1) as pool:
        assert retries() < usual == pool.submit(retries).result()
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
        assert retries() == 5
