"""The ways in which the command is used: overrides, sources, models, templates, sweeps, another directory, a wheel."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import uuid
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from support import REPOSITORY, Finished, clean_environment, in_ci, python, train

from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data.sources import load_bars

QUICK = ["training=smoke", "training.progress=off"]


@in_ci
def test_an_lstm_on_own_parquet_bars_is_trained_and_its_model_takes_a_series_of_bars(workdir: Path) -> None:
    load_bars(DataConfig(name="msft")).frame.reset_index().to_parquet(workdir / "bars.parquet")
    done = train(
        workdir,
        *QUICK,
        *("data=csv", "data.path=bars.parquet", "data.name=mine", "model=lstm", "data.sequence_length=20"),
        "data.features=[ret_1,vol_20,clv]",
    )
    assert done.status == 0, done.err
    assert done.run.info.run_name.startswith("lstm-mine-")
    assert done.run.data.params["model.input_dim"] == "3"
    model = mlflow.pyfunc.load_model(str(done.artifacts() / "model"))
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(25, 3)), columns=["ret_1", "vol_20", "clv"])
    forecast = model.predict(rows)
    assert np.isnan(forecast[:19]).all() and np.isfinite(forecast[19:]).all()


@in_ci
def test_a_table_with_0_1_targets_trains_with_bce_and_says_what_is_not_defined(workdir: Path) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(600, 2))
    table = pd.DataFrame(x, columns=["a", "b"])
    table.insert(0, "date", pd.date_range("2020-01-01", periods=600, freq="D"))
    table["up"] = (x[:, 0] + rng.normal(size=600) > 0).astype(int)
    table.to_csv(workdir / "table.csv", index=False)
    done = train(
        workdir,
        *("data=table", "data.path=table.csv", "data.features=[a,b]", "data.target=up", "training.loss=bce"),
        *("model=linear", "model.learning_rate=0.05", "training.epochs=20", "training.progress=off"),
    )
    assert done.status == 0, done.err
    run = done.run
    assert run.data.metrics["val_hit_rate"] > 0.65
    assert "val_sharpe" not in run.data.metrics
    assert run.data.tags["undefined.val_sharpe"].startswith("not defined, because")
    logged = pd.read_csv(done.artifacts() / "evaluation" / "validation_returns.csv")
    assert logged["forecast"].between(0, 1).all()
    model = mlflow.pyfunc.load_model(str(done.artifacts() / "model"))
    val = table.loc[420:508, ["a", "b"]].astype(float)
    np.testing.assert_allclose(model.predict(val), logged["forecast"], atol=1e-6)


@in_ci
def test_training_learning_rate_counts_for_both_and_a_known_signal_is_found(workdir: Path) -> None:
    done = train(
        workdir,
        *("data=synthetic", "model=linear", "training.learning_rate=0.003", "training.epochs=30"),
        *("training.progress=off", "+experiment.tags.desk=fx", "experiment.run_name=mine"),
        *("experiment.description=a note", "experiment.name=own", "evaluation.cost_bps=0"),
    )
    assert done.status == 0, done.err
    run = done.run
    assert run.data.params["model.learning_rate"] == run.data.params["training.learning_rate"] == "0.003"
    assert run.data.metrics["val_ic"] > 0.15
    assert run.info.run_name == "mine"
    assert run.data.tags["desk"] == "fx" and run.data.tags["mlflow.note.content"] == "a note"
    assert done.client.get_experiment(run.info.experiment_id).name == "own"


@in_ci
def test_environment_variables_set_store_and_experiment_below_the_command_line(workdir: Path) -> None:
    other = workdir / "other.db"
    other.write_bytes((workdir / "mlflow.db").read_bytes())
    env = {"MLFLOW_TRACKING_URI": f"sqlite:///{other}", "MLFLOW_EXPERIMENT_NAME": "from-env"}
    done = train(workdir, *QUICK, "data=synthetic", env=env)
    assert done.status == 0, done.err
    client = mlflow.MlflowClient(f"sqlite:///{other}")
    experiment = client.get_experiment_by_name("from-env")
    assert experiment is not None and len(client.search_runs([experiment.experiment_id])) == 1
    assert done.runs() == []
    assert f"mlflow ui --backend-store-uri sqlite:///{other}" in done.out and done.err == ""


def test_a_sweep_has_one_parent_and_a_child_for_each_job_one_after_another_also_for_one_that_fails(
    workdir: Path,
) -> None:
    done = train(
        workdir,
        *("--multirun", "hydra/sweeper=basic", "data=synthetic", "training.optimizer=SGD"),
        *("model.learning_rate=0.001,10", "training.epochs=15", "training.progress=off"),
    )
    assert done.status == 1
    assert "not finite" in done.err or "diverged" in done.err
    parent, first, second = done.runs()
    assert parent.data.tags["run.kind"] == "sweep" and parent.info.status == "FAILED"
    assert [child.info.run_name for child in (first, second)] == ["trial-0000", "trial-0001"]
    assert [child.info.status for child in (first, second)] == ["FINISHED", "FAILED"]
    assert first.data.tags["engine"] == "single" and first.info.end_time <= second.info.start_time
    assert "one after another" not in done.out + done.err  # as Hydra does it: nothing to explain
    for number, child in enumerate((first, second)):
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.tags["run.kind"] == "trial" and child.data.tags["trial.number"] == str(number)
    assert first.data.params["training.learning_rate"] == "0.001"


@in_ci
def test_a_plain_sweep_over_files_is_checked_with_its_first_value_and_keeps_no_password(
    workdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = uuid.uuid4().hex
    for name in ("ibm", "msft"):
        load_bars(DataConfig(name=name)).frame.reset_index().to_csv(workdir / f"{name}.csv", index=False)
    done = train(
        workdir,
        *("--multirun", "hydra/sweeper=basic", "data=csv", "data.path=ibm.csv,msft.csv", "training=smoke"),
        *(f"experiment.description='http://me:{secret}@host/'", "hydra.job.chdir=true"),
    )
    assert done.status == 0, done.err
    _parent, *children = done.runs()
    assert [child.data.params["data.path"] for child in children] == ["ibm.csv", "msft.csv"]
    assert len({child.data.tags["data.fingerprint"] for child in children}) == 2
    assert (workdir / "multirun").is_dir()
    for file in workdir.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file
    refused = train(workdir, "--multirun", "hydra/sweeper=basic", "data=csv", "data.path=gone.csv,msft.csv")
    assert refused.status == 1 and "gone.csv" in refused.err
    assert len(done.runs()) == 3


def test_on_a_terminal_there_is_a_bar_with_epoch_losses_and_time_left(workdir: Path) -> None:
    main, follower = pty.openpty()
    termios.tcsetwinsize(follower, (40, 120))
    process = subprocess.Popen(
        [sys.executable, "-m", "tradingbot_exp.train", "data=synthetic", "training=smoke"],
        cwd=workdir,
        env=clean_environment({"TERM": "xterm", "COLUMNS": "120"}),
        stdout=follower,
        stderr=follower,
        stdin=subprocess.DEVNULL,
    )
    os.close(follower)
    text = b""
    while True:
        try:
            text += os.read(main, 65536)
        except OSError:
            break
    os.close(main)
    assert process.wait() == 0
    assert "2/2" in text.decode() and "train 0.0" in text.decode() and "100%" in text.decode()


@in_ci
def test_the_wheel_carries_conf_and_runs_from_another_directory(
    workdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    built, site = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), str(REPOSITORY)]
    subprocess.run([*pip, *wheel], check=True, cwd=built)
    (file,) = built.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(file)], check=True)
    where = python(
        workdir, "-c", "import tradingbot_exp; print(tradingbot_exp.__file__)", env={"PYTHONPATH": str(site)}
    )
    assert where.out.startswith(str(site))
    done = train(workdir, *QUICK, "experiment=basic_training_example", env={"PYTHONPATH": str(site)}, fresh=True)
    assert done.status == 0, done.err
    assert done.client.get_experiment(done.run.info.experiment_id).name == "basic_training_example"
    assert done.run.data.tags["model_type"] == "mlp"


def test_shell_completion_offers_groups_and_keys(tmp_path: Path) -> None:
    env = {"COMP_LINE": "tradingbot-train model=", "COMP_POINT": "23"}
    program = str(Path(sys.executable).with_name("tradingbot-train"))
    command = [program, "-sc", "query=bash"]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(env), capture_output=True, text=True, check=False
    )
    assert {"model=linear", "model=lstm", "model=mlp"} <= set(done.stdout.split())


@in_ci
def test_without_the_callback_the_job_still_opens_its_run(workdir: Path) -> None:
    done: Finished = train(workdir, *QUICK, "data=synthetic", "~hydra.callbacks.tracking")
    assert done.status == 0, done.err
    assert done.run.info.status == "FINISHED"
    assert "val_sharpe" in done.run.data.metrics
