"""Every record is on this disk before MLflow gets it, and reaches it in order, once, whatever comes in between."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import requests
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES
from support import artifact_folder, give_up

from tradingbot_exp import ExperimentOrganizer
from tradingbot_exp.cli import main as cli
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.runtime import interrupt
from tradingbot_exp.runtime.process import identity
from tradingbot_exp.tracking.run_names import result_tags
from tradingbot_exp.tracking.store import patience
from tradingbot_exp.tracking.store.client import open_client
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.store.patience import Client, Outage, own_request
from tradingbot_exp.tracking.writing.batch import current_batch, run_batch
from tradingbot_exp.tracking.writing.outbox import journal, recorder
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.outbox.send import Record, send
from tradingbot_exp.tracking.writing.outbox.unsent import (
    closes_run,
    must_fail,
    send_left_behind,
    send_unsent,
    unsent_folder,
    unsent_runs,
    waiting_run_id,
)
from tradingbot_exp.tracking.writing.run import TrackedRun
from tradingbot_exp.tracking.writing.trial_runs import TrialRuns

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


def attached(client: MlflowClient) -> TrackedRun:
    run = client.create_run("0", 1, {"k": "v"}, "r")
    return TrackedRun(Delivery.attach(client, run, unsent_folder(), client.tracking_uri), "run")


def send_all(uri: str) -> None:
    client = open_client(uri)
    for folder in unsent_runs(Path.cwd()):
        send_unsent(folder, client)


def killed(run_id: str, uri: str, *records: dict[str, object], cut: str = "", **header: str) -> Path:
    """The journal of a process that is gone."""
    folder = Path(".tradingbot/unsent").resolve() / f"{run_id}-1"
    folder.mkdir(parents=True)
    whole = {"run_id": run_id, "uri": uri, "on_error": "raise", "owner": DEAD, **header}
    (folder / "run.json").write_text(json.dumps(whole))
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


@pytest.mark.parametrize("spoil", [_bytes("run.json", b"[]"), _bytes("sent", b"all"), _given_away, shutil.rmtree])
def test_a_journal_that_cannot_be_read_or_is_sent_meanwhile_stands_for_no_run(
    uri: str, spoil: Callable[[Path], object]
) -> None:
    folder = killed("0" * 32, uri, batch(1), END, failure="the disk is full")
    assert (waiting_run_id(folder), closes_run(folder), must_fail(folder)) == ("0" * 32, True, True)
    spoil(folder)
    assert (waiting_run_id(folder), closes_run(folder), must_fail(folder)) == (None, False, False)


def note(name: str, folder: str = "notes") -> dict[str, object]:
    return {"kind": "artifact", "file": f"files/0/{name}", "folder": folder}


def test_an_artifact_that_is_gone_from_a_journal_is_named_and_the_rest_sent(
    uri: str, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    """As where a power cut forgot what was acknowledged: the artifact was removed, having been sent."""
    run_id = client.create_run("0").info.run_id
    folder = killed(run_id, uri, batch(1), note("hello.txt"), batch(2), END)
    send_left_behind(client)
    assert steps(client, run_id) == [1, 2] and client.get_run(run_id).info.status == "FINISHED"
    assert journals() == [] and f"{folder / 'files/0/hello.txt'} is gone" in caplog.text


def test_what_was_acknowledged_is_replaced_as_a_whole_and_not_written_over(uri: str, client: MlflowClient) -> None:
    run_id = client.create_run("0").info.run_id
    folder = killed(run_id, uri, note("hello.txt"), {"kind": "delete"})
    for name in ("files/0/hello.txt", "sent"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("0")
    os.link(folder / "sent", "before")
    with pytest.raises(TrackingError, match="is damaged"):
        send_unsent(folder, client)
    first = (folder / "records.jsonl").read_bytes().index(b"\n") + 1
    assert (Path("before").read_text(), (folder / "sent").read_text()) == ("0", str(first))
    assert not (folder / "files/0").exists()


def test_a_sender_goes_on_where_another_one_stopped_before_it(uri: str, client: MlflowClient) -> None:
    run_id = client.create_run("0").info.run_id
    folder = killed(run_id, uri, batch(1), batch(2))
    late = journal.Journal.read(folder)
    _bytes("sent", str((folder / "records.jsonl").read_bytes().index(b"\n") + 1).encode())(folder)
    assert late.try_lock() and [record.content["metrics"][0][3] for record, _ in late.records()] == [2]
    late.release()
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        late.try_lock()
    assert not folder.exists()


def test_an_open_journal_holds_one_file_descriptor(client: MlflowClient) -> None:
    run = attached(client)
    with run_batch() as batch:
        batch.add(run)
        run.log_batch({"lr": 0.1}, {})
        held = [each.path for each in psutil.Process().open_files()]
        assert sum(path.startswith(str(run.delivery.unsent_folder)) for path in held) == 1
        run.end("FINISHED")


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
            run.set_tags({"trial.state": "complete"})
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
        self.leaves_in = -1  # requests after which it goes away; below 0, it stays

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)

        def request(*arguments: Any, **named: Any) -> Any:
            if self.is_away or self.leaves_in == 0:
                raise requests.ConnectionError("refused")
            self.leaves_in -= 1
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
        run.log_metrics({"val_loss": 1.0}, epoch)
    run.set_tags({"a": 1})  # waits until it is clear that this will last
    run.log_text("hello", "notes/hello.txt")
    threading.Timer(2, lambda: setattr(away, "is_away", False)).start()
    run.end("FINISHED")
    run.delivery.settle(patiently=True)
    found = client.get_run(run.run_id)
    assert steps(client, run.run_id) == [1, 2, 3] and found.info.status == "FINISHED" and found.data.tags["a"] == "1"
    assert (artifact_folder(found) / "notes" / "hello.txt").is_file()
    assert journals() == [other.delivery.unsent_folder]
    said = [record.message for record in caplog.records if "store.moved" not in record.name]
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


def soon(holds: Callable[[], bool]) -> bool:
    """Wait for at most 20 seconds until something holds."""
    until = time.monotonic() + 20
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()


def test_the_closing_of_a_trial_is_kept_when_patience_ends_and_sent_by_the_next_start(away: Away, uri: str) -> None:
    trial_runs = TrialRuns(patient(away, 1.5), "0", "0" * 32, "s", {})
    run_id = trial_runs.create(0)
    away.leaves_in = 1  # once it has said that the run is open
    trial_runs.fail(run_id, ValueError("no such layer"))
    assert soon(lambda: bool(unsent_runs(Path.cwd())))
    (waiting,) = unsent_runs(Path.cwd())
    assert closes_run(waiting) and must_fail(waiting)
    away.leaves_in = -1
    send_left_behind(open_client(uri))
    found = MlflowClient(uri).get_run(run_id)
    assert (found.info.status, found.data.tags["trial.state"]) == ("FAILED", "failed") and journals() == []


def test_signs_of_life_go_on_for_other_runs_where_one_takes_none(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HEARTBEAT_SECONDS", "FLUSH_SECONDS"):
        monkeypatch.setattr(recorder, name, 0.01)
    deleted, alive = (client.create_run("0").info.run_id for _ in range(2))
    client.delete_run(deleted)  # a deleted run takes no more tags
    own = recorder.Recorder()
    own.beat(client, [deleted, alive])
    assert soon(lambda: "process.heartbeat" in client.get_run(alive).data.tags)
    own.stop_beating([deleted, alive])


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


def test_a_worker_that_comes_too_late_for_a_run_leaves_no_record_that_it_would_hold(
    client: MlflowClient, uri: str
) -> None:
    run_id = client.create_run("0").info.run_id
    client.set_terminated(run_id, "KILLED")
    tracking = SimpleNamespace(uri=uri, on_error="raise", patience=1.0)
    experiment = SimpleNamespace(name="Default", run_name=None, description=None, tags={})
    organizer = ExperimentOrganizer(SimpleNamespace(experiment=experiment, tracking=tracking))
    with pytest.raises(TrackingError, match="was given up before its job could start"):
        organizer.take_over(run_id, 1, "parent")
    assert journals() == [] and client.get_run(run_id).info.status == "KILLED"


@pytest.mark.parametrize("installed", [True, False], ids=["command", "notebook"])
def test_a_second_interruption_ends_the_waiting_for_a_store_and_the_records_stay(
    client: MlflowClient, uri: str, installed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    run = attached(client)

    def close() -> None:
        try:
            run.delivery.put(Record("end", {"status": "KILLED", "time": 2000}))
            with contextlib.nullcontext() if installed else interrupt.signals_held():
                run.delivery.settle(patiently=True)
        finally:
            with interrupt.signals_held():  # as a run is closed
                run.delivery.settle(patiently=True)

    both = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in both]
    lock = sqlite3.connect("mlflow.db", check_same_thread=False)
    lock.execute("BEGIN EXCLUSIVE")
    presses = [threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)) for seconds in (0.3, 1.6)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    if installed:
        interrupt.install()
    try:
        for press in presses:
            press.start()
        with pytest.raises(KeyboardInterrupt):
            close()
        assert run.delivery.failure == "it was not waited for any longer" and "doctor --fix" in caplog.text
        assert interrupt.is_urgent() is installed
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a press that is still to come would end all tests
        lock.rollback()
        lock.close()
        for press in presses:
            press.join()
        for number, handler in zip(both, before, strict=True):
            signal.signal(number, handler)
        interrupt._received.clear()
        interrupt._again.clear()
    with contextlib.suppress(FileNotFoundError):  # the recorder may send them at this moment
        send_all(uri)
    assert client.get_run(run.run_id).info.status == "KILLED" and journals() == []
