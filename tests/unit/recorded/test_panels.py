"""Runs on several symbols, put to use: forecasts of new bars, the test set, and training again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import in_ci

from tradingbot_exp import load_run, train
from tradingbot_exp.cli.main import run as command
from tradingbot_exp.config.schema import SyntheticConfig
from tradingbot_exp.data.features import compute_features
from tradingbot_exp.data.fitted import fitted_feature
from tradingbot_exp.data.identity import stamp
from tradingbot_exp.data.synthetic import synthetic_panel
from tradingbot_exp.errors import ConfigError, DataError, RunError
from tradingbot_exp.recorded.loaded import LoadedRun
from tradingbot_exp.recorded.predict import predict
from tradingbot_exp.recorded.reproduction.place import Place, data_file
from tradingbot_exp.tracking.reading.artifacts import predictions_file
from tradingbot_exp.tracking.reading.looks import looks_at
from tradingbot_exp.tracking.reading.markets import MarketDates
from tradingbot_exp.tracking.reading.recipe import read_recipe
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.moved import present_path
from tradingbot_exp.tracking.writing.predictions import predictions_of

FRAMES = dict(
    zip(["A", "B", "C", "D", "NA"], synthetic_panel(SyntheticConfig(bars=300, symbols=5)).values(), strict=True)
)
_GAPS = np.ones(300, bool)
_GAPS[[60, 61, 120, *range(216, 224)]] = False  # one of them in the validation part
FRAMES["B"], FRAMES["D"] = FRAMES["B"].iloc[90:], FRAMES["D"][_GAPS]
ROWS = pd.concat([each.assign(symbol=symbol) for symbol, each in FRAMES.items()]).rename_axis("date").reset_index()
PANEL = ["data=csv", "data.path=panel.csv", "data.symbols=all"]
QUICK = ["training=smoke", "training.progress=off", "model.hidden_layers=[4]", "data.features=[ret_1,vol_20,clv]"]
SPLIT = ["data.split.train=0.6", "data.split.val=0.2", "data.split.test=0.2"]
KEY = ["date", "symbol"]


class Level:
    """Distance of the close from the mean of the train bars, as a share of it."""

    def fit(self, bars: pd.DataFrame) -> None:
        self.mean = float(bars["close"].mean())

    def transform(self, bars: pd.DataFrame) -> pd.Series[float]:
        return bars["close"] / self.mean - 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Iterator[Path]:
    """A directory with a store, a file of several symbols, and a folder of files."""
    place = tmp_path_factory.mktemp("panels")
    shutil.copy(store_template, place / "mlflow.db")
    ROWS.to_csv(place / "panel.csv", index=False)
    (place / "bars").mkdir()
    for symbol, frame in FRAMES.items():
        frame.to_csv(place / "bars" / f"{symbol}.csv")
    fitted_feature("panel_level")(Level)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield place


SYMBOL = ("data.scaling=symbol", "data.sequence_length=20", "evaluation.position=vol_target")
RANK = ("data.scaling=date", "data.target=rank", "data.horizon=5", "evaluation.position=long_short")
LEVEL = ("data.target=excess_return", "data.features=[ret_1,panel_level]", "evaluation.position=long_only")


@cache
def trained(*words: str) -> LoadedRun:
    """Train on the panel, once for all tests that want the same."""
    return train([*PANEL, *QUICK, *SPLIT, *words])


@pytest.fixture(scope="module")
def run(folder: Path) -> LoadedRun:
    return trained()


def opened_rows(run: LoadedRun) -> pd.DataFrame:
    opened = run.evaluate()
    return load_run(opened.evaluation_run_id)._artifact("evaluation/test_returns.csv", predictions_file)


@pytest.mark.parametrize(
    "words",
    [
        SYMBOL,
        RANK,
        LEVEL,
        ("data.target=direction", "training.loss=bce", "evaluation.position=proportional"),
        ("evaluation.scheme=walk_forward", "evaluation.folds=2", "data.scaling=date", "data.sequence_length=20"),
    ],
)
def test_the_original_bars_give_what_was_recorded_of_validation_and_test_rows(
    folder: Path, words: tuple[str, ...]
) -> None:
    run = trained(*words)
    found = predict(run, "panel.csv")
    assert list(found.frame) == ["date", "symbol", "forecast", "signal", "position", "weight"]
    assert found.frame.sort_values(KEY).index.equals(found.frame.index)
    assert found.unit.startswith(
        {"rank": "rank of the return", "excess_return": "excess log return", "direction": "probability"}.get(
            run.config.data.target, "log return over the next"
        )
    )
    length, horizon = run.config.data.sequence_length, run.config.data.horizon
    assert found.left_out == len(FRAMES) * (33 + length - 1) and len(found.frame) == len(ROWS) - found.left_out
    rows = run.predictions
    if "fold" in rows:  # the model that is kept is the last one's
        rows = rows[rows["fold"] == rows["fold"].max()]
    tables = [rows.drop(columns="fold", errors="ignore"), opened_rows(run)]
    assert list(tables[0]) == list(tables[1])
    for table in tables:
        both = table.merge(found.frame, on=KEY, suffixes=("", "_now"), validate="one_to_one")
        assert len(both) == len(table)
        np.testing.assert_allclose(both["forecast_now"], both["forecast"], rtol=1e-5, atol=1e-6)
        # On its first bars a backtest is not invested yet; each symbol's first bars are told by themselves.
        later = both.groupby("symbol").cumcount() >= horizon + run.config.evaluation.execution_lag - 1
        for name in ("position", "weight"):
            np.testing.assert_allclose(both[f"{name}_now"][later], both[name][later], rtol=1e-5, atol=1e-6)
        assert (both["position"][later] != 0).any()


def test_forecasts_signals_and_weights_are_those_of_plain_pandas_and_torch(folder: Path) -> None:
    import torch

    names = ["ret_1", "vol_20", "clv"]
    run = trained("data.scaling=symbol", "data.sequence_length=3", "data.horizon=2", "evaluation.execution_lag=1")
    network = run.model._model_impl._model
    train_end = pd.Timestamp(run.data_card["split"]["train"]["end"])
    expected = []
    # The split is by the dates of all symbols, and train rows are scaled by all that are before its end.
    for symbol, frame in FRAMES.items():
        features = compute_features(frame, names).iloc[33:]
        seen = features[features.index <= train_end]
        scaled = ((features - seen.mean()) / seen.std(ddof=0)).to_numpy(np.float32)
        windows = np.stack([scaled[end - 3 : end] for end in range(3, len(scaled) + 1)])
        with torch.no_grad():
            forecast = network(torch.from_numpy(windows)).numpy().ravel().astype(float)
        table = pd.DataFrame({"date": features.index[2:], "symbol": symbol, "forecast": forecast})
        side = np.sign(table["forecast"])
        table["signal"] = (side + side.shift(1, fill_value=0)) / 2
        table["position"] = table["signal"].shift(1, fill_value=0)
        expected.append(table)
    wanted = pd.concat(expected).sort_values(KEY).reset_index(drop=True)
    share = np.sign(wanted["forecast"]) / wanted.groupby("date")["symbol"].transform("count")
    per = share.groupby(wanted["symbol"])
    wanted["weight"] = (per.shift(1, fill_value=0) + per.shift(2, fill_value=0)) / 2
    pd.testing.assert_frame_equal(run.predict("panel.csv"), wanted, rtol=1e-5, atol=1e-6)


def test_weights_of_the_highest_and_lowest_sum_to_nothing_and_to_all_of_wealth(folder: Path) -> None:
    run = trained("evaluation.position=long_short", "evaluation.execution_lag=0")
    found = run.predict("panel.csv")
    by_date = found.groupby("date")
    several = by_date["symbol"].count() >= 3
    assert several.sum() > 200 and by_date["weight"].sum().abs().max() < 1e-12
    assert by_date["weight"].apply(lambda weights: weights.abs().sum())[several].to_numpy() == pytest.approx(1.0)
    best = found.loc[by_date["forecast"].idxmax()]
    assert (best["weight"].to_numpy() == np.where(several, 0.5, 0.0)).all()


def test_files_of_symbols_a_pattern_and_a_frame_are_read_alike_and_a_symbol_is_picked(run: LoadedRun) -> None:
    whole = run.predict("panel.csv")
    for given in ("bars", "bars/*.csv", Path("bars"), ROWS, ROWS.sample(frac=1, random_state=0).sort_values("date")):
        pd.testing.assert_frame_equal(run.predict(given), whole)
    one = predict(run, "bars", "NA")
    pd.testing.assert_frame_equal(one.frame, whole[whole["symbol"] == "NA"].reset_index(drop=True))
    assert one.left_out == 33 and len(one.frame) == 300 - 33
    with pytest.raises(ConfigError, match=r"symbol=E: bars has no such symbol; it has A, B, C, D, NA"):
        run.predict("bars", symbol="E")


def test_the_command_writes_a_row_a_symbol_and_says_what_the_last_date_asks_for(
    run: LoadedRun, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run.predict("panel.csv")
    for output in ("panel-out.csv", "panel-out.csv"):  # again, over what it wrote
        assert command(["predict", run.run_id, "--data", "bars", "-o", output]) == 0
    told = capsys.readouterr().err
    last = whole[whole["date"] == whole["date"].max()]["signal"]
    assert f"{(last > 0).sum()} long and {(last < 0).sum()} short of 5 symbols, to be taken 1 bar later" in told
    written = pd.read_csv("panel-out.csv", parse_dates=["date"], keep_default_na=False)
    pd.testing.assert_frame_equal(written, whole, check_dtype=False)
    assert command(["predict", run.run_id, "--data", "bars", "--symbol", "C", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["symbol"] for row in rows} == {"C"} and rows[-1]["weight"] == whole[whole["symbol"] == "C"][
        "weight"
    ].iloc[-1]


def test_later_bars_of_any_symbol_change_nothing_before_them(folder: Path) -> None:
    run = trained(*RANK)
    changed, when = ROWS.copy(), FRAMES["A"].index[200]
    later = changed["date"] >= when
    changed.loc[later, ["open", "high", "low", "close"]] *= np.where(changed["symbol"] == "A", 1.5, 0.7)[later, None]
    before, after = run.predict(ROWS), run.predict(changed)
    old = before["date"] < when
    pd.testing.assert_frame_equal(before[old], after[old])
    assert (before["forecast"] != after["forecast"])[~old].any()


@pytest.mark.parametrize(("words", "named"), [(SYMBOL, "data.scaling=symbol"), (LEVEL, "panel_level")])
def test_a_symbol_of_which_nothing_was_learned_is_left_out_by_name(
    folder: Path, words: tuple[str, ...], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = trained(*words)
    new = ROWS.replace({"symbol": {"C": "NEW"}})
    found = run.predict(new)
    assert re.search(rf"NEW was not among the symbols .*\({named}\): left out", caplog.text)
    assert set(found["symbol"]) == set(ROWS["symbol"]) - {"C"}
    with pytest.raises(ConfigError, match=r"symbol=NEW: .* has no such symbol; it has A, B, D, NA"):
        run.predict(new, symbol="NEW")
    with pytest.raises(DataError, match=r"csv was not among the symbols .*A, B, C, D, NA, .* Give bars of these"):
        run.predict(FRAMES["C"].reset_index())


def test_a_symbol_that_the_run_has_not_seen_is_forecast_where_all_are_scaled_alike(
    run: LoadedRun, caplog: pytest.LogCaptureFixture
) -> None:
    found = run.predict(ROWS.replace({"symbol": {"C": "NEW"}}))
    assert "NEW was not among the symbols that the model was trained on" in caplog.text
    plain = run.predict(ROWS)
    mine, theirs = (each[each["symbol"] == name] for each, name in ((found, "NEW"), (plain, "C")))
    np.testing.assert_allclose(mine["forecast"], theirs["forecast"], rtol=1e-5, atol=1e-6)


def test_one_instrument_is_a_panel_of_one_unless_symbols_are_compared(folder: Path, run: LoadedRun) -> None:
    alone = run.predict("bars/C.csv")
    whole = run.predict("panel.csv")
    np.testing.assert_allclose(alone["forecast"], whole[whole["symbol"] == "C"]["forecast"], rtol=1e-5, atol=1e-6)
    assert set(alone["symbol"]) == {"C"} and (alone["weight"] == alone["position"]).all()
    for words, why in (
        (RANK, "data.scaling=date, data.target=rank, evaluation.position=long_short"),
        (LEVEL, LEVEL[0]),
    ):
        with pytest.raises(DataError, match=rf"bars/C.csv: there is one instrument, C, .*\({why}\)"):
            trained(*words).predict("bars/C.csv")


def test_a_run_on_one_instrument_takes_one_of_a_folder_or_of_a_file(folder: Path) -> None:
    run = train(["data=csv", "data.path=bars/C.csv", *QUICK])
    for given, said in (("bars", r"bars has a file for each of A, B, C, D, NA"), ("panel.csv", "5 instruments")):
        with pytest.raises(ConfigError, match=rf"{said}.*[Cc]hoose one"):
            run.predict(given)
        assert len(run.predict(given, symbol="C")) == 300 - 33
    assert "symbol" not in run.predict("bars", symbol="A")
    with pytest.raises(ConfigError, match="symbol=E: no file of bars is named after it"):
        run.predict("bars", symbol="E")


def test_what_does_not_fit_is_refused_and_symbols_with_too_few_bars_are_left_out(
    run: LoadedRun, caplog: pytest.LogCaptureFixture
) -> None:
    twice = pd.concat([ROWS, ROWS[ROWS["symbol"] == "C"].tail(1)])
    cases: list[tuple[pd.DataFrame, str]] = [
        (twice, "C.*"),
        (ROWS.groupby("symbol").head(20), "bars: too few rows: 20.*give 34 or more"),
        (
            ROWS.assign(
                date=ROWS.groupby("symbol").cumcount().map(lambda n: pd.Timestamp("2020") + n * pd.Timedelta("1h"))
            ),
            "the bars are 60-minute bars",
        ),
    ]
    for frame, said in cases:
        with pytest.raises(DataError, match=said):
            run.predict(frame)
    short = pd.concat([ROWS[ROWS["symbol"] != "B"], ROWS[ROWS["symbol"] == "B"].head(33)])
    found = run.predict(short)
    assert set(found["symbol"]) == {"A", "C", "D", "NA"} and "too few bars, left out: B (33 bars)" in caplog.text
    with pytest.raises(DataError, match="bars, B: too few rows: 33"):
        run.predict(short, symbol="B")


def test_a_column_of_symbols_that_was_named_is_read_under_that_name(folder: Path) -> None:
    ROWS.rename(columns={"symbol": "Ric"}).to_csv("named.csv", index=False)
    run = train([*PANEL, *QUICK, "data.path=named.csv", "data.columns={symbol: Ric}"])
    assert set(run.predict("named.csv")["symbol"]) == set(FRAMES)
    with pytest.raises(DataError, match=r"panel.csv has no column Ric"):
        run.predict("panel.csv")


def test_times_with_a_zone_keep_it(folder: Path) -> None:
    zoned = ROWS.assign(date=ROWS["date"].dt.tz_localize("America/New_York"))
    zoned.to_csv("zoned.csv", index=False)
    run = train([*PANEL, *QUICK, *SPLIT, "data.path=zoned.csv", "data.sequence_length=5"])
    found, opened = run.predict("zoned.csv"), run.evaluate()
    assert opened.bars == 54 and opened.symbols == 5 and found["date"].dt.tz is not None
    recorded = run.predictions
    both = recorded.merge(found.assign(date=found["date"].dt.tz_convert("UTC")), on=KEY, suffixes=("", "_now"))
    assert len(both) == len(recorded)
    np.testing.assert_allclose(both["forecast_now"], both["forecast"], rtol=1e-5, atol=1e-6)


def test_a_table_of_several_symbols_is_forecast_without_its_target(folder: Path) -> None:
    rng = np.random.default_rng(0)
    table = ROWS[KEY].assign(a=rng.normal(size=len(ROWS)), b=rng.normal(size=len(ROWS)))
    table.assign(y=table["a"], r=0.01 * table["b"]).to_csv("table.csv", index=False)
    words = ["data=table", "data.path=table.csv", "data.symbols=all", "data.features=[a,b]", "data.target=y"]
    smoke = ["training=smoke", "training.progress=off", "data.returns=r", "evaluation.position=vol_target"]
    run = train([*words, *smoke, "data.sequence_length=3"])
    with pytest.raises(ConfigError, match=r"data\.returns: .*'r'"):
        run.predict(table)
    found = run.predict(table.assign(r=0.01 * table["b"]))
    both = run.predictions.merge(found, on=KEY, suffixes=("", "_now"))
    assert len(both) == len(run.predictions) and len(found) == len(table) - 2 * 5
    np.testing.assert_allclose(both["forecast_now"], both["forecast"], rtol=1e-5, atol=1e-6)
    later = both.groupby("symbol").cumcount() >= 1
    np.testing.assert_allclose(both["weight_now"][later], both["weight"][later], rtol=1e-5, atol=1e-6)


def test_forecasts_of_the_runs_own_symbols_and_of_others_are_kept_on_record_apart(run: LoadedRun) -> None:
    other = synthetic_panel(SyntheticConfig(bars=300, symbols=2, seed=7))
    x, y = other.values()
    known = ROWS[ROWS["symbol"].isin(["A", "B"])].tail(400)
    run.predict(pd.concat([known, x.assign(symbol="X").rename_axis("date").reset_index()]))
    noted = {each.instrument: each for each in predictions_of(load_run(run.run_id).tags)}
    assert noted.keys() >= {run.tags["data.instrument"], "X"} and noted["X"].returns
    assert noted["X"].spans == ((stamp(x.index[33]), stamp(x.index[-1])),)
    dates = noted["X"].spans[0]
    for frame, is_known in ((x, True), (y, False), (FRAMES["A"], True)):
        returns = np.log(frame["close"]).diff().shift(-1).dropna()
        looks = looks_at(run._store, MarketDates("a copy", dates, returns=returns))
        assert any(look.forecasts for look in looks) is is_known


@pytest.mark.parametrize("path", ["own", "own/*.csv"])
def test_a_folder_of_files_that_has_changed_moved_or_gone_is_found_or_named(
    folder: Path, path: str, tmp_path: Path
) -> None:
    shutil.copytree(folder / "bars", "own")
    run = train(["data=csv", f"data.path={path}", *SPLIT, *QUICK])
    recipe = read_recipe(run._store, find_run(run._store, run.run_id))
    place = Place(tmp_path, tmp_path, (), "")
    assert data_file(recipe, None, place) == (folder / path, "")
    shutil.copytree("own", tmp_path / "own")  # in the run's commit
    assert data_file(recipe, None, place) == (tmp_path / path, "")
    with (folder / "own" / "A.csv").open("a") as file:
        file.write("2020-01-01,1,1,1,1,1\n")
    assert "own has changed since" in data_file(recipe, None, place)[1].replace("/*.csv", "")
    with pytest.raises(DataError, match="have changed: it saw the fingerprint"):
        run.evaluate()
    shutil.rmtree("own")
    shutil.rmtree(tmp_path / "own")
    with pytest.raises(RunError, match=r"data: the file own.* is not there any more"):
        data_file(recipe, None, place)
    with pytest.raises(DataError, match=r"are gone: there is no file .*own"):
        run.evaluate()
    shutil.copytree(folder / "bars", tmp_path / "own")
    moved = {"tracking.uri": f"sqlite:///{folder}/mlflow.db"}
    assert present_path(f"{folder}/{path}", moved, f"sqlite:///{tmp_path}/mlflow.db") == f"{tmp_path}/{path}"


@in_ci
def test_a_run_on_a_panel_is_made_again_bit_for_bit_and_known_to_every_command(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(["data=csv", f"data.path={folder}/bars", "data.scaling=date", "data.sequence_length=5", *QUICK])
    for words in (
        ["reproduce", run.run_id, "--verify", "--trust"],
        ["diff", run.run_id, trained(*RANK).run_id],
        ["history"],
        ["doctor"],
    ):
        assert command(words) == 0, capsys.readouterr()
    said = capsys.readouterr().out
    assert said.startswith("identical: ") and "data.target" in said
    assert command(["verdict", run.run_id, "--require", "real"]) == 4
    assert command(["evaluate", run.run_id, "--yes"]) == 0
    assert "bars of 5 symbols" in capsys.readouterr().out
