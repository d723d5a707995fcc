"""`train` in a process gives what the command gives, and leaves the process as it was; `load_run` gives a run back."""

from __future__ import annotations

import _thread
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from mlflow import MlflowClient
from omegaconf import OmegaConf
from support import Finished, artifact_folder, in_ci
from support import train as train_by_command

from tradingbot_exp import load_run, train
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.config.schema import Config
from tradingbot_exp.data import prepare_data
from tradingbot_exp.errors import ConfigError, DataError, DivergedError, RunError, TrackingError
from tradingbot_exp.recorded.loaded import LoadedRun
from tradingbot_exp.tracking.writing.active import current_run

OVERRIDES = ["model.learning_rate=0.005", "training.epochs=3", "experiment.run_name='<b>mine</b>'"]
SMALL = ["data=synthetic", "training=smoke", "tracking.report=false"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Path:
    place = tmp_path_factory.mktemp("notebook")
    shutil.copy(store_template, place / "mlflow.db")
    return place


@pytest.fixture(scope="module")
def run(folder: Path) -> Iterator[LoadedRun]:
    """A run that was trained in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield train(OVERRIDES)


@pytest.fixture
def here(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workdir)
    return workdir


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_it_gives_the_numbers_tags_params_and_artifacts_of_the_command(
    run: LoadedRun, folder: Path, workdir: Path
) -> None:
    command: Finished = train_by_command(workdir, *OVERRIDES)
    assert command.status == 0, command.err
    theirs = command.run
    assert run.metrics == theirs.data.metrics
    for name in ("train_loss", "val_loss"):
        points = command.client.get_metric_history(theirs.info.run_id, name)
        assert run.history[name].to_list() == [point.value for point in points]
    assert run.tags["config.sha256"] == theirs.data.tags["config.sha256"]
    assert run.tags.keys() == theirs.data.tags.keys()
    where = "tracking.uri"
    assert {**run.params, where: ""} == {**theirs.data.params, where: ""}
    assert run.params[where] == f"sqlite:///{folder / 'mlflow.db'}"
    ours = MlflowClient(run.params[where]).get_run(run.run_id)
    assert files(artifact_folder(ours)) == files(command.artifacts())
    assert OmegaConf.load(artifact_folder(ours) / "config" / "overrides.yaml") == OVERRIDES


def test_the_run_gives_its_configuration_by_attribute(run: LoadedRun) -> None:
    assert isinstance(run.config, Config)
    assert run.config.model.hidden_layers[0] == 64
    assert run.config.training.learning_rate == 0.005


def test_the_run_gives_its_history_and_its_predictions_as_data_frames(run: LoadedRun) -> None:
    assert list(run.history.index) == [1, 2, 3] and run.history.index.name == "epoch"
    assert list(run.history.columns) == ["train_loss", "val_loss"]
    assert run.history["val_loss"].iloc[-1] == run.metrics["final_loss"]
    frame = run.predictions
    assert frame["date"].iloc[0] == pd.Timestamp("2009-04-22") and len(frame) == 484
    assert ((frame["actual"] - frame["forecast"]) ** 2).mean() == pytest.approx(run.metrics["val_mse"], rel=1e-12)


def test_the_runs_model_forecasts_from_unscaled_features_what_the_run_recorded(run: LoadedRun) -> None:
    data = prepare_data(run.config.data, "float32")
    features = pd.DataFrame(data.raw[data.val.rows], columns=list(data.feature_names))
    assert run.model is run.model
    np.testing.assert_allclose(run.model.predict(features), run.predictions["forecast"], rtol=1e-6)


def test_a_run_shows_itself_in_one_line_and_as_a_table_of_escaped_text(run: LoadedRun) -> None:
    assert repr(run) == f"LoadedRun('<b>mine</b>', run_id='{run.run_id}', status='FINISHED')"
    table = run._repr_html_()
    assert "&lt;b&gt;mine&lt;/b&gt;" in table and "<b>" not in table
    assert f"<th>final_loss</th><td>{run.metrics['final_loss']:.6g}</td>" in table
    assert table.startswith("<table>") and table.count("<tr>") == table.count("</tr>") <= 32


def test_trained_twice_it_gives_the_same_bits_and_two_runs(here: Path) -> None:
    first, second = train(SMALL), train(SMALL)
    assert first.run_id != second.run_id
    assert first.metrics == second.metrics
    assert load_run().run_id == load_run("latest").run_id == second.run_id
    assert load_run(first.run_id[:10]).run_id == first.run_id


def test_the_store_is_in_the_directory_that_the_process_is_in_now(here: Path, store_template: Path) -> None:
    first = train(SMALL)
    (here / "below").mkdir()
    shutil.copy(store_template, here / "below" / "mlflow.db")
    os.chdir(here / "below")
    second = train(SMALL)
    assert load_run().run_id == second.run_id
    assert load_run(first.run_id, here).run_id == first.run_id
    assert artifact_folder(MlflowClient("sqlite:///mlflow.db").get_run(second.run_id)).is_relative_to(here / "below")
    with pytest.raises(RunError):
        load_run(first.run_id)


def test_the_store_is_where_the_environment_says(
    here: Path, store_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(store_template, here / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/other.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    run = train(SMALL)
    assert load_run().run_id == run.run_id and run.record.experiment == "theirs"
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{here}/other.db"


def test_it_leaves_the_process_as_it_was(here: Path) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    cwd, random = Path.cwd(), torch.get_rng_state()
    with initialize_config_dir(str(conf_dir()), job_name="theirs"):
        theirs = GlobalHydra.instance().hydra
        train(SMALL)
        with pytest.raises(ConfigError):
            train(["training.epochs=0"])
        assert GlobalHydra.instance().hydra is theirs and compose("config").seed == 42
    assert not GlobalHydra.instance().is_initialized() and not HydraConfig.initialized()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert current_run() is None and mlflow.active_run() is None and not mlflow.is_tracking_uri_set()
    assert "MLFLOW_TRACKING_URI" not in os.environ and Path.cwd() == cwd
    assert torch.equal(torch.get_rng_state(), random)
    assert not (here / "outputs").exists()


def test_what_is_wrong_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for overrides, kind, text in (
        (["training.epochs=0"], ConfigError, "training.epochs must be 1 or more; got 0"),
        (["model.learnin_rate=1"], ConfigError, "Did you mean 'model.learning_rate'"),
        (["seed=1,2"], ConfigError, "a sweep over several values"),
        ("seed=1", ConfigError, "expected is a list of texts"),
        (["hydra.run.dir=x"], ConfigError, "steers Hydra's command line"),
        (["model.input_dim=7"], ConfigError, "model.input_dim=7, but data.features names 10"),
        (["data=csv", "data.path=nope.csv"], DataError, "nope.csv"),
        (["tracking.uri=sqlite:////nowhere/x.db"], TrackingError, "/nowhere does not exist"),
    ):
        with pytest.raises(kind, match=text):
            train(overrides)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_is_failed_and_raises_its_error(here: Path) -> None:
    with pytest.raises(DivergedError):
        train([*SMALL, "training.optimizer=SGD", "model.learning_rate=10", "training.epochs=200"])
    failed = load_run()
    assert failed.status == "FAILED" and "DivergedError" in failed.tags["error"]
    assert len(failed.history) == int(failed.history.index[-1]) and "DivergedError" in failed._repr_html_()
    with pytest.raises(RunError, match=rf"{failed.run_id} .*FAILED\) has no artifact evaluation/validation_returns"):
        failed.predictions  # noqa: B018
    with pytest.raises(RunError, match="has no artifact model"):
        failed.model  # noqa: B018


@in_ci
def test_an_interrupted_run_is_killed_and_the_interrupt_goes_on(here: Path) -> None:
    client = MlflowClient(f"sqlite:///{here / 'mlflow.db'}")

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            experiments = [each.experiment_id for each in client.search_experiments()]
            if any(run.data.metrics for run in client.search_runs(experiments)):
                _thread.interrupt_main()
                return
            time.sleep(0.1)

    # A shell that starts the tests in the background has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    watcher = threading.Thread(target=interrupt)
    watcher.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            train([*SMALL, "training.epochs=1000000", "training.progress=off"])
    finally:
        signal.signal(signal.SIGINT, before)
    watcher.join()
    assert load_run().status == "KILLED" and current_run() is None


def test_records_that_wait_on_disk_are_named(here: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"is trained, but .*\.tradingbot/unsent.*doctor --fix"):
        train([*SMALL, f"tracking.uri=http://127.0.0.1:{free_port}", "tracking.on_error=offline"])
    assert list((here / ".tradingbot" / "unsent").iterdir())


def test_what_is_not_there_is_said_so_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: LoadedRun
) -> None:
    store = run._store.uri
    with pytest.raises(RunError, match="There is no run 'ffff'"):
        load_run("ffff", store)
    for given in (None, 12):
        with pytest.raises(RunError, match=f"There is no run '{given}' in "):
            load_run(given)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="'no id!' is not a run id"):
        load_run("no id!", store)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrackingError, match=r"no tracking store at .*mlflow.db"):
        load_run()
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_another_program_is_loaded_as_far_as_it_goes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here / 'mlflow.db'}")
    with mlflow.start_run() as active:
        mlflow.log_metric("accuracy", 0.5)
        mlflow.log_dict({"layers": [3]}, "config/config.yaml")
    theirs = load_run(active.info.run_id)
    assert theirs.metrics == {"accuracy": 0.5} and theirs.history.empty
    assert theirs.config.layers[0] == 3
    assert "not of this package" in theirs._repr_html_()
    with pytest.raises(RunError, match="has no artifact model"):
        theirs.model  # noqa: B018


def test_a_place_of_artifacts_that_does_not_answer_is_not_a_run_without_a_model(here: Path, free_port: int) -> None:
    client = MlflowClient(f"sqlite:///{here / 'mlflow.db'}")
    place = f"ftp://127.0.0.1:{free_port}/artifacts"
    run_id = client.create_run(client.create_experiment("far", artifact_location=place)).info.run_id
    with pytest.raises(TrackingError, match=r"artifacts of the run .* cannot be listed: .*refused"):
        load_run(run_id).model  # noqa: B018
    own = client.create_run(client.create_experiment("near", artifact_location=(here / "near").as_uri())).info.run_id
    with pytest.raises(RunError, match="has no artifact model"):
        load_run(own).model  # noqa: B018
    assert not load_run(own).has_model
