"""A store: how one that is created here commits, which run may be put to which use, and paths that leave its folder."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import mlflow
import psutil
import pytest
from mlflow.entities import Run
from support import artifact_folder, make_run

from tradingbot_exp.errors import RunError, TrackingError
from tradingbot_exp.tracking.store import kinds
from tradingbot_exp.tracking.store.client import open_client
from tradingbot_exp.tracking.store.errors import DamagedError
from tradingbot_exp.tracking.store.kinds import Use, require
from tradingbot_exp.tracking.store.places import is_same_store
from tradingbot_exp.tracking.store.store import Store, open_store


@pytest.mark.parametrize(("kind", "mode"), [("ext4", "wal"), ("nfs4", "delete")])
def test_a_store_writes_ahead_only_where_no_other_machine_has_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, mode: str
) -> None:
    mounts = [("/", "ext4" if kind != "ext4" else "nfs4"), (str(tmp_path), kind)]
    parts = [SimpleNamespace(mountpoint=point, fstype=each) for point, each in mounts]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: parts)
    client = open_client(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client.create_experiment("kept")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == (mode,)
        assert ("kept",) in database.execute("SELECT name FROM experiments").fetchall()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Store:
    folder = tmp_path_factory.mktemp("store")
    shutil.copy(store_template, folder / "mlflow.db")
    found = open_store(folder)
    found.client.create_experiment("here", (folder / "mlruns").as_uri())
    return found


def make(store: Store, kind: str, status: str = "FINISHED", **tags: str) -> Run:
    return store.run(make_run(store.client, "1", kind, status, mlflow__runName=f"a-{kind}", **tags))


MODEL = ", not a training run, a trial or a study"


@pytest.mark.parametrize(
    ("use", "kind", "said"),
    [
        *((use, kind, "") for use in ("EVALUATE", "PREDICT", "VERIFY") for kind in ("training", "trial", "study")),
        *((use, "test_evaluation", f"is a test-set evaluation{MODEL}") for use in ("EVALUATE", "PREDICT", "VERIFY")),
        *((use, "backtest", f"is a backtest{MODEL}") for use in ("EVALUATE", "PREDICT", "BACKTEST")),
        *(("BACKTEST", kind, "") for kind in ("training", "trial", "study")),
        *((use, "", f"is a run of another program{MODEL}") for use in ("EVALUATE", "PREDICT")),
        *((use, "null_study", f"is a null study{MODEL}") for use in ("EVALUATE", "PREDICT", "VERIFY")),
        ("RESUME", "training", ""),
        ("RESUME", "trial", "training.resume: the run {id} (a-trial) is a trial, not a training run. A study is"),
        ("RESUME", "study", "Give its own command again, with --multirun and without training.resume: trials"),
        ("RESUME", "sweep", "is a plain sweep, not a training run. Give its own command again"),
        ("RESUME", "", "is a run of another program, not a training run."),
        *(("REPORT_TRAINING", kind, "") for kind in ("training", "trial", "test_evaluation", "")),
        ("REPORT_TRAINING", "study", "is a study, not a training run. `report hpo {id:.12}` reports on it. Its best"),
        *(("REPORT_STUDY", kind, "") for kind in ("study", "sweep", "null_study")),
        ("REPORT_STUDY", "trial", "is a trial, not a study. The study that it belongs to is P."),
        ("REPORT_STUDY", "training", "is a training run, not a study. `report training {id:.12}` reports on it."),
    ],
)
def test_a_run_is_put_to_the_uses_of_its_kind_and_else_told_what_is_right(
    store: Store, use: str, kind: str, said: str
) -> None:
    asked: Use = getattr(kinds, use)
    best = make(store, "trial").info.run_id
    run = make(store, kind, mlflow__parentRunId="P" * (kind == "trial"), best__run_id=best * (kind == "study"))
    if said:
        with pytest.raises(RunError) as caught:
            require(store, run, asked)
        assert said.format(id=run.info.run_id) in str(caught.value)
        return
    found = require(store, run, asked).info.run_id
    assert found == (best if kind == "study" and asked.takes_best else run.info.run_id)


def test_a_run_that_goes_on_and_a_study_without_a_trial_have_no_model_yet(store: Store) -> None:
    begun = make(store, "training", "RUNNING")
    for use in (kinds.EVALUATE, kinds.VERIFY):
        with pytest.raises(RunError, match="is still RUNNING"):
            require(store, begun, use)
        with pytest.raises(RunError, match="is a study without a complete trial so far"):
            require(store, make(store, "study"), use)
    assert require(store, begun, kinds.PREDICT) is begun


def test_a_path_of_an_artifact_never_leads_out_of_its_run(store: Store, tmp_path: Path) -> None:
    run = make(store, "training")
    store.client.log_text(run.info.run_id, "inside", "data/kept.txt")
    folder, secret = artifact_folder(run), tmp_path / "secret.txt"
    secret.write_text("secret")
    (folder / "data" / "link.txt").symlink_to(secret)
    (folder / "linked").symlink_to(tmp_path)
    (folder / "data" / "twin.txt").symlink_to(folder / "data" / "kept.txt")
    for path in ("data/link.txt", "linked/secret.txt", str(secret), "data/../../../secret.txt", ".."):
        with pytest.raises(TrackingError, match="leads out of"):
            store.artifact(run, path, Path.read_text)
    assert store.artifact(run, "data/twin.txt", Path.read_text) == "inside"
    assert store.artifact(run, "data/nothing.txt", Path.read_text) is None
    for scheme in ("mlflow-artifacts:/1/x", "s3://bucket/x"):  # checked before anything is fetched
        far = SimpleNamespace(info=SimpleNamespace(run_id="r", artifact_uri=scheme))
        with pytest.raises(TrackingError, match="leads out of"):
            store.artifact(far, "../../etc/passwd", Path.read_text)  # type: ignore[arg-type]


def test_a_model_that_mlflow_keeps_beside_the_run_is_the_runs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    with mlflow.start_run(experiment_id="1") as logged:
        mlflow.pyfunc.log_model(name="model", python_model=lambda rows: rows, pip_requirements=[])
    with mlflow.start_run(experiment_id="1") as other:
        mlflow.log_text("no model", "model/notes.txt")
    run, bare = (store.run(each.info.run_id) for each in (logged, other))
    assert store.has_model(run) and store.model(run).predict([1.0]) == [1.0]
    assert not store.has_model(bare)


def test_an_artifact_that_cannot_be_parsed_is_damaged_and_one_that_cannot_be_read_is_not(store: Store) -> None:
    run = make(store, "training")
    store.client.log_text(run.info.run_id, "x", "a.txt")
    with pytest.raises(DamagedError, match=rf"a.txt of the run {run.info.run_id} is damaged: invalid literal"):
        store.artifact(run, "a.txt", lambda file: int(file.read_text()))
    with pytest.raises(TrackingError, match=r"a.txt of the run .* cannot be read: .*No such file") as caught:
        store.artifact(run, "a.txt", lambda file: file.with_name("b.txt").read_text())
    assert not isinstance(caught.value, DamagedError)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("http://h:5000/", "http://h:5000", True),
        ("postgresql://me:pw@h/db", "postgresql://me@h/db", True),
        ("postgresql://h/db", "postgresql://me:p@w@h/db", True),
        ("sqlite:///a.db", "sqlite:///./a.db", True),
        ("http://h:5000", "http://h:5001", False),
        ("postgresql://h/db", "postgresql://h/other", False),
        ("sqlite:///a.db", "http://h:5000", False),
    ],
)
def test_addresses_of_one_store_are_told(first: str, second: str, same: bool) -> None:
    assert is_same_store(first, second) is is_same_store(second, first) is same
