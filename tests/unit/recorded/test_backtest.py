"""Position rules of recorded runs: in `predict`, on the test set, and others by `backtest`, which records each try."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import python

from tradingbot_exp import load_run, train
from tradingbot_exp.cli.main import run as command
from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.errors import ConfigError, DataError, RunError
from tradingbot_exp.recorded.backtest import METRICS, Backtested
from tradingbot_exp.recorded.loaded import LoadedRun
from tradingbot_exp.tracking.reading.ledger import read_ledger
from tradingbot_exp.tracking.reading.markets import MarketDates
from tradingbot_exp.tracking.store.store import open_store

QUICK = ["training=smoke", "training.progress=off", "data.horizon=2"]
RULES = {"evaluation.position": ["vol_target", "sign", "proportional"], "evaluation.cost_bps": [0, 5]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Iterator[Path]:
    """A directory with a store, to which the process changes for this module."""
    place = tmp_path_factory.mktemp("backtest")
    shutil.copy(store_template, place / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield place


@pytest.fixture(scope="module")
def run(folder: Path) -> LoadedRun:
    return train(QUICK)


@pytest.fixture(scope="module")
def found(run: LoadedRun) -> Backtested:
    return run.backtest(RULES)


def tried(run: LoadedRun, *, with_backtests: bool) -> frozenset[str]:
    asked = MarketDates("IBM", (run.tags["data.val_start"], run.tags["data.val_end"]))
    return read_ledger(open_store(), asked, with_backtests=with_backtests).before


def test_a_run_that_is_trained_under_a_rule_has_the_metrics_that_a_backtest_found(
    run: LoadedRun, found: Backtested
) -> None:
    assert list(found.table) == [*RULES, *(f"val_{name}" for name in METRICS)] and len(found.table) == 6
    pairs = set(load_run(found.backtest_run_id).tags["backtest.tried.1"].split())
    assert found.pairs == len(pairs) == 6
    # Of returns all six are tries, the run's own rule among them; of forecasts there is the one configuration.
    before = tried(run, with_backtests=True)
    assert pairs <= before and pairs & tried(run, with_backtests=False) == {run.tags["config.tried"]}
    table = found.table.set_index(list(RULES))
    trained = train([*QUICK, "evaluation.position=vol_target", "evaluation.cost_bps=0"])
    for whose, row in ((run, table.loc["sign", 5.0]), (trained, table.loc["vol_target", 0.0])):
        assert {name: whose.metrics[name] for name in row.index} == pytest.approx(row.to_dict(), rel=1e-12)
        assert found.market["val_buy_hold_sharpe"] == whose.metrics["val_buy_hold_sharpe"]
    assert trained.tags["config.tried"] in pairs and tried(run, with_backtests=True) == before


def test_values_may_be_single_or_of_numpy(run: LoadedRun) -> None:
    given = {"evaluation.position": "long_only", "evaluation.cost_bps": np.arange(2), "evaluation.execution_lag": 0}
    table = run.backtest(given).table
    assert table["evaluation.position"].tolist() == ["long_only"] * 2
    assert table["evaluation.cost_bps"].tolist() == [0, 1] and table["evaluation.execution_lag"].tolist() == [0, 0]


def test_positions_worked_by_hand_from_the_record_have_the_metrics_of_the_table(
    run: LoadedRun, found: Backtested
) -> None:
    record = run.predictions
    spread = float(run.tags["forecast.train_std"])
    wanted = np.clip(record["forecast"] / spread, -1, 1).to_numpy()
    held = np.concatenate([[0.0], (wanted + np.concatenate([[0.0], wanted[:-1]])) / 2])[:-1]
    earned = held * np.expm1(record["next_log_return"])
    row = found.table.set_index(list(RULES)).loc["proportional", 0.0]
    assert row["val_sharpe"] == pytest.approx(earned.mean() / earned.std(ddof=1) * np.sqrt(252), rel=1e-9)
    assert row["val_turnover"] == pytest.approx(np.abs(np.diff(held, prepend=0.0)).mean(), rel=1e-9)


def test_the_backtest_is_a_run_of_its_own_that_keeps_the_table(run: LoadedRun, found: Backtested) -> None:
    record = load_run(found.backtest_run_id)
    assert record.record.kind == "backtest" and record.status == "FINISHED" and record.name == f"backtest-{run.name}"
    assert record.tags["evaluated.run_id"] == run.run_id and record.tags["backtest.combinations"] == "6"
    assert run.tags["config.tried"] in record.tags["backtest.tried.1"].split()
    kept = record._artifact("evaluation/backtest.csv", pd.read_csv)
    pd.testing.assert_frame_equal(kept, found.table, check_dtype=False, rtol=1e-15)
    assert load_run("latest").record.kind == "training"
    assert repr(found) == f"Backtested({run.name!r}, run_id={run.run_id!r}, combinations=6)"
    lines = str(found).splitlines()
    assert lines[4].split()[:2] == ["position", "cost_bps"] and lines[5].split()[:2] == ["vol_target", "0"]
    assert lines[11].startswith("  buy and hold") and "6 pairs of configuration and position rule" in lines[13]
    assert "IBM, 483 bars" in found._repr_html_()


def test_of_several_folds_each_has_its_own_spread(folder: Path) -> None:
    words = ["evaluation.scheme=walk_forward", "evaluation.folds=3", "evaluation.position=proportional"]
    run = train([*QUICK, *words])
    assert len(run.record.train_spread) == 3 and len(set(run.record.train_spread)) == 3
    (row,) = run.backtest().table.to_dict("records")
    assert row.pop("evaluation.position") == "proportional"
    assert {name: run.metrics[name] for name in row} == pytest.approx(row, rel=1e-12)


def test_the_rule_that_a_panel_was_trained_under_is_no_other_try(folder: Path) -> None:
    run = train([*QUICK, "data=synthetic", "data.synthetic.symbols=4", "data.synthetic.bars=400"])
    found = run.backtest({"evaluation.position": ["sign", "long_short"]})
    tried = load_run(found.backtest_run_id).tags["backtest.tried.1"].split()
    assert len(tried) == found.pairs == 2 and run.tags["config.tried"] in tried
    row = found.table.set_index("evaluation.position").loc["sign"].to_dict()
    assert {name: run.metrics[name] for name in row} == pytest.approx(row, rel=1e-12)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"training.epochs": [1]}, "training.epochs makes other forecasts"),
        ({"evaluation.periods_per_year": [1]}, "backtest takes evaluation.position, evaluation.threshold"),
        ({"evaluation.positon": ["sign"]}, "Did you mean 'evaluation.position'"),
        ({"evaluation.position": ["sign", "sgn"]}, "evaluation.position must be one of sign"),
        ({"evaluation.cost_bps": [-1]}, "evaluation.cost_bps must be 0 or more"),
        ({"evaluation.position": ["long_short"]}, "the data are of one instrument, IBM"),
        ({"evaluation.cost_bps": [*range(301)]}, "evaluation.cost_bps make 301 combinations; expected 1 to 300"),
        ({"evaluation.cost_bps": []}, "0 combinations"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name_and_records_nothing(
    run: LoadedRun, values: dict[str, list[object]], text: str
) -> None:
    before = len(list(open_store().search("", open_store().experiments())))
    with pytest.raises(ConfigError, match=text):
        run.backtest(values)
    assert len(list(open_store().search("", open_store().experiments()))) == before


def test_forecasts_without_returns_and_runs_without_forecasts_are_refused(folder: Path, run: LoadedRun) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(300, 2)), columns=["x", "y"], index=pd.bdate_range("2020-01-01", periods=300))
    table.rename_axis("date").to_csv("table.csv")
    words = ["data=table", "data.path=table.csv", "data.features=[x]", "data.target=y", *QUICK]
    with pytest.raises(ConfigError, match=r"evaluation.position=vol_target takes one-bar returns"):
        train([*words, "evaluation.position=vol_target"])
    with pytest.raises(ConfigError, match=r"evaluation.borrow_bps=50 takes one-bar returns"):
        train([*words, "evaluation.borrow_bps=50"])
    with pytest.raises(ConfigError, match=r"evaluation.threshold must be a number, in the unit of data.target=y"):
        train([*words, "evaluation.position=threshold"])
    without = train(words)
    with pytest.raises(DataError, match="no one-bar returns, so that no position earns anything"):
        without.backtest()
    older = train([*QUICK, "seed=7"])
    open_store().client.delete_tag(older.run_id, "forecast.train_std")
    older = load_run(older.run_id)
    assert len(older.backtest({"evaluation.position": ["sign", "vol_target"]}).table) == 2
    with pytest.raises(RunError, match="does not say how far its forecasts of the train rows spread"):
        older.backtest({"evaluation.position": ["proportional"]})


def test_the_command_prints_a_table_or_json_and_writes_csv_over_its_own_alone(
    run: LoadedRun, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["backtest", run.run_id[:12], "evaluation.execution_lag=0,1", "evaluation.position=sign,long_only"]
    assert command([*words, "--csv", "new/out.csv", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    kept = pd.read_csv("new/out.csv")
    assert [row["val_sharpe"] for row in told["rows"]] == pytest.approx(kept["val_sharpe"].tolist(), rel=1e-15)
    assert [(row["evaluation.position"], row["evaluation.execution_lag"]) for row in told["rows"]] == [
        *(("sign", 0), ("sign", 1), ("long_only", 0), ("long_only", 1))
    ]
    assert told["run_id"] == run.run_id and told["pairs"] == 4
    # Over a table of before; options may stand among the values.
    assert command([*words[:2], "--csv", "new/out.csv", "evaluation.borrow_bps=0,300", "--force"]) == 0
    assert pd.read_csv("new/out.csv")["evaluation.borrow_bps"].tolist() == [0, 300]
    assert command([*words[:2], "--csv", "new/out.csv"]) == 0
    assert len(pd.read_csv("new/out.csv")) == 1
    with pytest.raises(SystemExit) as ended:
        command([*words, "--nope", "evaluation.cost_bps=1"])
    assert ended.value.code == 2
    Path("mine.csv").write_text("evaluation.position,mine\n")
    capsys.readouterr()
    assert command([*words, "--csv", "mine.csv"]) == 1
    assert "--csv mine.csv is there already, and holds no backtest" in capsys.readouterr().err
    assert Path("mine.csv").read_text() == "evaluation.position,mine\n"
    assert command([*words, "--csv", "mine.csv", "--force"]) == 0
    capsys.readouterr()
    for word, text in (
        ("evaluation.cost_bps=range(0,5)", "give values as KEY=A,B"),
        ("~evaluation.cost_bps", "give values as KEY=A,B"),
        ("evaluation.execution_lag=2", "evaluation.execution_lag is given twice"),
        ("sign", "'sign' is not KEY=VALUE"),
    ):
        assert command([*words, word]) == 1
        assert text in capsys.readouterr().err


def test_the_command_by_itself(run: LoadedRun, folder: Path) -> None:
    done = python(folder, "-m", "tradingbot_exp", "backtest", run.run_id, "evaluation.position=sign,threshold")
    assert done.status == 0 and "threshold" in done.out and "buy and hold" in done.out


@pytest.mark.parametrize(
    "words",
    [["position=proportional"], ["position=vol_target", "vol_window=60", "execution_lag=0"], ["position=threshold"]],
)
def test_positions_of_every_rule_are_those_of_the_run_and_of_its_test_set(folder: Path, words: list[str]) -> None:
    bars = load_bars(DataConfig(name="ibm")).frame.reset_index()
    bars.to_csv("ibm.csv", index=False)
    named = [f"evaluation.{word}" for word in words]
    run = train([*QUICK, "data=csv", "data.path=ibm.csv", "data.horizon=3", *named])
    ours = run.predict(bars).set_index("date")["position"]
    opened = run.evaluate()
    judged = load_run(opened.evaluation_run_id)
    tested = judged._artifact("evaluation/test_returns.csv", lambda file: pd.read_csv(file, parse_dates=["date"]))
    sizes = set()
    for table in (run.predictions, tested):
        logged = table.set_index("date")["position"][3:]  # on its first bars a backtest is not invested yet
        assert logged.to_numpy() == pytest.approx(ours.loc[logged.index].to_numpy(), rel=1e-12)
        net = table["position"] * np.expm1(table["next_log_return"])
        net -= 5e-4 * table["position"].diff().abs().fillna(table["position"].abs())
        assert table["strategy_return"].to_numpy() == pytest.approx(net.to_numpy(), abs=1e-15)
        sizes |= set(logged.abs().round(9))
    thirds = {0.0, 0.333333333, 0.666666667, 1.0}
    assert (sizes <= thirds) is (words == ["position=threshold"]) and max(sizes) <= 1


def test_a_table_is_forecast_with_the_volatility_of_its_own_returns(folder: Path) -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(300, 2)), columns=["x", "y"], index=pd.bdate_range("2020-01-01", periods=300))
    table = table.rename_axis("date").assign(r=rng.normal(0, 0.01, 300)).reset_index()
    table.to_csv("returns.csv", index=False)
    words = ["data=table", "data.path=returns.csv", "data.features=[x]", "data.target=y", "data.returns=r"]
    run = train([*QUICK, *words, "evaluation.position=vol_target", "evaluation.vol_window=5"])
    ours = run.predict("returns.csv").set_index("date")
    logged = run.predictions.set_index("date")["position"][2:]
    assert logged.to_numpy() == pytest.approx(ours["position"].loc[logged.index].to_numpy(), rel=1e-12)
    # Before there are five returns nothing is held, and what a bar itself returns is known at its close.
    year = table["r"][1:6].std() * np.sqrt(float(run.tags["periods_per_year"]))
    assert not ours["signal"][:5].any()
    assert abs(ours["signal"].iloc[5]) == pytest.approx(min(0.15 / year, 1) / 2)
    with pytest.raises(ConfigError, match=r"data\.returns: .* has no column 'r'"):
        run.predict(table.drop(columns="r"))
    sign = train([*QUICK, *words])
    assert len(sign.predict(table.drop(columns="r"))) == 300
