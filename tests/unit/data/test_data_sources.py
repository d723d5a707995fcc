"""Bars and tables are read in every form that the guide allows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradingbot_exp.config.schema import DataConfig, SyntheticConfig
from tradingbot_exp.data import prepare_data, sources
from tradingbot_exp.data.sources import load_bars, load_table
from tradingbot_exp.errors import ConfigError, DataError

Write = Callable[..., DataConfig]
OHLCV = ["open", "high", "low", "close", "volume"]


@pytest.mark.parametrize("name", ["ibm", "msft"])
def test_bundled_bars_have_3270_adjusted_rows_and_a_card(name: str) -> None:
    bars = load_bars(DataConfig(name=name))
    text = (resources.files("tradingbot_exp.data") / "bars" / f"{name}.csv").read_text()
    last = text.splitlines()[-1].split(",")
    assert (len(bars.frame), bars.frame.index.name, bars.symbol) == (3270, "date", name.upper())
    assert bars.frame.columns.tolist() == OHLCV
    assert (bars.frame.dtypes == np.float64).all()
    assert bars.frame["close"].iloc[-1] == pytest.approx(float(last[6]), rel=1e-12)
    factor = float(last[6]) / float(last[4])
    assert bars.frame["open"].iloc[-1] == pytest.approx(float(last[1]) * factor, rel=1e-12)
    assert bars.frame["volume"].iloc[-1] == float(last[5])
    assert "Public domain" in bars.card["licence"]


def test_changed_bundled_bars_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = resources.files("tradingbot_exp.data") / "bars"
    (tmp_path / "bars").mkdir()
    for name in ("cards.json", "ibm.csv"):
        (tmp_path / "bars" / name).write_bytes((folder / name).read_bytes())
    monkeypatch.setattr(sources.resources, "files", lambda _: tmp_path)
    assert len(load_bars(DataConfig()).frame) == 3270
    (tmp_path / "bars" / "ibm.csv").write_bytes((folder / "ibm.csv").read_bytes().replace(b"105.5", b"105.6", 1))
    with pytest.raises(DataError, match=r"ibm\.csv is not the one that was shipped"):
        load_bars(DataConfig())


def test_columns_come_in_any_case_order_and_spelling(bars: pd.DataFrame, write: Write) -> None:
    names = {
        "date": "Timestamp",
        "open": "OPEN",
        "high": "High",
        "low": "lOw",
        "close": " Close",
        "volume": "Volume",
    }
    shuffled = bars.assign(**{"Adj Close": bars["close"] / 2, "note": "text"}).rename(columns=names).iloc[:, ::-1]
    read = load_bars(write(shuffled)).frame
    assert read.columns.tolist() == OHLCV
    expected = bars.set_index("date")
    np.testing.assert_allclose(read["high"], expected["high"] / 2, rtol=1e-12)
    np.testing.assert_array_equal(read["volume"], expected["volume"])
    np.testing.assert_array_equal(read.index, expected.index)


@pytest.mark.parametrize("column", ["adj_close", "AdjClose", "Adj. Close", "ADJ CLOSE", "adj-close"])
def test_the_adjusted_close_is_found_in_each_spelling(bars: pd.DataFrame, write: Write, column: str) -> None:
    read = load_bars(write(bars.assign(**{column: bars["close"] * 3}))).frame
    np.testing.assert_allclose(read["low"], 3 * bars["low"], rtol=1e-12)


def test_numbers_are_read_exactly_and_bom_blank_lines_and_gzip_do_no_harm(
    bars: pd.DataFrame, write: Write, tmp_path: Path
) -> None:
    lines = bars.to_csv(index=False).splitlines()
    text = "\ufeff" + "\n".join([*lines[:9], "", *lines[9:], "", ""])
    (tmp_path / "bars.csv.gz").write_bytes(gzip.compress(text.encode()))
    for config in (write(text), DataConfig(source="csv", path=str(tmp_path / "bars.csv.gz"))):
        read = load_bars(config).frame
        np.testing.assert_array_equal(read.to_numpy(), bars[OHLCV].to_numpy())


def test_a_relative_path_starts_at_the_current_directory(
    bars: pd.DataFrame, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bars, "mine.csv")
    monkeypatch.chdir(tmp_path)
    assert len(load_bars(DataConfig(source="csv", path="mine.csv")).frame) == 200


def test_parquet_with_a_time_index_is_read(bars: pd.DataFrame, tmp_path: Path) -> None:
    bars.set_index("date").rename_axis(index=None).to_parquet(tmp_path / "bars.parquet")
    read = load_bars(DataConfig(source="csv", path=str(tmp_path / "bars.parquet"))).frame
    np.testing.assert_array_equal(read.index, bars["date"])


@pytest.mark.parametrize("file", ["bars.csv", "bars.parquet"])
def test_time_zones_are_kept(bars: pd.DataFrame, write: Write, file: str) -> None:
    bars["date"] = bars["date"].dt.tz_localize("UTC")
    config = write(bars, file)
    assert str(load_bars(config).frame.index.tz) == "UTC"
    data = prepare_data(config)
    assert str(data.dates(data.test).tz) == data.card["time_zone"] == "UTC"


def test_a_named_zone_survives_parquet_and_an_offset_survives_csv(bars: pd.DataFrame, write: Write) -> None:
    bars["date"] = bars["date"].dt.tz_localize("America/New_York")
    assert str(load_bars(write(bars, "bars.parquet")).frame.index.tz) == "America/New_York"
    bars["date"] = bars["date"].dt.tz_localize(None).dt.strftime("%Y-%m-%dT%H:%M:%S-05:00")
    first = load_bars(write(bars)).frame.index[0]
    assert first.isoformat() == "2000-01-03T00:00:00-05:00"


@pytest.mark.parametrize(("unit", "divisor"), [("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1)])
@pytest.mark.parametrize("file", ["bars.csv", "bars.parquet"])
def test_unix_epochs_are_utc(bars: pd.DataFrame, write: Write, unit: str, divisor: int, file: str) -> None:
    instants = bars["date"].dt.tz_localize("UTC")
    bars["timestamp"] = instants.dt.as_unit("ns").astype("int64") // divisor
    read = load_bars(write(bars.drop(columns="date"), file)).frame
    assert read.index.equals(pd.DatetimeIndex(instants).as_unit("ns"))


@pytest.mark.parametrize("spelling", ["%Y-%m-%d %H:%M", "%Y%m%d", "%m/%d/%Y", "%d.%m.%Y", "%Y.%m.%d", "%d %b %Y"])
def test_dates_are_read_in_common_spellings(bars: pd.DataFrame, write: Write, spelling: str) -> None:
    read = load_bars(write(bars.assign(date=bars["date"].dt.strftime(spelling)))).frame
    np.testing.assert_array_equal(read.index, bars["date"])


@pytest.mark.parametrize("column", ["Symbol", "ticker", "instrument", "ASSET"])
def test_one_of_several_instruments_is_chosen_by_symbol(bars: pd.DataFrame, write: Write, column: str) -> None:
    both = pd.concat([bars.assign(**{column: "IBM"}), bars.assign(**{column: "MSFT"}, volume=7.0)])
    with pytest.raises(ConfigError, match=r"holds 2 instruments .*: IBM, MSFT\. .*data\.symbol=IBM"):
        load_bars(write(both))
    chosen = load_bars(write(both, symbol="MSFT"))
    assert (chosen.symbol, len(chosen.frame), set(chosen.frame["volume"])) == ("MSFT", 200, {7.0})
    with pytest.raises(ConfigError, match=r"data\.symbol=MSTF: .*IBM, MSFT\. Did you mean 'MSFT'\?"):
        load_bars(write(both, symbol="MSTF"))


def test_lines_are_those_of_the_file_after_choosing_an_instrument(bars: pd.DataFrame, write: Write) -> None:
    bad = bars.assign(close=np.where(bars.index == 3, -1.0, bars["close"]))
    both = pd.concat([bars.assign(symbol="IBM"), bad.assign(symbol="NA")])
    with pytest.raises(DataError, match=r"bars\.csv, line 205: close is -1"):
        load_bars(write(both, symbol="NA"))


def test_a_single_instrument_needs_no_symbol(bars: pd.DataFrame, write: Write) -> None:
    assert load_bars(write(bars.assign(symbol="IBM"))).symbol == "IBM"


def test_other_columns_are_left_alone_unless_a_feature_names_them(bars: pd.DataFrame, write: Write) -> None:
    holes = np.where(bars.index == 150, np.nan, 1.0 + bars.index)
    frame = bars.assign(note="text", holes=holes, Spread=bars["close"] % 1)
    data = prepare_data(write(frame, features=["Spread", "ret_1"]))
    np.testing.assert_array_equal(data.raw[:, 0], frame["Spread"].iloc[33:199])
    with pytest.raises(DataError, match=r"bars\.csv, line 152: holes is missing"):
        prepare_data(write(frame, features=["holes"]))
    with pytest.raises(DataError, match=r"bars\.csv, line 2: note is 'text'"):
        prepare_data(write(frame, features=["note"]))


def test_a_users_feature_may_warm_up_as_ours_do(bars: pd.DataFrame, write: Write) -> None:
    frame = bars.assign(mine=bars["close"].rolling(30).mean())
    assert len(prepare_data(write(frame, features=["mine"])).index) == 166


def test_synthetic_bars_are_seeded_valid_and_extend() -> None:
    def config(bars: int, seed: int) -> DataConfig:
        return DataConfig(name="synthetic", source="synthetic", synthetic=SyntheticConfig(bars=bars, seed=seed))

    one = load_bars(config(300, 5)).frame
    pd.testing.assert_frame_equal(one, load_bars(config(300, 5)).frame, check_exact=True)
    longer = load_bars(config(400, 5)).frame.iloc[:300]
    pd.testing.assert_frame_equal(one, longer, check_exact=True, check_freq=False)
    assert not one.equals(load_bars(config(300, 6)).frame)
    assert (one["high"] >= one[["open", "close"]].max(axis=1)).all()
    assert (one["low"] <= one[["open", "close"]].min(axis=1)).all()
    assert (one["low"] > 0).all()


@pytest.mark.parametrize("signal", [0.0, 0.3, -0.5])
def test_synthetic_bars_hold_the_stated_information(signal: float) -> None:
    synthetic = SyntheticConfig(bars=20_000, signal=signal, seed=2)
    data = prepare_data(DataConfig(name="synthetic", source="synthetic", features=["ret_1"], synthetic=synthetic))
    past, following = data.raw[:, 0], data.target
    assert np.corrcoef(past, following)[0, 1] == pytest.approx(signal, abs=0.03)
    r2 = 1 - np.sum((following - signal * past) ** 2) / np.sum(following**2)
    assert r2 == pytest.approx(signal**2, abs=0.03)
    assert past.std() == pytest.approx(0.01, rel=0.05)


def own_table(bars: pd.DataFrame) -> pd.DataFrame:
    close = np.log(bars["close"])
    frame = pd.DataFrame({"when": 1.0, "time": bars["date"], "x": close % 0.1, "k": np.arange(len(bars)) % 7})
    return frame.assign(own=close.diff(), y=close.shift(-2) - close)


def table_keys(**keys: object) -> dict[str, object]:
    return {"source": "table", "features": ["k", "x"], "target": "y", "returns": "own", "horizon": 2} | keys


@pytest.mark.parametrize("file", ["table.csv", "table.parquet"])
def test_a_table_brings_features_target_and_returns(bars: pd.DataFrame, write: Write, file: str) -> None:
    frame = own_table(bars)
    data = prepare_data(write(frame, file, **table_keys()))
    assert (len(data.index), data.raw.shape, data.raw.dtype) == (198, (198, 2), np.float64)
    np.testing.assert_array_equal(data.target, frame["y"].iloc[:198])
    assert data.next_return is not None
    np.testing.assert_array_equal(data.next_return, frame["own"].iloc[1:199])
    assert data.card["columns"] == ["k", "x", "y", "own"]
    json.dumps(data.card)


def test_a_table_without_returns_or_with_every_target_known(bars: pd.DataFrame, write: Write) -> None:
    frame = own_table(bars).iloc[:-2]
    without = prepare_data(write(frame, **table_keys(returns=None)))
    assert without.next_return is None
    assert without.returns(without.val) is None
    assert len(without.index) == 198
    assert len(prepare_data(write(frame, **table_keys())).index) == 197  # the last bar's next return is unknown


def test_a_table_gives_features_without_a_target_for_forecasts(bars: pd.DataFrame, write: Write) -> None:
    config = write(own_table(bars)[["time", "x", "k"]], **table_keys())
    table = load_table(config, with_target=False)
    assert table.frame.shape == (200, 2)


@pytest.mark.parametrize(
    ("column", "row", "value", "error"),
    [
        ("y", 50, np.nan, r"line 52: y is missing"),
        ("y", 197, np.nan, r"line 199: y is missing"),
        ("y", 10, np.inf, r"line 12: y is inf"),
        ("own", 5, np.nan, r"line 7: own is missing"),
        ("x", 0, np.nan, r"line 2: x is missing"),
        ("x", 199, np.nan, r"line 201: x is missing"),
    ],
)
def test_a_hole_in_a_table_is_refused_by_its_line(
    bars: pd.DataFrame, write: Write, column: str, row: int, value: float, error: str
) -> None:
    frame = own_table(bars)
    frame.loc[row, column] = value
    with pytest.raises(DataError, match=error):
        prepare_data(write(frame, **table_keys()))


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"features": ["x", "kk"]}, r"data\.features: .* no column 'kk'; it has when, time, x, k, own, y"),
        ({"target": "yy"}, r"data\.target: .* no column 'yy'"),
        ({"returns": "owm"}, r"data\.returns: .* no column 'owm'.*Did you mean 'own'\?"),
        ({"features": ["x", "y"]}, r"data\.features holds the target column 'y'"),
        ({"features": ["x", "x"]}, r"data\.features has 'x' twice"),
        ({"features": []}, r"data\.features must be a list of at least one"),
        ({"path": None}, r"data=table needs a file: data\.path=FILE"),
    ],
)
def test_a_table_refuses_impossible_keys(bars: pd.DataFrame, write: Write, keys: dict[str, object], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        prepare_data(write(own_table(bars), **table_keys(**keys)))
