"""`doctor` finds what crashes left, mends it with --fix and says so, and touches nothing of a process that lives."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Param
from support import artifact_folder, make_run

from tradingbot_exp.cli.doctor import Visit
from tradingbot_exp.cli.main import run
from tradingbot_exp.runtime.process import identity
from tradingbot_exp.tracking.run_names import result_tags
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.run import TrackedRun

DEAD = {**identity(), "process.pid": "999999999"}
AWAY = {**DEAD, "process.host": "another-host"}


class Clinic:
    """A store in a launch directory, runs in it, and doctor."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.client = MlflowClient(self.uri)
        self.experiment = self.client.create_experiment("e", (folder / "mlruns" / "e").as_uri())

    def make(self, owner: dict[str, str], kind: str = "training", status: str = "RUNNING", **tags: str) -> str:
        return make_run(self.client, self.experiment, kind, status, tags=owner, **tags)

    def visit(self, *words: str, status: int) -> dict[str, Any]:
        assert run(["doctor", "--json", *words]) == status
        found: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return found

    def kinds(self, *words: str, status: int) -> list[tuple[str, str]]:
        return sorted((each["kind"], each["run_id"]) for each in self.visit(*words, status=status)["found"])

    def status(self, run_id: str) -> str:
        return str(self.client.get_run(run_id).info.status)

    def content(self) -> bytes:
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as database:
            return "\n".join(database.iterdump()).encode()


@pytest.fixture
def clinic(workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Clinic:
    monkeypatch.chdir(workdir)
    return Clinic(workdir, capsys)


@pytest.fixture
def living() -> Iterator[dict[str, str]]:
    """A living process that is not this one."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield identity(sleeper.pid)
    sleeper.kill()
    sleeper.wait()


def test_a_healthy_store_is_in_order(clinic: Clinic, capsys: pytest.CaptureFixture[str]) -> None:
    clinic.make(identity())  # this process is at work on it
    clinic.client.create_run(clinic.experiment)  # another program's: nobody knows
    assert run(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "No records are waiting" in said and "are in order" in said


def test_a_dead_run_is_found_closed_once_and_then_well(clinic: Clinic, living: dict[str, str]) -> None:
    dead, alive = clinic.make(DEAD), clinic.make(living)
    before = clinic.content()
    assert clinic.kinds(status=1) == [("dead_run", dead)]
    assert clinic.content() == before
    assert f"({dead}) is closed as KILLED." in clinic.visit("--fix", status=0)["mended"][0]
    assert (clinic.status(dead), clinic.status(alive)) == ("KILLED", "RUNNING")
    assert "process ended" in clinic.client.get_run(dead).data.tags["error"]
    assert clinic.visit("--fix", status=0)["mended"] == [] and clinic.kinds(status=0) == []


def test_a_run_on_another_host_is_only_perhaps_dead_and_left_alone(clinic: Clinic) -> None:
    silent = clinic.make({**AWAY, "process.heartbeat": f"{time.time() - 3600:.0f}"})
    clinic.make({**AWAY, "process.heartbeat": f"{time.time():.0f}"})
    (found,) = clinic.visit("--fix", status=1)["found"]
    assert (found["kind"], found["run_id"], found["mendable"]) == ("perhaps_dead_run", silent, False)
    assert "perhaps dead: its last sign of life was 60 minutes ago" in found["what"]
    assert "Run doctor on another-host" in found["advice"]
    assert clinic.status(silent) == "RUNNING"
    clinic.client.set_tag(silent, "process.heartbeat", "x")
    (found,) = clinic.visit("--fix", status=1)["found"]
    assert found["run_id"] == silent and "it gives no signs of life" in found["what"]


def study(clinic: Clinic, owner: dict[str, str], trials: int = 3, status: str = "") -> str:
    parent = clinic.make(owner, "study", study__name="s", mlflow__source__name="tradingbot_exp.train")
    clinic.client.log_batch(parent, params=[Param("hpo.num_trials", str(trials))])
    arguments = ["--multirun", "hpo.num_trials=3", "+hpo.param_space.model.dropout=[0, 0.1]"]
    record = {"arguments": arguments, "launch_dir": "/some where"}
    clinic.client.log_text(parent, json.dumps(record), "environment/environment.json")
    if status:
        clinic.client.set_terminated(parent, status)
    return parent


def child(clinic: Clinic, parent: str, owner: dict[str, str], tags: dict[str, str], status: str = "") -> str:
    run_id = clinic.make(owner, "trial", mlflow__parentRunId=parent, study__name="s", trial__state="running", **{})
    for name, value in tags.items():
        clinic.client.set_tag(run_id, name, value)
    if status:
        clinic.client.set_terminated(run_id, status)
    return run_id


def test_a_study_that_was_killed_is_closed_with_its_trials_by_what_they_say(clinic: Clinic) -> None:
    parent = study(clinic, DEAD)
    lost = child(clinic, parent, DEAD, {})
    known = child(clinic, parent, DEAD, result_tags("complete", [0.1]))
    failed = child(clinic, parent, DEAD, result_tags("failed"))
    expected = [("dead_run", each) for each in (parent, lost, known, failed)] + [("interrupted_study", parent)]
    assert clinic.kinds(status=1) == sorted(expected)
    (left,) = clinic.visit("--fix", status=0)["found"]
    assert [clinic.status(each) for each in (parent, lost, known, failed)] == ["KILLED", "KILLED", "FINISHED", "FAILED"]
    assert clinic.client.get_run(lost).data.tags["trial.state"] == "interrupted"
    assert "2 of 3 trials are done" in left["what"]
    assert left["advice"] == (
        "Go on with: cd '/some where' && python -m tradingbot_exp.train --multirun hpo.num_trials=3 "
        "'+hpo.param_space.model.dropout=[0, 0.1]'"
    )


def test_a_trial_that_was_closed_as_killed_or_failed_though_it_had_a_result_is_closed_by_it(clinic: Clinic) -> None:
    parent = study(clinic, DEAD, trials=4, status="FINISHED")
    result = result_tags("complete", [0.1])
    killed = child(clinic, parent, DEAD, {**result, "trial.state": "interrupted"}, "KILLED")
    failed = child(clinic, parent, DEAD, result, "FAILED")
    child(clinic, parent, DEAD, result_tags("failed"), "FAILED")
    repeated, again = (child(clinic, parent, DEAD, result, status) for status in ("KILLED", "FINISHED"))
    for run_id, lr in ((killed, "1"), (failed, "2"), (repeated, "3"), (again, "3")):
        clinic.client.log_param(run_id, "lr", lr)
    assert clinic.kinds(status=1) == sorted([("mislabelled_trial", killed), ("mislabelled_trial", failed)])
    assert len(clinic.visit("--fix", status=0)["mended"]) == 2 and clinic.kinds(status=0) == []
    assert [clinic.status(each) for each in (killed, failed, repeated)] == ["FINISHED", "FINISHED", "KILLED"]
    assert clinic.client.get_run(killed).data.tags["trial.state"] == "complete"


def test_a_study_that_another_process_works_on_is_left_to_it(clinic: Clinic, living: dict[str, str]) -> None:
    parent = study(clinic, DEAD)
    trial = child(clinic, parent, living, {})
    assert clinic.visit("--fix", status=0)["mended"] == []
    assert clinic.status(parent) == clinic.status(trial) == "RUNNING"


@pytest.mark.parametrize(
    ("status", "done", "found"),
    [("FINISHED", 3, 0), ("FINISHED", 2, 1), ("KILLED", 2, 1), ("FAILED", 0, 1)],
)
def test_a_study_of_fewer_trials_than_asked_for_can_be_gone_on_with(
    clinic: Clinic, status: str, done: int, found: int
) -> None:
    parent = study(clinic, DEAD, status=status)
    for _ in range(done):
        child(clinic, parent, DEAD, result_tags("complete", [0.1]), "FINISHED")
    assert clinic.kinds(status=0) == [("interrupted_study", parent)] * found
    for tag, value in (("study.sampler", "own loop"), ("study.stopped_early", "the grid is exhausted")):
        clinic.client.set_tag(parent, tag, value)  # a program of its own keeps it, or it is over
        assert clinic.kinds(status=0) == []
        clinic.client.delete_tag(parent, tag)


def test_artifacts_that_are_gone_are_named_and_cannot_be_mended(clinic: Clinic) -> None:
    whole, partly, gone = (clinic.make(DEAD, status="FINISHED", config__sha256="0") for _ in range(3))
    for run_id in (whole, partly, gone):
        for path in ("config/config.yaml", "environment/environment.json", "evaluation/validation_returns.csv"):
            clinic.client.log_text(run_id, "{}", path)
        clinic.client.log_text(run_id, "{}", "model/MLmodel")
    (artifact_folder(clinic.client.get_run(partly)) / "config" / "config.yaml").unlink()
    shutil.rmtree(artifact_folder(clinic.client.get_run(gone)))
    clinic.make(DEAD, status="FINISHED")  # of a user's own loop: nothing is expected of it
    found = {each["run_id"]: each["what"] for each in clinic.visit("--fix", status=1)["found"]}
    assert found.keys() == {partly, gone}
    assert "config/config.yaml is missing" in found[partly] and "artifact folder" in found[gone]


def test_a_folder_of_artifacts_that_is_gone_as_a_whole_is_one_finding(clinic: Clinic) -> None:
    for _ in range(5):
        clinic.make(DEAD, status="FINISHED", config__sha256="0")
    shutil.rmtree(clinic.folder / "mlruns", ignore_errors=True)
    (found,) = clinic.visit(status=1)["found"]
    assert found["what"].startswith("5 runs are FINISHED, but their artifact folders in") and found["run_id"] is None


def offline_run(folder: Path, uri: str, connect: Callable[[], Any]) -> TrackedRun:
    creation = {"name": "r", "experiment": "e", "start_time": 1000, "tags": {"run.kind": "training"}, "uri": uri}
    tracked = TrackedRun(Delivery.create(connect, creation, folder / ".tradingbot" / "unsent", "offline"), "r")
    tracked.log_metrics({"m": 1.0}, 1)
    tracked.end("FINISHED")
    return tracked


def test_records_are_sent_before_runs_are_judged(clinic: Clinic) -> None:
    """A run whose end waits on disk is RUNNING in the store, and its process is gone: it is no dead run."""

    def connect() -> Any:
        return clinic.client, clinic.experiment

    creation = {"name": "r", "experiment": "e", "start_time": 1000, "tags": DEAD, "uri": clinic.uri}
    tracked = TrackedRun(Delivery.create(connect, creation, clinic.folder / ".tradingbot" / "unsent", "offline"), "r")
    clinic.client.delete_run(tracked.run_id)  # a deleted run takes no more records
    tracked.log_metrics({"m": 1.0}, 1)
    tracked.end("FINISHED")
    clinic.client.restore_run(tracked.run_id)
    found = clinic.visit(status=1)
    assert len(found["unsent"]) == 1 and found["found"] == []
    assert clinic.status(tracked.run_id) == "RUNNING"
    fixed = clinic.visit("--fix", status=0)
    assert [each["run_id"] for each in fixed["sent"]] == [tracked.run_id] and fixed["mended"] == []
    assert clinic.status(tracked.run_id) == "FINISHED"


def test_records_that_another_process_sends_meanwhile_are_no_error(clinic: Clinic) -> None:
    visit = Visit(clinic.uri, fix=True)
    gone = clinic.folder / ".tradingbot" / "unsent" / "gone"
    visit.see_records([gone])
    assert (visit.errors, visit.unsent, visit.sent) == ([], [], [])
    visit.unsent.append(gone)
    visit.see_runs()
    assert (visit.errors, visit.left, visit.looked_into) == ([], [], [clinic.uri])


def test_records_that_cannot_be_sent_are_an_error_and_stay(
    clinic: Clinic, free_port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def connect() -> Any:
        raise ConnectionError("nobody there")

    away = f"http://127.0.0.1:{free_port}"
    offline_run(clinic.folder, away, connect)
    assert run(["doctor", "--fix", "--tracking-uri", away]) == 1
    said = capsys.readouterr()
    assert "nothing listens there" in said.err and "records are waiting in" in said.out
    assert len(clinic.visit(status=1)["unsent"]) == 1


def test_without_a_store_there_is_nothing_to_look_into_and_none_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["doctor"]) == 0
    assert "There is no tracking store here" in capsys.readouterr().out
    assert run(["doctor", "--tracking-uri", "nowhere"]) == 1
    assert "There is no tracking store in" in capsys.readouterr().err
    assert run(["doctor", "--tracking-uri", "sqlite:///nowhere.db"]) == 1
    assert list(tmp_path.iterdir()) == []


def previous_revision() -> str:
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config, _get_latest_schema_revision

    script = ScriptDirectory.from_config(_get_alembic_config(db_url="")).get_revision(_get_latest_schema_revision())
    return str(script.down_revision)


@pytest.mark.parametrize("revision", [previous_revision(), "0123456789ab"])
def test_a_store_of_another_mlflow_is_told_with_the_exact_command_and_left_as_it_is(
    tmp_path: Path,
    store_template: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    revision: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(store_template, tmp_path / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        database.commit()
        before = list(database.iterdump())
    assert run(["doctor", "--fix"]) == 1
    said = capsys.readouterr().err
    assert said.count(f"has the schema {revision}, and the installed MLflow expects") == 1
    assert f"mlflow db upgrade sqlite:///{tmp_path / 'mlflow.db'}" in said
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert list(database.iterdump()) == before
