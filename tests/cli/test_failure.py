"""However a run ends, MLflow says the truth about it, and nothing that was recorded is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import OUTAGE, Command, Finished, clean_environment, git, in_ci, python, start, stop_server, train

SECRET = uuid.uuid4().hex
LONG = ["training.epochs=100000", "training.progress=plain", "data=synthetic"]


def _wait_for_epoch_1(process: Command) -> None:
    deadline = time.monotonic() + 60
    while "\n" not in process.err:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert process.err.startswith("epoch"), process.err


def _complete(client: MlflowClient, run_id: str, name: str = "val_loss") -> int:
    """Count the epochs of a run, having seen that none is missing and none is twice there."""
    steps = [point.step for point in client.get_metric_history(run_id, name)]
    assert steps == list(range(1, len(steps) + 1))
    return len(steps)


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=in_ci)])
def test_an_interrupted_run_is_killed_and_keeps_its_history(workdir: Path, sent: signal.Signals, status: int) -> None:
    process = start(workdir, *LONG)
    _wait_for_epoch_1(process)
    time.sleep(0.3)
    process.send_signal(sent)
    done = process.end(60)
    assert done.status == status
    assert "Interrupted" in done.err and "KILLED" in done.err and "Traceback" not in done.err
    assert done.run.info.status == "KILLED"
    assert done.run.info.end_time is not None
    assert _complete(done.client, done.run.info.run_id) > 1


@in_ci
def test_metrics_of_a_run_are_in_the_store_while_it_trains_and_what_it_had_written_when_killed_after_the_next_start(
    workdir: Path,
) -> None:
    process = start(workdir, *LONG)
    _wait_for_epoch_1(process)
    training, deadline = Finished(workdir, "", "", 0), time.monotonic() + 30
    while _complete(training.client, training.run.info.run_id) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    assert training.run.info.status == "RUNNING"
    time.sleep(0.5)
    process.kill()
    process.wait()
    (journal,) = workdir.glob(".tradingbot/unsent/*/records.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()[:-1]]
    last = max(point[3] for line in lines for point in line.get("metrics", []))
    done = train(workdir, "training=smoke", "training.progress=off", "tracking.report=false")
    assert done.status == 0, done.err
    killed, _ = done.runs()
    assert killed.info.status == "RUNNING" and _complete(done.client, killed.info.run_id) >= last > 1
    assert not list((workdir / ".tradingbot" / "unsent").iterdir())


def test_a_side_matter_ends_no_run(workdir: Path) -> None:
    folder = workdir / "it's \" mine"
    folder.mkdir()
    (workdir / "mlflow.db").rename(folder / "mlflow.db")
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    for name in (b"bad\xff.txt", b"bad\xff.py"):
        (folder / os.fsdecode(name)).touch()
    words = ["training=smoke", "data=synthetic", "training.progress=off", "tracking.report=false"]
    done = train(folder, *words, env={"PYTHONWARNINGS": "error"}, fresh=True)
    assert done.status == 0, done.err
    assert done.run.info.status == "FINISHED" and done.run.data.tags["mlflow.source.git.commit"]
    (file,) = (folder / "mlruns").rglob("environment.json")
    details = json.loads(file.read_text())
    assert len(details["git"]["left_out_of_patch"]) == 2


@in_ci
def test_ctrl_c_while_the_configuration_is_composed_is_an_interruption(tmp_path: Path) -> None:
    # Before anything of ours is imported, Python says it. It ends by the signal, which shells call 130, in place of our
    # 130 where the signal met code that is compiled from text, as a data class is.
    said = {"Interrupted. A run that was open is closed as KILLED, with its history so far.", "KeyboardInterrupt"}
    for delay in (0.6, 0.9, 1.2, 1.5, 1.8, 2.4):
        command = [sys.executable, "-m", "tradingbot_exp.train", "training=smoke", "training.epochs=5000"]
        process = subprocess.Popen(command, cwd=tmp_path, env=clean_environment(), stderr=subprocess.PIPE, text=True)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (130, -signal.SIGINT)
        assert said & set(err.splitlines()), err


@in_ci
@pytest.mark.parametrize("delay", [0.005, 0.1])
def test_a_second_signal_while_the_run_is_closed_changes_nothing(workdir: Path, delay: float) -> None:
    process = start(workdir, *LONG)
    _wait_for_epoch_1(process)
    process.send_signal(signal.SIGINT)
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    done = process.end(60)
    assert done.status == 130, done.err
    assert done.run.info.status == "KILLED"


@in_ci
def test_a_diverging_run_fails_naming_the_epoch_and_keeps_everything_up_to_there(workdir: Path) -> None:
    done = train(workdir, "training.optimizer=SGD", "model.learning_rate=10", "training.progress=off")
    assert done.status == 1
    assert done.err.startswith("Error: ") and "epoch" in done.err and "Traceback" not in done.err
    run = done.run
    assert run.info.status == "FAILED"
    assert run.data.tags["error"].startswith("DivergedError: ")
    epoch = _complete(done.client, run.info.run_id)
    assert f"epoch {epoch}" in done.err
    folder = done.artifacts()
    assert "DivergedError" in (folder / "error" / "traceback.txt").read_text()
    for name in ("config/config.yaml", "data/data_card.json", "plots/training_history.html"):
        assert (folder / name).is_file()
    (report,) = (workdir / "reports").glob("*.html")
    assert "This run failed" in report.read_text(encoding="utf-8")


def _server(start_server: Callable[..., subprocess.Popen[bytes]], cwd: Path, port: int) -> subprocess.Popen[bytes]:
    command = ["mlflow", "server", "--port", str(port), "--workers", "1", "--artifacts-destination", "./served"]
    return start_server([*command, "--backend-store-uri", f"sqlite:///{cwd / 'mlflow.db'}"], cwd, port)


@in_ci
def test_a_server_lost_while_training_costs_nothing_but_the_exit_status(
    workdir: Path, tmp_path_factory: pytest.TempPathFactory, free_port: int, start_server: Callable[..., object]
) -> None:
    launch = tmp_path_factory.mktemp("launch")
    uri = f"http://127.0.0.1:{free_port}"
    server = _server(start_server, workdir, free_port)  # type: ignore[arg-type]
    process = start(
        launch,
        "training.epochs=400",
        "data=synthetic",
        "training.progress=plain",
        f"tracking.uri={uri}",
        "tracking.patience=3",
    )
    _wait_for_epoch_1(process)
    stop_server(server)
    done = process.end(180)
    assert done.status == 1, done.err
    assert "doctor --fix" in done.err and "kept in" in done.err and "Traceback" not in done.err
    assert "not yet in MLflow" in done.out
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    (run,) = client.search_runs(["1"])
    assert run.info.status == "RUNNING" and "final_loss" not in run.data.metrics

    left = python(launch, "-m", "tradingbot_exp", "doctor", "--json")
    assert left.status == 1 and len(json.loads(left.out)["unsent"]) == 1
    _server(start_server, workdir, free_port)  # type: ignore[arg-type]
    printed = done.err.splitlines()[-1].partition("python ")[2].split()
    fixed = python(launch, *printed)
    assert fixed.status == 0, fixed.err
    assert run.info.run_id in fixed.out
    run = client.get_run(run.info.run_id)
    assert run.info.status == "FINISHED"
    assert _complete(client, run.info.run_id) == 400
    assert "val_sharpe" in run.data.metrics
    served = {path.name for path in (workdir / "served").rglob("*")}
    assert served >= {"weights.pt", "prediction_vs_actual.html", "validation_returns.csv", "config.yaml"}
    again = python(launch, "-m", "tradingbot_exp", "doctor", "--fix", "--tracking-uri", uri)
    assert again.status == 0 and "No records are waiting" in again.out


@in_ci
def test_a_store_that_is_locked_for_a_while_is_waited_for_while_training_goes_on(workdir: Path) -> None:
    process = start(workdir, "training.epochs=2000", "data=synthetic", "training.progress=plain")
    _wait_for_epoch_1(process)
    with contextlib.closing(sqlite3.connect(workdir / "mlflow.db", timeout=60)) as database:
        database.execute("BEGIN IMMEDIATE")
        time.sleep(OUTAGE + 20)  # SQLite itself waits for 20 seconds, from the next flush on
        database.rollback()
    done = process.end()
    assert done.status == 0, done.err
    assert done.err.count("tracking.patience") == 1 == done.err.count("answers again")
    assert done.run.info.status == "FINISHED" and _complete(done.client, done.run.info.run_id) == 2000
    assert (done.artifacts() / "model" / "MLmodel").is_file()
    assert not list((workdir / ".tradingbot" / "unsent").iterdir())


@in_ci
def test_offline_keeps_the_whole_run_on_disk_with_one_warning_and_sends_it_later(workdir: Path, free_port: int) -> None:
    secret = f"http://me:{SECRET}@127.0.0.1:{free_port}"
    done = train(
        workdir,
        "tracking.on_error=offline",
        f"tracking.uri={secret}",
        "training=smoke",
        "training.progress=off",
    )
    assert done.status == 0, done.err
    assert len(done.err.splitlines()) == 1 and "doctor --fix" in done.err
    # Before the store is opened here: closing a file of SQLite's drops the locks that this process has on it.
    for file in workdir.rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file
    assert done.runs() == []
    unknown = python(workdir, "-m", "tradingbot_exp", "doctor", "--fix")
    assert unknown.status == 1 and "--tracking-uri" in unknown.err
    fixed = python(workdir, "-m", "tradingbot_exp", "doctor", "--fix", "--tracking-uri", "sqlite:///mlflow.db")
    assert fixed.status == 0, fixed.err
    run = done.run
    assert run.info.status == "FINISHED"
    assert run.data.params["training.epochs"] == "2" and run.data.tags["model.name"] == "mlp"
    assert _complete(done.client, run.info.run_id) == 2
    assert (done.artifacts() / "model" / "MLmodel").is_file()
    assert not list((workdir / ".tradingbot" / "unsent").iterdir())
