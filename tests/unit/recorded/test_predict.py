"""`predict` gives for new bars what the run itself would have: the same features, scaling, forecasts and positions."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from support import in_ci

from tradingbot_exp import EnhancedMLflowLogger, ExperimentOrganizer, load_run, run_hpo_study, train
from tradingbot_exp.cli.main import run as command
from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data.panel import Layout
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.errors import ConfigError, DataError, RunError, TrackingError
from tradingbot_exp.evaluation.positions import Sizing
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.recorded.loaded import LoadedRun
from tradingbot_exp.recorded.predict import held_columns, predict
from tradingbot_exp.tracking.store.registry import register_model

QUICK = ["training=smoke", "training.progress=off", "tracking.report=false"]
IBM = load_bars(DataConfig(name="ibm")).frame.reset_index()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Iterator[Path]:
    """A directory with a store, to which the process changes for this module."""
    place = tmp_path_factory.mktemp("prediction")
    shutil.copy(store_template, place / "mlflow.db")
    IBM.to_csv(place / "ibm.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield place


@pytest.fixture(scope="module")
def run(folder: Path) -> LoadedRun:
    return train(["data=csv", "data.path=ibm.csv", *QUICK])


def test_the_original_bars_give_exactly_the_forecasts_and_positions_that_were_logged(run: LoadedRun) -> None:
    found = predict(run, "ibm.csv")
    logged = run.predictions.set_index("date")
    ours = found.frame.set_index("date").loc[logged.index]
    assert len(logged) == 484
    assert (ours["forecast"] == logged["forecast"]).all()
    # On its first bar the backtest is still flat; here the bar before has a forecast.
    assert (ours["position"] == logged["position"])[1:].all() and (logged["position"] != 0)[1:].all()
    assert found.left_out == 33 and len(found.frame) == len(IBM) - 33
    assert found.frame["date"].iloc[-1] == IBM["date"].iloc[-1]


def test_of_a_panel_there_are_weights_beside_signal_and_position() -> None:
    layout = Layout(np.repeat([0, 1, 2], 4), np.tile([0, 1, 2, 3], 3), np.ones(12, dtype=int), ("A", "B", "C", "D"))
    forecast = np.array([1.0, 2.0, 3.0, 4.0, 4.0, 3.0, 2.0, 1.0, 0.1, 0.2, 0.4, 0.3])
    found = held_columns(Rules(horizon=2, sizing=Sizing("long_short", quantile=0.25)), forecast, layout)
    assert list(found) == ["signal", "position", "weight"]
    signal = found["signal"].reshape(3, 4)
    assert signal.tolist() == [[-0.5, 0, 0, 0.5], [0, 0, 0, 0], [0, 0, 0.5, -0.5]]
    assert found["position"].tolist() == [0.0] * 4 + found["signal"][:-4].tolist()
    assert found["weight"].tolist() == (found["position"] / 2).tolist()  # ± ½ / k, and k is 1


def test_the_signal_is_the_forecasts_sign_and_the_position_that_of_the_bar_before(run: LoadedRun) -> None:
    frame = run.predict(IBM)
    assert list(frame.columns) == ["date", "forecast", "signal", "position"]
    assert (frame["signal"] == np.sign(frame["forecast"])).all()
    assert frame["position"].iloc[0] == 0
    assert (frame["position"].to_numpy()[1:] == frame["signal"].to_numpy()[:-1]).all()


def test_later_bars_change_nothing_before_them(run: LoadedRun) -> None:
    changed = IBM.copy()
    changed.loc[3000:, ["open", "high", "low", "close"]] *= 1.5
    before, after = run.predict(IBM), run.predict(changed)
    assert before[: 3000 - 33].equals(after[: 3000 - 33])
    assert (before["forecast"] != after["forecast"])[3000 - 33 :].any()


def test_the_command_prints_csv_or_json_and_says_what_it_left_out(
    run: LoadedRun, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = run.predict(IBM)
    assert command(["predict", run.run_id[:12], "--data", "ibm.csv"]) == 0
    told = capsys.readouterr()
    frame = pd.read_csv(io.StringIO(told.out), parse_dates=["date"])
    assert (frame["forecast"] == expected["forecast"]).all() and (frame["position"] == expected["position"]).all()
    assert "3237 forecasts" in told.err and "33 bars at the start left out" in told.err
    assert "The last bar, 2013-03-01, asks for a position of" in told.err and "taken 1 bar later" in told.err
    assert command(["predict", "latest", "--data", "ibm.csv", "--json", "-o", "new/out.json"]) == 0
    assert capsys.readouterr().out == "new/out.json\n"
    record = json.loads((folder / "new" / "out.json").read_text())
    assert record["run_id"] == run.run_id and record["left_out"] == 33 and record["execution_lag"] == 1
    assert record["rows"][-1]["forecast"] == expected["forecast"].iloc[-1]
    assert command(["predict", "latest", "--data", "ibm.csv", "-o", "out.csv"]) == 0
    assert command(["predict", "latest", "--data", "ibm.csv", "--json", "-o", "out.csv"]) == 0  # forecasts of before
    capsys.readouterr()
    for kept in ("ibm.csv", "mlflow.db"):
        content = (folder / kept).read_bytes()
        assert command(["predict", "latest", "--data", "ibm.csv", "-o", kept]) == 1
        assert f"-o {kept} is there already, and holds no forecasts" in capsys.readouterr().err
        assert (folder / kept).read_bytes() == content
    for content in (
        "date,forecast,signal,position,my_note\n2020-01-01,0,0,0,kept\n",
        '{\n  "run_id": "mine"}',
        '{\n  "run_id": "' + "f" * 32 + '",\n  "mine": 1}',
        "date,forecast\n",
    ):
        Path("mine").write_text(content)
        assert command(["predict", "latest", "--data", "ibm.csv", "-o", "mine"]) == 1
        assert Path("mine").read_text() == content
    assert command(["predict", "latest", "--data", "ibm.csv", "-o", "mine", "--force"]) == 0
    capsys.readouterr()
    assert command(["predict", run.run_id, "--data", "nope.csv"]) == 1
    assert "--data=nope.csv: there is no file" in capsys.readouterr().err


def test_bars_that_do_not_fit_are_refused_with_what_is_wrong(run: LoadedRun) -> None:
    hourly = IBM[:200].assign(date=pd.date_range("2020-01-06", periods=200, freq="h"))
    with pytest.raises(DataError, match=r"60-minute bars.*the model was trained on daily"):
        run.predict(hourly)
    every_day = IBM[:200].assign(date=pd.date_range("2020-01-06", periods=200, freq="D"))
    with pytest.raises(DataError, match=r"daily \(all days\).*trained on daily \(business days\)"):
        run.predict(every_day)
    with pytest.raises(DataError, match="has no column 'volume'"):
        run.predict(IBM.drop(columns="volume"))
    with pytest.raises(DataError, match=r"too few rows: 33.*give 34 or more"):
        run.predict(IBM[:33])
    assert len(run.predict(IBM[:34])) == 1
    two = pd.concat([IBM[:50].assign(symbol="IBM"), IBM[:40].assign(symbol="MSFT")])
    with pytest.raises(ConfigError, match=r"2 instruments.*Choose one, as in symbol=IBM"):
        run.predict(two)
    assert len(run.predict(two, symbol="MSFT")) == 40 - 33
    with pytest.raises(ConfigError, match="symbol=AAPL: not in the column"):
        run.predict(two, symbol="AAPL")
    with pytest.raises(DataError, match="bars is of type ndarray: expected is a data frame, or the path of a file"):
        run.predict(IBM.to_numpy())
    with pytest.raises(DataError, match="expected ascending order"):
        run.predict(IBM.iloc[[1, 0, *range(2, 200)]])
    assert run.predict(IBM[:60][::-1]).equals(run.predict(IBM[:60]))


def test_columns_that_the_run_was_told_to_take_are_not_replaced_by_others(folder: Path) -> None:
    """A file may have a column ``close`` beside the one that the run learned from."""
    renamed = IBM.assign(Last=IBM["close"], close=1.0)
    renamed.to_csv("renamed.csv", index=False)
    run = train(["data=csv", "data.path=renamed.csv", "data.columns={close: Last}", *QUICK])
    assert len(run.predict(renamed[:50])) == 50 - 33
    with pytest.raises(DataError, match=r"no column Last: its columns are date, .*data\.columns=\{close: Last\}"):
        run.predict(IBM[:50])


def test_directions_come_as_probabilities_on_either_side_of_a_half(folder: Path) -> None:
    run = train(["data.target=direction", "training.loss=bce", *QUICK, "evaluation.execution_lag=0"])
    found = predict(run, IBM)
    assert found.threshold == 0.5 and found.frame["forecast"].between(0, 1).all()
    assert (found.frame["position"] == np.sign(found.frame["forecast"] - 0.5)).all()
    logged = run.predictions.set_index("date")["forecast"]
    assert (found.frame.set_index("date")["forecast"].loc[logged.index] == logged).all()


def test_windows_and_longer_horizons_are_those_of_the_run(folder: Path) -> None:
    options = ["model=lstm", "model.hidden_layers=[4]", "data.sequence_length=5", "data.horizon=3", "data=synthetic"]
    run = train([*options, "data.synthetic.bars=400", *QUICK])
    bars = load_bars(run.config.data).frame
    found = predict(run, bars)
    assert found.left_out == 33 + 4
    logged = run.predictions.set_index("date")
    ours = found.frame.set_index("date").loc[logged.index]
    np.testing.assert_allclose(ours["forecast"], logged["forecast"], rtol=1e-6)
    assert (ours["position"] == logged["position"])[3:].all()
    assert set(np.round(found.frame["signal"] * 3)) <= {-3, -2, -1, 0, 1, 2, 3}


def test_a_table_run_takes_its_feature_columns_and_no_target(folder: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
    table.insert(0, "date", pd.date_range("2020-01-01", periods=300))
    table.assign(y=table["a"]).to_csv("table.csv", index=False)
    run = train(["data=table", "data.path=table.csv", "data.features=[a,b]", "data.target=y", *QUICK])
    found = predict(run, table)
    logged = run.predictions.set_index("date")["forecast"]
    assert found.left_out == 0 and found.unit == "y"
    assert (found.frame.set_index("date")["forecast"].loc[logged.index] == logged).all()
    assert len(run.predict(table[-1:])) == 1
    with pytest.raises(ConfigError, match="has no column 'b'"):
        run.predict(table.drop(columns="b"))


def test_a_run_without_a_model_says_how_to_get_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose_config(["experiment.name=other"])
    with ExperimentOrganizer(config).start_run() as own:
        EnhancedMLflowLogger().log_config(config)
    with pytest.raises(RunError, match=r"FINISHED\) has no artifact model\. Record it with Enhanced"):
        load_run(own.run_id).predict(IBM)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    with mlflow.start_run() as foreign:
        pass
    with pytest.raises(RunError, match="is a run of another program, not a training run, a trial or a study"):
        load_run(foreign.info.run_id).predict(IBM)


def test_a_runs_model_is_registered_and_the_newest_is_the_candidate_or_where_any_may_be_the_champion(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["data=synthetic", "data.synthetic.bars=300", *QUICK, "tracking.register=desk model"]
    first = train(options)
    assert first.tags["registered.model"] == "models:/desk model/1"
    assert load_run("models:/desk model@candidate").run_id == first.run_id
    with pytest.raises(RunError, match="desk model has 1, @candidate"):
        load_run("models:/desk model@champion")
    second = train([*options, "seed=1", "tracking.champion=any"])
    assert load_run("models:/desk model@champion").run_id == second.run_id
    assert load_run("models:/desk model/1").run_id == first.run_id
    # Again, as after a crash: no second version, and a champion that somebody chose stays.
    client = first._store.client
    client.set_registered_model_alias("desk model", "champion", "1")
    assert register_model(client, "desk model", second.run_id, "champion") == "models:/desk model/2"
    assert load_run("models:/desk model@champion").run_id == first.run_id
    for address, text in (
        ("models:/desk model/7", "desk model has 1, 2, @candidate, @champion"),
        ("models:/desk model@best", "desk model has 1, 2, @candidate, @champion"),
        ("models:/nobody@champion", "no registered model 'nobody' in .*there are: desk model"),
        ("models:/desk model", "expected models:/NAME@champion or models:/NAME/3"),
    ):
        with pytest.raises(RunError, match=text):
            load_run(address)
    load_bars(first.config.data).frame.reset_index().to_csv("synthetic.csv", index=False)
    capsys.readouterr()
    assert command(["predict", "models:/desk model@champion", "--data", "synthetic.csv"]) == 0
    assert first.run_id in capsys.readouterr().err
    for words, named in (
        (["reproduce", "models:/desk model@champion"], f"reproduce {first.run_id} --verify"),
        (["diff", "models:/desk model/2", "models:/desk model@champion"], "seed"),
        (["evaluate", "--yes", "models:/desk model/2"], f"(id {second.run_id})"),
    ):
        assert command(words) == 0, words
        assert named in capsys.readouterr().out


@in_ci
def test_a_studys_winner_is_registered_once_and_the_study_stands_for_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def search(*more: str) -> LoadedRun:
        config = compose_config(["hpo.num_trials=2", "training=smoke", "tracking.register=winner", *more])
        rng = np.random.default_rng(0)
        X = rng.normal(size=(80, 3))
        result = run_hpo_study(config, X[:60], X[:60, 0], X[60:], X[60:, 0], ExperimentOrganizer(config))
        return load_run(result.parent_id)

    study = search()
    assert "registered as models:/winner/1" in capsys.readouterr().out
    assert study.tags["registered.model"] == "models:/winner/1"
    assert load_run("models:/winner@candidate").run_id == study.best.run_id == study.tags["best.run_id"]
    assert search().run_id == study.run_id
    assert len(study._store.client.search_model_versions("name = 'winner'")) == 1
    table = pd.DataFrame(np.random.default_rng(1).normal(size=(20, 3)), columns=["x0", "x1", "x2"])
    assert len(study.predict(table.assign(date=pd.date_range("2020-01-01", periods=20)))) == 20
    with pytest.raises(ConfigError, match=r"hpo\.keep=none does not keep"):
        search("hpo.keep=none")


def test_a_store_without_a_registry_stops_a_run_before_it_is_there_or_is_warned_about(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(folder / "mlflow.db", folder / "broken.db")
    with closing(sqlite3.connect(folder / "broken.db")) as database:
        database.execute("DROP TABLE registered_models")
        database.commit()
    options = ["data=synthetic", "data.synthetic.bars=300", *QUICK, "experiment.name=broken"]
    options += ["tracking.register=name", "tracking.uri=sqlite:///broken.db"]
    with pytest.raises(TrackingError, match=r"tracking\.register=name: the store has no model registry"):
        train(options)
    client = mlflow.MlflowClient("sqlite:///broken.db")
    assert client.get_experiment_by_name("broken") is None
    run = train([*options, "tracking.on_error=offline"])
    assert run.status == "FINISHED" and "registered.model" not in run.tags
    assert f"tracking.register=name: the model of the run {run.run_id} is not registered" in caplog.text


def test_a_name_that_no_registry_takes_and_a_model_that_is_not_there_are_refused(run: LoadedRun) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.register must be .*; got 'a/b'"):
        compose_config(["tracking.register=a/b"])
    with ExperimentOrganizer(run.config).start_run() as empty:
        pass
    with pytest.raises(TrackingError, match="has no model to register"):
        register_model(run._store.client, "name", empty.run_id, "candidate")
    assert not run._store.client.search_registered_models("name = 'name'")
