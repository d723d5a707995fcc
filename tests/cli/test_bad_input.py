"""Bad input gets one clear message before any training, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from support import give_up, in_ci, train

from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data.sources import load_bars

SECRET = uuid.uuid4().hex
REFUSED = {
    "unknown key": (["model.learnin_rate=0.1"], ["model.learnin_rate", "Did you mean 'model.learning_rate'?"]),
    "unknown block": (["modle.dropout=0.1"], ["modle.dropout", "not a key"]),
    "added key": (["+nothing=1"], ["nothing", "not a key"]),
    "untagged tag": (["experiment.tags.desk=fx"], ["+experiment.tags.desk=VALUE"]),
    "wrong type": (["model.learning_rate=fast"], ["model.learning_rate must be a number; got 'fast'"]),
    "wrong type in a list": (["model.hidden_layers=[64,x]"], ["model.hidden_layers[1]", "a whole number"]),
    "impossible value": (["training.epochs=0"], ["training.epochs must be 1 or more; got 0"]),
    "unknown option": (["model=mlpp"], ["model=mlpp", "linear, lstm, mlp", "Did you mean 'mlp'?"]),
    "unknown name": (
        ["training.optimizer=adamw"],
        ["training.optimizer must be", "Did you mean 'AdamW'?"],
    ),
    "the guide's spelling": (["--model.learning_rate", "0.005"], ["model.learning_rate=0.005"]),
    "no equals sign": (["epochs"], ["'epochs'", "KEY=VALUE"]),
    "lost interpolation": (["seed=${sead}"], ["'sead'", "Did you mean 'seed'?"]),
    "a mapping of tags": (["experiment.tags={a: 1}"], ["+experiment.tags.NAME=VALUE"]),
    "a list for a range": (
        ["hpo.param_space.learning_rate=[0.1,0.2]"],
        ["hpo.param_space.learning_rate=choice(1,2,3)"],
    ),
    "a step for a range without one": (
        ["hpo.param_space.learning_rate={low: 0.1, high: 0.9, step: 0.1}"],
        ["hpo.param_space.learning_rate.step is not a key", "+hpo.param_space.learning_rate.step=VALUE"],
    ),
    "null for a value": (["data.features=null"], ["data.features must have a value"]),
    "a store in memory": (["tracking.uri=sqlite://"], ["in memory"]),
    "a database that is down": (
        ["tracking.uri=postgresql://me:pw@127.0.0.1:9/x"],
        ["postgresql://***@127.0.0.1:9/x", "nothing listens there"],
    ),
    "a directory as store": (["tracking.uri=mlruns"], ["tracking.uri=mlruns", "sqlite:///mlflow.db"]),
    "unknown objective": (
        ["hpo.metric=val_sharp"],
        ["hpo.metric must be", "Did you mean 'val_sharpe'?"],
    ),
    "no objective": (["hpo.metric=[]", "hpo.direction=[]"], ["hpo.metric is empty"]),
    "two learning rates": (
        ["model.learning_rate=0.1", "training.learning_rate=0.2"],
        ["model.learning_rate=0.1", "training.learning_rate=0.2", "one value"],
    ),
    "input_dim at odds": (["model.input_dim=7"], ["model.input_dim=7", "10 features", "set it to 10"]),
    "loss at odds with target": (["training.loss=bce"], ["training.loss=bce", "data.target=direction"]),
    "split over 1": (["data.split.train=0.9"], ["data.split", "1.2"]),
    "split date outside": (
        ["data.split.train_end=1999-01-01", "data.split.val_end=2010-01-01"],
        ["data.split.train_end", "1999-01-01", "2000-03-01"],
    ),
    "no file named": (["data=csv"], ["data.path=FILE"]),
    "missing file": (["data=csv", "data.path=nope.csv"], ["nope.csv", "no file"]),
    "a role of no column": (
        ["data=csv", "data.path=bars.csv", "data.columns={clos: Last}"],
        ["data.columns.clos", "Did you mean 'data.columns.close'?"],
    ),
    "unknown feature": (["data.features=[ret_2]"], ["data.features", "ret_2", "Did you mean"]),
    "absent device": (["training.device=mps"], ["training.device", "mps", "cpu"]),
    "unwritable store": (["tracking.uri=sqlite:////proc/x.db"], ["tracking.uri=sqlite:////proc/x.db"]),
    "store in no directory": (["tracking.uri=sqlite:////nowhere/x.db"], ["/nowhere", "does not exist"]),
    "store is no database": (["tracking.uri=sqlite:///text.db"], ["text.db", "not a database"]),
    "registering the winner of a sweep, which has none": (
        ["--multirun", "hydra/sweeper=basic", "seed=1,2", "tracking.register=name"],
        ["tracking.register=name", "a plain sweep has no winner"],
    ),
    "forbidden target": (["+hydra.callbacks.x._target_=subprocess.run"], ["subprocess.run"]),
    "callback of a package that plugins does not name": (
        ["+hydra.callbacks.x._target_=my_desk.callbacks.Logbook"],
        ["my_desk.callbacks.Logbook", "plugins=[my_desk.callbacks]"],
    ),
}


SLOW = {  # these are refused after the heavy imports, or by the data, which have their own tests
    "a database that is down",
    "absent device",
    "registering the winner of a sweep, which has none",
    "split date outside",
    "split over 1",
    "store in no directory",
    "unknown feature",
    "unwritable store",
}


@pytest.mark.parametrize("case", [pytest.param(case, marks=in_ci if case in SLOW else ()) for case in REFUSED])
def test_bad_input_is_refused_with_a_message_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    overrides, expected = REFUSED[case]
    (tmp_path / "text.db").write_text("no database, but long enough to be looked at as one" * 20)
    before = sorted(tmp_path.rglob("*"))
    done = train(tmp_path, *overrides)
    assert done.status == 1
    for text in expected:
        assert text in done.err
    assert done.err.startswith("Error: ") and "Traceback" not in done.err
    assert done.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_the_database_of_another_program_is_refused_untouched(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE runs (a)")
    before = (tmp_path / "mlflow.db").read_bytes()
    done = train(tmp_path)
    assert done.status == 1
    assert "another program" in done.err and "table runs" in done.err
    assert (tmp_path / "mlflow.db").read_bytes() == before


@in_ci
def test_a_directory_with_spaces_and_other_letters_can_be_started_from(store_template: Path, tmp_path: Path) -> None:
    folder = tmp_path / "spaß und #"
    folder.mkdir()
    shutil.copy(store_template, folder / "mlflow.db")
    done = train(folder, "data=synthetic", "training=smoke")
    assert done.status == 0, done.err
    assert (folder / "mlruns").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["spaß und #"]


@pytest.mark.parametrize("name", ["quest?x", "pct%20x"])
def test_a_directory_that_an_sqlite_address_cannot_name_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    done = train(folder)
    assert done.status == 1
    assert name in done.err and "% or ?" in done.err
    assert [path.name for path in tmp_path.rglob("*")] == [name]


@in_ci
def test_a_kill_while_the_store_is_made_leaves_it_makeable(tmp_path: Path) -> None:
    making = subprocess.Popen([sys.executable, "-m", "tradingbot_exp.train"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".mlflow.db.new")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    making.kill()
    making.wait()
    assert not (tmp_path / "mlflow.db").exists() or (tmp_path / "mlflow.db").stat().st_size == 0
    done = train(tmp_path, "data=synthetic", "training=smoke")
    assert done.status == 0, done.err


def test_hydra_full_error_adds_the_traceback(tmp_path: Path) -> None:
    done = train(tmp_path, "training.epochs=0", env={"HYDRA_FULL_ERROR": "1"})
    assert done.status == 1
    assert "Traceback" in done.err and "Error: training.epochs must be" in done.err


@in_ci
def test_a_server_that_is_down_is_refused_without_its_password(tmp_path: Path, free_port: int) -> None:
    uri = f"http://me:{SECRET}@127.0.0.1:{free_port}"
    done = train(tmp_path, f"tracking.uri={uri}", env={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"})
    assert done.status == 1
    assert "nothing listens there" in done.err and f"127.0.0.1:{free_port}" in done.err
    assert SECRET not in done.err + done.out
    assert list(tmp_path.iterdir()) == []


def test_a_bar_that_cannot_be_names_file_line_and_value(tmp_path: Path) -> None:
    bars = load_bars(DataConfig(name="ibm")).frame.reset_index()
    bars.loc[100, "high"] = bars.loc[100, "low"] / 2
    bars.to_csv(tmp_path / "bars.csv", index=False)
    done = train(tmp_path, "data=csv", "data.path=bars.csv")
    assert done.status == 1
    assert "bars.csv" in done.err and "line 102" in done.err and "high" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["bars.csv"]


def test_a_full_disk_is_refused_before_training(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        give_up("mounting a small file system takes root's rights")
    try:
        done = train(small)
        left = list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert done.status == 1
    assert "The disk is full" in done.err and str(small) in done.err
    assert left == []


def test_help_shows_the_keys_and_how_to_use_them(tmp_path: Path) -> None:
    done = train(tmp_path, "--help")
    assert done.status == 0
    for text in (
        "model.learning_rate=0.005",
        "data=csv",
        "--multirun",
        "hidden_layers",
        "cost_bps",
        "mlp",
        "mlflow ui",
    ):
        assert text in done.out
