"""One study shared by two processes, or by many workers: together exactly its trials, one parent, nothing lost."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from postgres import Server, postgres
from support import OUTAGE, Command, Finished, in_ci, start, stop_server, train

from tradingbot_exp.hpo.storage import open_storage

STUDY = ["--multirun", "data=synthetic", "training.progress=off"]
BASIC = "hydra/launcher=basic"
EPOCHS = 3


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as running:
        yield running


def share(cwd: Path, *overrides: str) -> Command:
    return start(cwd, *STUDY, f"training.epochs={EPOCHS}", *overrides)


def finish(*processes: Command) -> None:
    """Wait for processes; each must end well."""
    try:
        assert [process.wait(300) for process in processes] == [0] * len(processes), [each.err for each in processes]
    finally:
        for process in processes:
            process.kill()


def study_in(storage: str | None, cwd: Path) -> optuna.Study:
    opened, _ = open_storage(storage, cwd)
    (name,) = optuna.get_all_study_names(opened)
    return optuna.load_study(study_name=name, storage=opened)


def see_that_nothing_is_lost(
    done: Finished, storage: str | None, expected: int, epochs: int = EPOCHS, killed: bool = False
) -> tuple[Run, list[Run]]:
    """One closed parent, `expected` complete children and no other that counts, and Optuna says the same."""
    runs = done.runs()
    (parent,) = [run for run in runs if run.data.tags["run.kind"] == "study"]
    children = [run for run in runs if run.data.tags["run.kind"] == "trial"]
    assert parent.info.status == "FINISHED" and parent.data.tags["study.trials"] == str(expected)
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"} if killed else {"FINISHED"}
    complete = [run for run in children if run.data.tags["trial.state"] == "complete"]
    assert len(complete) == expected == sum(run.info.status == "FINISHED" for run in children)
    assert len({run.data.tags["trial.number"] for run in children}) == len(children)
    trials = study_in(storage, done.cwd).trials
    for run in children:
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        trial = trials[int(run.data.tags["trial.number"])]
        assert trial.user_attrs["run_id"] == run.info.run_id
        if run.data.tags["trial.state"] == "complete":
            assert trial.state.name == "COMPLETE" and json.loads(run.data.tags["trial.values"]) == trial.values
            history = done.client.get_metric_history(run.info.run_id, "val_loss")
            assert [point.step for point in history] == list(range(1, epochs + 1))
    counted = [trial for trial in trials if not trial.user_attrs.get("interrupted")]
    assert [trial.state.name for trial in counted] == ["COMPLETE"] * expected
    assert not [trial for trial in trials if trial.state.name == "RUNNING"]
    return parent, children


def address_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> str | None:
    if kind == "postgresql":
        return str(request.getfixturevalue("server").new_database())
    return f"sqlite:///{folder / 'study.db'}" if kind == "sqlite" else None


def owners(children: list[Run]) -> set[str]:
    return {run.data.tags["process.pid"] for run in children}


@in_ci
@pytest.mark.parametrize(
    ("kind", "launcher"),
    [("postgresql", BASIC), ("sqlite", BASIC), ("journal", "hydra/launcher=stacked")],
)
def test_two_processes_share_a_study(workdir: Path, request: pytest.FixtureRequest, kind: str, launcher: str) -> None:
    storage = address_of(kind, request, workdir)
    command = [launcher, "hpo.num_trials=16", *([f"hpo.storage={storage}"] if storage else [])]
    finish(*(share(workdir, *command) for _ in range(2)))
    _, children = see_that_nothing_is_lost(Finished(workdir, "", "", 0), storage, 16)
    assert len(owners(children)) == 2


@in_ci
def test_two_launch_directories_share_a_study_of_which_one_is_killed(
    workdir: Path, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage = server.new_database()
    command = [BASIC, "hpo.num_trials=16", f"hpo.storage={storage}", f"tracking.uri=sqlite:///{workdir / 'mlflow.db'}"]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    first, second = share(workdir, *command), share(elsewhere, *command)
    try:
        deadline = time.monotonic() + 90
        while len(list(elsewhere.glob("multirun/*/trial-*/validation_bars.npz"))) < 2:
            assert second.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        second.send_signal(signal.SIGKILL)
        second.wait()
    finish(first)
    parent, children = see_that_nothing_is_lost(Finished(workdir, "", "", 0), storage, 16, killed=True)
    assert len(owners(children)) == 2
    assert storage.partition("@")[2] in parent.data.tags["study.storage"]
    shutil.rmtree(elsewhere)


@dataclass(frozen=True)
class Served(Finished):
    """A command whose records are on a server."""

    uri: str = ""

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)


@in_ci
def test_two_processes_wait_for_an_mlflow_server_that_is_killed_under_their_study(
    workdir: Path, server: Server, free_port: int, start_server: Callable[..., subprocess.Popen[bytes]]
) -> None:
    uri, storage = f"http://127.0.0.1:{free_port}", server.new_database()
    serve = ["mlflow", "server", "--port", str(free_port), "--workers", "1", "--artifacts-destination", "./served"]
    serve += ["--backend-store-uri", server.new_database()]
    running = start_server(serve, workdir, free_port)
    command = [BASIC, "hpo.num_trials=16", f"hpo.storage={storage}", f"tracking.uri={uri}"]
    processes = [share(workdir, *command) for _ in range(2)]
    done = Served(workdir, "", "", 0, uri)
    try:
        deadline = time.monotonic() + 240
        while sum(run.info.status == "FINISHED" for run in done.runs()) < 4:
            assert time.monotonic() < deadline and all(each.poll() is None for each in processes)
            time.sleep(0.3)
    finally:
        stop_server(running)
    time.sleep(OUTAGE)
    start_server(serve, workdir, free_port)
    finish(*processes)
    _, children = see_that_nothing_is_lost(done, storage, 16)
    assert len(owners(children)) == 2 and len(children) == 16
    for process in processes:
        said = process.out + process.err
        assert said.count("tracking.patience") == 1 == said.count("answers again")
    assert not list((workdir / ".tradingbot" / "unsent").iterdir())


@in_ci
def test_workers_on_one_sqlite_store_lose_no_trial(workdir: Path) -> None:
    trials, workers = 20, 4
    launcher = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}", f"hpo.n_jobs={workers}")
    done = train(workdir, *STUDY, f"hpo.num_trials={trials}", "training.epochs=1", *launcher)
    assert done.status == 0, done.err
    _, children = see_that_nothing_is_lost(done, None, trials, epochs=1)
    assert len(owners(children)) > 1
