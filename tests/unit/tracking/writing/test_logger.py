"""The logger finds its run: an organizer's, MLflow's own, or the one it is given; without any it says so."""

from __future__ import annotations

import contextlib
import contextvars
import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, RobustScaler, StandardScaler
from support import artifact_folder
from torch import nn

from tradingbot_exp import EnhancedMLflowLogger, ExperimentOrganizer
from tradingbot_exp.errors import ConfigError, TrackingError
from tradingbot_exp.tracking.reading.fetch import study_record
from tradingbot_exp.tracking.store import places
from tradingbot_exp.tracking.store.client import open_client
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.store import open_store
from tradingbot_exp.tracking.writing.active import current_run, mlflow_active
from tradingbot_exp.tracking.writing.characteristics import in_train_deviations, scaler_record
from tradingbot_exp.tracking.writing.outbox import recorder


@pytest.fixture
def organizer(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentOrganizer:
    monkeypatch.chdir(workdir)
    uri = f"sqlite:///{workdir / 'mlflow.db'}"
    names = SimpleNamespace(name="unit", run_name=None, description=None, tags={"a": 1})
    return ExperimentOrganizer(SimpleNamespace(experiment=names, tracking=SimpleNamespace(uri=uri, on_error="raise")))


@pytest.fixture
def client(organizer: ExperimentOrganizer) -> MlflowClient:
    return organizer.connect()[0]


def test_a_study_of_ones_own_has_a_parent_run_and_a_child_a_trial_that_say_how_they_ended(
    organizer: ExperimentOrganizer, client: MlflowClient, workdir: Path
) -> None:
    logger, ids = EnhancedMLflowLogger(), []
    ends = [None, None, optuna.TrialPruned(), ValueError("no"), KeyboardInterrupt()]
    with organizer.start_study("by hand") as study:
        logger.log_config({"hpo": {"param_space": {"rate": [0, 1, 2, 3, 4]}, "num_trials": 5}})
        for number, error in enumerate(ends):
            expected = contextlib.suppress(ValueError, KeyboardInterrupt, optuna.TrialPruned)
            with expected, organizer.start_trial(number) as trial:
                ids.append(trial.run_id)
                logger.log_config({"rate": number})
                mlflow.log_metric("val_loss", 1.0 - number)
                if error is not None:
                    raise error
        logger.log_metrics({"best_value": 0.0})
    assert current_run() is None and mlflow.active_run() is None
    parent = client.get_run(study.run_id)
    assert (parent.info.run_name, parent.info.status) == ("hpo-by hand", "FINISHED")
    assert (
        parent.data.tags.items()
        >= {"run.kind": "study", "study.name": "by hand", "study.sampler": "own loop", "a": "1"}.items()
    )
    assert parent.data.metrics == {"best_value": 0.0}
    found = [client.get_run(each) for each in ids]
    assert [each.info.status for each in found] == ["FINISHED", "FINISHED", "FINISHED", "FAILED", "KILLED"]
    states = [each.data.tags["trial.state"] for each in found]
    assert states == ["complete", "complete", "pruned", "failed", "interrupted"]
    assert found[3].data.tags["error"] == "ValueError: no" and "error" not in found[2].data.tags
    for number, each in enumerate(found):
        assert each.info.run_name == f"trial-000{number}" and each.data.metrics == {"val_loss": 1.0 - number}
        wanted = {"run.kind": "trial", "study.name": "by hand", "trial.number": str(number), "a": "1"}
        assert each.data.tags.items() >= {**wanted, "mlflow.parentRunId": study.run_id}.items()
    record = study_record(open_store(workdir), parent)
    assert [(each.number, each.state) for each in record.trials] == list(enumerate(states))
    assert [each.values for each in record.trials[:2]] == [(1.0,), (0.0,)]


def test_a_trial_needs_the_study_that_its_organizer_has_open_and_a_number(organizer: ExperimentOrganizer) -> None:
    outside = r"start_trial\(0\) has no study. Put it inside `with organizer.start_study"
    with pytest.raises(TrackingError, match=outside), organizer.start_trial(0):
        pass
    for name in ("", " ", None):
        wrong = pytest.raises(TrackingError, match="a study's name is a text")
        with wrong, organizer.start_study(name):  # type: ignore[arg-type]
            pass
    with organizer.start_study("outer"):
        for number in (-1, "1", True):
            wrong = pytest.raises(TrackingError, match="a trial's number is an integer from 0 on")
            with wrong, organizer.start_trial(number):  # type: ignore[arg-type]
                pass
        with organizer.start_study("inner"), organizer.start_trial(0):
            pass
        with organizer.start_trial(1) as trial:
            pass
    run = organizer.connect()[0].get_run(trial.run_id)
    assert run.data.tags["study.name"] == "outer" and run.info.run_name == "trial-0001"


def test_on_a_full_disk_no_run_is_started_and_those_that_are_there_can_be_read(
    organizer: ExperimentOrganizer, client: MlflowClient, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with organizer.start_run() as run:
        pass
    monkeypatch.setattr(places, "MIN_FREE_BYTES", 2**62)
    assert find_run(open_store(workdir), run.run_id).info.status == "FINISHED"
    with pytest.raises(TrackingError, match="The disk is full"):
        ExperimentOrganizer(organizer.config).connect()
    with pytest.raises(TrackingError, match="The disk is full"):
        open_client(f"sqlite:///{workdir / 'new.db'}")


@pytest.mark.parametrize("given", [None, "config.yaml", SimpleNamespace(experiment=None)], ids=repr)
def test_an_organizer_of_something_else_than_a_configuration_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match=r"without the blocks experiment and tracking\. Give it what Configuration"):
        ExperimentOrganizer(given)  # type: ignore[arg-type]


def test_a_run_that_cannot_be_made_the_active_one_leaves_mlflow_as_it_was(
    organizer: ExperimentOrganizer, workdir: Path
) -> None:
    def begin() -> None:
        run = organizer.open_run()
        with contextlib.closing(sqlite3.connect(workdir / "mlflow.db")) as database, database:
            database.execute("DELETE FROM runs")
        with mlflow_active(run, "sqlite:///elsewhere.db"):
            raise AssertionError("there is no such run any more")

    before = mlflow.get_tracking_uri()
    with pytest.raises(MlflowException, match="not found"):
        contextvars.copy_context().run(begin)
    assert mlflow.get_tracking_uri() == before and mlflow.active_run() is None


def test_outside_any_run_every_method_says_what_to_do() -> None:
    with pytest.raises(TrackingError, match="No run is open to log to"):
        EnhancedMLflowLogger().log_metrics({"a": 1.0})


def test_the_innermost_run_of_an_organizer_is_written_to(organizer: ExperimentOrganizer, client: MlflowClient) -> None:
    logger = EnhancedMLflowLogger()
    with organizer.start_run(run_name="outer") as outer:
        logger.log_metrics({"m": 1.0})
        with organizer.start_run(run_name="inner", parent=outer.run_id) as inner:
            logger.log_metrics({"m": 2.0}, step=3)
            mlflow.log_metric("plain", 5.0)
        logger.log_metrics({"n": 4.0})
    assert current_run() is None and mlflow.active_run() is None
    outer_data, inner_data = client.get_run(outer.run_id).data, client.get_run(inner.run_id).data
    assert outer_data.metrics == {"m": 1.0, "n": 4.0}
    assert inner_data.metrics == {"m": 2.0, "plain": 5.0}
    assert inner_data.tags["mlflow.parentRunId"] == outer.run_id and outer_data.tags["a"] == "1"


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_run_ends_with_its_true_status(
    organizer: ExperimentOrganizer, client: MlflowClient, error: BaseException | None, status: str
) -> None:
    def body() -> str:
        with organizer.start_run() as run:
            holder.append(run.run_id)
            if error is not None:
                raise error
        return run.run_id

    holder: list[str] = []
    if error is None:
        body()
    else:
        with pytest.raises(type(error)):
            body()
    info = client.get_run(holder[0]).info
    assert info.status == status and info.end_time is not None


def test_inside_a_plain_mlflow_run_the_logger_writes_there(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workdir)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workdir / 'mlflow.db'}")
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    logger = EnhancedMLflowLogger()
    with mlflow.start_run() as active:
        logger.log_config({"training": {"epochs": 2}, "uri": "http://a:b@c/"})
        logger.log_environment_details()
        logger.log_model_summary(model, "model_architecture.txt")
        logger.log_training_history({"train_loss": [2.0, 1.0], "val_loss": [3.0, 4.0]})
        logger.log_metrics({"final_loss": 4.0})
        frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=["a", "b", "c"])
        logger.log_data_characteristics(frame, scaler=RobustScaler().fit(frame))
        logger.log_predictions(np.zeros(5), np.ones(5))
        logger.log_feature_importance({"a": 0.5, "b": 0.1})
        logger.log_model(model, feature_names=["a", "b", "c"], scaler=StandardScaler().fit(frame.to_numpy()))
    run = MlflowClient().get_run(active.info.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"training.epochs": "2", "uri": "http://***@c/"}
    assert run.data.metrics == {"train_loss": 1.0, "val_loss": 4.0, "final_loss": 4.0}
    folder = artifact_folder(run)
    card = json.loads((folder / "data" / "data_card.json").read_text())
    assert card["statistics"]["train"]["features"]["b"]["mean"] == pytest.approx(frame["b"].mean())
    (histogram, *_) = json.loads((folder / "data" / "feature_histograms.json").read_text())
    assert (histogram["name"], len(histogram["train"]), histogram["ks"]) == ("a", 30, None)
    assert -4 < histogram["edges"][0] < histogram["edges"][-1] < 4
    importance = pd.read_csv(folder / "evaluation" / "feature_importance.csv")
    assert importance.to_dict("list")["mean"] == [0.5, 0.1] and importance["std"].isna().all()
    assert "Linear" in (folder / "model_architecture.txt").read_text()
    loaded = mlflow.pyfunc.load_model(str(folder / "model"))
    scaled = torch.tensor(StandardScaler().fit_transform(frame.to_numpy()), dtype=torch.float32)
    np.testing.assert_allclose(loaded.predict(frame), model(scaled).detach().numpy()[:, 0], atol=1e-6)


def test_metrics_reach_the_store_while_the_run_is_open(
    organizer: ExperimentOrganizer, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    assert recorder.FLUSH_SECONDS <= 10
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.2)
    with organizer.start_run() as run:
        run.log_metrics({"m": 1.0}, 1)
        deadline = time.monotonic() + 20
        while not client.get_run(run.run_id).data.metrics and time.monotonic() < deadline:
            time.sleep(0.05)
        assert client.get_run(run.run_id).data.metrics == {"m": 1.0}


def test_metrics_that_cannot_be_sent_wait_for_the_next_try(
    organizer: ExperimentOrganizer, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with organizer.start_run() as run:
        MlflowClient(run.uri).delete_run(run.run_id)  # a deleted run takes nothing
        run.log_metrics({"m": 1.0}, 1)
        with pytest.raises(TrackingError):
            run.flush()
        client.restore_run(run.run_id)
        run.log_metrics({"m": 2.0}, 2)
    assert [point.value for point in client.get_metric_history(run.run_id, "m")] == [1.0, 2.0]


def test_more_metrics_and_params_than_mlflow_takes_at_once_all_arrive(
    organizer: ExperimentOrganizer, client: MlflowClient
) -> None:
    with organizer.start_run() as run:
        for step in range(1, 1502):
            run.log_metrics({"a": float(step), "b": -float(step)}, step)
        run.log_params({f"p{number}": number for number in range(250)} | {"long": "x" * 7000, "odd@name": 1})
        run.set_tags({f"t{number}": number for number in range(150)})
    data = client.get_run(run.run_id).data
    assert [point.value for point in client.get_metric_history(run.run_id, "a")] == list(range(1, 1502))
    assert len([name for name in data.params if name.startswith("p")]) == 250 and data.params["odd_name"] == "1"
    assert len(data.params["long"]) == 6000 and data.params["long"].endswith("(cut; whole in the artifacts)")
    assert data.tags["t149"] == "149"


@pytest.mark.parametrize(("name", "value"), [("bad@name", 1.0), ("", 1.0), ("good", "text"), ("good", None)])
def test_a_metric_that_mlflow_would_not_take_is_refused_by_name(
    organizer: ExperimentOrganizer, name: str, value: object
) -> None:
    with organizer.start_run(), pytest.raises(TrackingError, match=name or "''"):
        EnhancedMLflowLogger().log_metrics({name: value})  # type: ignore[dict-item]


def test_a_deleted_experiment_is_refused_with_what_to_do(organizer: ExperimentOrganizer, client: MlflowClient) -> None:
    client.delete_experiment(organizer.connect()[1])
    fresh = ExperimentOrganizer(organizer.config)
    with pytest.raises(TrackingError, match="'unit' was deleted"):
        fresh.connect()


def test_features_are_scaled_to_the_deviations_of_train_alone() -> None:
    train, val = np.array([[1.0, 5.0], [3.0, 5.0], [np.nan, 5.0]]), np.array([[4.0, 6.0]])
    scaled = in_train_deviations(train, val)
    np.testing.assert_allclose(scaled[0], [[-1.0, 0.0], [1.0, 0.0], [np.nan, 0.0]])
    np.testing.assert_allclose(scaled[1], [[2.0, 1.0]])
    tenths = np.full((3, 1), 0.1)
    np.testing.assert_allclose(in_train_deviations(tenths, tenths)[0], 0.0, atol=1e-12)


@pytest.mark.parametrize("kind", [StandardScaler, RobustScaler, MinMaxScaler])
def test_any_affine_scaler_is_recorded_as_mean_and_scale(kind: type) -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(40, 2))
    scaler = kind().fit(values)
    record = scaler_record(scaler, ["a", "b"])
    again = (values - np.array(record["mean"])) / np.array(record["scale"])
    np.testing.assert_allclose(again, scaler.transform(values), atol=1e-12)
    assert record["feature_names"] == ["a", "b"]


def test_a_scaler_of_another_form_has_no_mean_and_scale() -> None:
    values = np.random.default_rng(0).normal(size=(40, 2))
    record = scaler_record(QuantileTransformer(n_quantiles=10).fit(values), ["a", "b"])
    assert record["mean"] is None and record["scale"] is None and record["kind"] == "sklearn.QuantileTransformer"
