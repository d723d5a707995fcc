"""Panels: which rows of which symbols are trained on, validated and tested, against plain loops over pandas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradingbot_exp.config.registries import SOURCES
from tradingbot_exp.config.schema import Config, DataConfig, EvaluationConfig, SplitConfig, SyntheticConfig
from tradingbot_exp.data import PreparedData, prepare_data
from tradingbot_exp.data.features import FEATURES as REGISTERED
from tradingbot_exp.data.features import WARMUP, compute_features, feature
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.identity import identity_tags, instrument, stamp
from tradingbot_exp.data.panel import layout_of
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.data.synthetic import synthetic_panel
from tradingbot_exp.errors import ConfigError, DataError, TradingBotError
from tradingbot_exp.evaluation.leakage.gate import check_leaks
from tradingbot_exp.evaluation.leakage.seams import check_fold, check_gap
from tradingbot_exp.experiment.data import load_data

FEATURES = ["ret_1", "ret_5", "vol_20", "clv"]
BARS = 260


def jagged(seed: int = 0) -> dict[str, pd.DataFrame]:
    """Four symbols: whole, late, ended early, and with gaps, one of which is long and lies at the train part's end."""
    whole = synthetic_panel(SyntheticConfig(bars=BARS, symbols=4, seed=seed))
    a, b, c, d = whole.values()
    gaps = np.ones(BARS, bool)
    gaps[[60, 61, 120, 190]] = False
    gaps[176:186] = False
    return {"A": a, "B": b.iloc[90:], "C": c.iloc[:200], "D": d[gaps]}


FRAMES = jagged()


def written(folder: Path, frames: dict[str, pd.DataFrame]) -> str:
    rows = pd.concat([frame.assign(symbol=symbol) for symbol, frame in frames.items()])
    rows.sample(frac=1, random_state=1).sort_index(kind="stable").to_csv(folder / "bars.csv")
    return str(folder / "bars.csv")


def config_of(path: str, **changes: object) -> DataConfig:
    return replace(DataConfig("csv", "csv", path, symbols="all", features=FEATURES), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("panel"), jagged())


def expected_rows(frames: dict[str, pd.DataFrame], horizon: int, length: int) -> pd.DataFrame:
    """One symbol after another: features, target, next return, and when the target and the next bar are known."""
    parts = []
    for symbol, frame in frames.items():
        table = compute_features(frame, FEATURES)
        close = np.log(frame["close"])
        table["target"] = close.shift(-horizon) - close
        table["next"] = close.shift(-1) - close
        table["known"] = pd.Series(frame.index, frame.index).shift(-horizon)
        table["windows"] = np.arange(len(table)) - WARMUP >= length - 1
        table["symbol"] = symbol
        parts.append(table.iloc[WARMUP : len(table) - horizon])
    rows = pd.concat(parts)
    rows.index.name = "date"
    return rows.reset_index().sort_values(["date", "symbol"], kind="stable").reset_index(drop=True)


@pytest.mark.parametrize(("horizon", "length"), [(1, 1), (5, 1), (1, 20), (5, 20)])
def test_rows_split_purge_and_windows_are_those_of_plain_loops(path: str, horizon: int, length: int) -> None:
    data = prepare_data(config_of(path, horizon=horizon, sequence_length=length), "float64")
    rows = expected_rows(jagged(), horizon, length)
    np.testing.assert_allclose(data.raw, rows[FEATURES].to_numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(data.target, rows["target"], atol=1e-9)
    assert data.next_return is not None
    np.testing.assert_allclose(data.next_return, rows["next"], atol=1e-9)
    assert list(data.index) == list(rows["date"])
    dates = sorted(set(rows["date"]))
    first, second = dates[int(len(dates) * 0.70)], dates[int(len(dates) * 0.85)]
    place = {date: number for number, date in enumerate(dates)}
    for block, start, end in ((data.train, dates[0], first), (data.val, first, second), (data.test, second, None)):
        wanted = rows[(rows["date"] >= start) & rows["windows"]]
        if end is not None:  # known before the next block starts, and not one of the dates that are dropped
            wanted = wanted[(wanted["known"] < end) & (wanted["date"].map(place) < place[end] - horizon)]
        assert list(np.arange(len(rows))[block.rows]) == list(wanted.index)
    train = rows[rows["date"] <= data.index[data.train.stop - 1]][FEATURES]
    scaled = (rows[FEATURES] - train.mean()) / train.std(ddof=0)
    inputs = data.inputs(data.val)
    for number, row in zip(inputs, data.val.numbers, strict=True):
        own = rows.index[(rows["symbol"] == rows.loc[row, "symbol"]) & (rows.index <= row)][-length:]
        np.testing.assert_allclose(number.reshape(length, -1), scaled.loc[own], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("horizon", [1, 5])
@pytest.mark.parametrize("scheme", ["walk_forward", "purged_kfold"])
def test_no_label_of_a_train_row_reaches_into_a_block_and_none_of_a_block_into_train_rows(
    path: str, scheme: str, horizon: int
) -> None:
    data = prepare_data(config_of(path, horizon=horizon))
    rows = expected_rows(jagged(), horizon, 1)
    validated: list[int] = []
    for view in fold_views(data, EvaluationConfig(scheme=scheme, folds=4)):
        check_fold(view)
        train, val = rows.loc[view.train.numbers], rows.loc[view.val.numbers]
        start, end = val["date"].min(), val["date"].max()
        before, after = train[train["date"] < start], train[train["date"] > end]
        assert len(before) + len(after) == len(train) and (before.empty or before["known"].max() < start)
        assert after.empty or val["known"].max() < after["date"].min()
        validated += list(val.index)
    assert validated == sorted(set(validated))
    check_gap(data, data.val, data.test)


@pytest.mark.parametrize("folds", [3, 4, 5])
def test_no_window_of_a_train_row_reaches_into_the_block_where_its_symbol_misses_bars(path: str, folds: int) -> None:
    data = prepare_data(config_of(path, sequence_length=4))
    for view in fold_views(data, EvaluationConfig(scheme="purged_kfold", folds=folds)):
        rows = view.train.numbers
        oldest, last = data.index[data.layout.windows(rows, 4)[:, 0]], view.dates(view.val)[-1]
        assert (oldest[data.index[rows] > last] > last).all()


@pytest.mark.parametrize("scheme", ["chronological", "walk_forward"])
def test_the_card_and_the_tags_count_the_dates_of_rows_that_are_kept(tmp_path: Path, scheme: str) -> None:
    frames = {"A": FRAMES["A"].iloc[::2], "B": FRAMES["A"].iloc[1::2]}  # in turn: the fourth date has no full window
    config = config_of(written(tmp_path, frames), sequence_length=4)
    whole = prepare_data(config)
    data = fold_views(whole, EvaluationConfig(scheme=scheme, folds=2))[-1]
    days, split = whole.days(whole.train), whole.card["split"]["train"]
    assert (split["dates"], split["start"]) == (len(days), days[0].isoformat())
    assert all(fold["train"]["start"] == days[0].isoformat() for fold in data.card.get("folds", ()))
    assert identity_tags(config, data)["data.train_start"] == stamp(days[0])
    assert list(data.panel.calendar).index(days[0]) == 6


def test_a_gap_at_the_seam_leaves_out_the_row_whose_target_comes_after_it(path: str) -> None:
    data = prepare_data(config_of(path, split=SplitConfig(train_end="2000-09-05", val_end="2000-10-20")))
    late = list(data.train.without)
    names = [data.panel.layout.names[data.panel.layout.symbol[row]] for row in late]
    assert names == ["D"] and data.index[late[0]] == jagged()["D"].index[172]  # the bar before its long gap
    broken = replace(data, train=replace(data.train, without=()))
    with pytest.raises(DataError, match=r"the label of the train row .* overlaps the val rows"):
        check_gap(broken, broken.train, broken.val)


def test_targets_compare_the_symbols_of_a_date(path: str) -> None:
    plain, excess, rank = (prepare_data(config_of(path, target=each)) for each in ("return", "excess_return", "rank"))
    by_date = pd.Series(plain.target).groupby(plain.index.to_numpy())
    np.testing.assert_allclose(excess.target, plain.target - by_date.transform("mean").to_numpy())
    several = by_date.transform("size") > 1
    ranks = ((by_date.rank() - 1) / (by_date.transform("size") - 1).clip(lower=1) - 0.5).where(several, 0.0)
    np.testing.assert_allclose(rank.target, ranks)
    assert rank.target.min() == -0.5 and rank.target.max() == 0.5
    assert not any(
        prepare_data(config_of(path, target=each, symbols=["A"])).target.any() for each in ("rank", "excess_return")
    )
    latest = pd.Series(plain.panel.known).groupby(plain.index.to_numpy()).transform("max")
    assert list(excess.panel.known) == list(latest)


@pytest.mark.parametrize("scaling", ["pooled", "symbol", "date"])
def test_scaling_is_what_a_groupby_makes_and_the_gate_sees_where_it_is_not(path: str, scaling: str) -> None:
    data = prepare_data(config_of(path, scaling=scaling, split=SplitConfig(0.8, 0.1, 0.1)), "float64")
    raw, train = pd.DataFrame(data.raw), slice(0, data.train.stop)
    if scaling == "date":
        groups = raw.groupby(data.index.to_numpy())
        spread = groups.transform(lambda column: column.std(ddof=0))
        expected = ((raw - groups.transform("mean")) / spread).where(spread > 1e-12, 0.0)
    else:
        key = data.layout.symbol if scaling == "symbol" else np.zeros(len(raw))
        groups = raw[train].groupby(key[train])
        expected = (raw - groups.mean().loc[key].to_numpy()) / groups.std(ddof=0).loc[key].to_numpy()
    np.testing.assert_allclose(data.scaled, expected, rtol=1e-7, atol=1e-9)
    check_leaks(data)
    scaled = data.scaled.copy()
    scaled[data.val.start, 1] += 0.01
    with pytest.raises(DataError, match=r"the feature ret_5 .* is not scaled by"):
        check_leaks(replace(data, scaled=scaled))


def test_a_folder_a_glob_and_a_file_of_all_are_the_same_data_and_symbols_choose(path: str, tmp_path: Path) -> None:
    for symbol, frame in jagged().items():
        frame.to_csv(tmp_path / f"{symbol}.csv")
    (tmp_path / "README.md").write_text("bars")
    (tmp_path / ".hidden.csv").write_text("nothing")
    whole = prepare_data(config_of(path))
    for given in (str(tmp_path), f"{tmp_path}/[A-D].csv"):
        for symbols in (None, "all", ["D", "A", "C", "B"]):
            data = prepare_data(config_of(given, symbols=symbols))
            assert data.fingerprint == whole.fingerprint and data.card["symbols"] == whole.card["symbols"]
    two = prepare_data(config_of(path, symbols=["D", "A"]))
    assert two.symbols == ("A", "D")
    one = prepare_data(config_of(str(tmp_path), symbols=None, symbol="A"))
    assert one.symbols == () and one.symbol == "A"
    assert whole.card["symbols"]["D"]["missing"] == 14 and whole.card["symbols"]["B"]["start"].startswith("2000-05-08")


def test_symbols_without_a_row_before_the_test_part_are_left_out_by_name(tmp_path: Path) -> None:
    frames = jagged() | {"E": jagged()["A"].iloc[-30:], "F": jagged(1)["A"].iloc[-WARMUP - 20 :]}
    data = prepare_data(config_of(written(tmp_path, frames)))
    assert data.symbols == ("A", "B", "C", "D")
    assert set(data.card["left_out"]) == {"E", "F"}
    assert "too few" in data.card["left_out"]["E"] and "test part" in data.card["left_out"]["F"]
    assert data.fingerprint == prepare_data(config_of(written(tmp_path, jagged()))).fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbols": ["A", "Z"]}, r"data\.symbols: 'Z' is not in .*bars\.csv, which has A, B, C, D"),
        ({"symbols": ["A", "A"]}, r"data\.symbols must be all, or a list"),
        ({"symbols": None}, r"holds 4 instruments .*data\.symbols=all"),
        ({"symbol": "A"}, r"data\.symbol=A chooses one instrument, and data\.symbols=all several"),
        ({"symbols": None, "symbol": "A", "scaling": "date"}, r"data\.scaling=date is for several instruments"),
        ({"symbols": None, "symbol": "A", "target": "rank"}, r"data\.target=rank is for several instruments"),
        ({"scaling": "symbols"}, r"data\.scaling must be one of pooled, symbol, date"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(path: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        prepare_data(config_of(path, **changes))


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("twice", lambda frame: pd.concat([frame, frame.iloc[[50]]]).sort_index(), r"bars\.csv, B, .* is a duplicate"),
        ("zone", lambda frame: frame.tz_localize("UTC"), r"those of B in UTC"),
        ("price", lambda frame: frame.assign(close=-1.0), r"close is -1; expected a price above 0"),
    ],
)
def test_a_faulty_symbol_is_named(tmp_path: Path, name: str, make: object, message: str) -> None:
    frames = jagged()
    frames["B"] = make(frames["B"])  # type: ignore[operator]
    given = str(tmp_path)
    if name == "zone":
        for symbol, frame in frames.items():
            frame.to_csv(tmp_path / f"{symbol}.csv")
    else:
        given = written(tmp_path, frames)
    with pytest.raises(TradingBotError, match=message):
        prepare_data(config_of(given))


def test_a_file_that_holds_no_bars_is_named_and_so_is_one_of_several_symbols(tmp_path: Path) -> None:
    for symbol, frame in jagged().items():
        frame.to_csv(tmp_path / f"{symbol}.csv")
    (tmp_path / "universe.csv").write_text("symbol,weight\nA,1\nB,2\n")
    with pytest.raises(DataError, match=r"universe\.csv holds 2 instruments, A, B"):
        prepare_data(config_of(str(tmp_path)))
    (tmp_path / "universe.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"universe\.csv has no time column"):
        prepare_data(config_of(str(tmp_path)))


def test_the_bundled_panel_has_five_symbols_of_which_one_comes_too_late() -> None:
    data = prepare_data(DataConfig("tech", "bundled"))
    assert data.symbols == ("AAPL", "GOOG", "IBM", "MSFT")
    assert list(data.card["left_out"]) == ["FB"]
    assert [len(block) for block in (data.train, data.val, data.test)] == [7934, 1936, 1944]
    one = prepare_data(DataConfig("tech", "bundled", symbol="IBM"))
    assert one.fingerprint == prepare_data(DataConfig()).fingerprint


def test_the_synthetic_panel_has_its_signal_across_symbols_and_none_in_the_market() -> None:
    source = DataConfig(
        "synthetic", "synthetic", synthetic=SyntheticConfig(bars=1500, symbols=30), target="excess_return"
    )
    data = prepare_data(replace(source, scaling="date"))
    past = data.raw[:, data.feature_names.index("ret_1")]
    days = data.layout.days
    excess = past - (np.bincount(days, past) / np.bincount(days))[days]
    assert np.corrcoef(excess, data.target)[0, 1] == pytest.approx(0.3, abs=0.02)
    market = np.bincount(days, data.next_return) / np.bincount(days)
    assert abs(np.corrcoef(market[1:], market[:-1])[0, 1]) < 0.1


def test_a_feature_that_knows_its_future_is_found_in_any_symbol(path: str) -> None:
    @feature("leak")
    def leak(bars: pd.DataFrame) -> pd.Series:
        late = bars.index[0] > pd.Timestamp("2000-04-01")  # of B, the symbol with the fewest bars, alone
        return bars["close"].shift(-1).fillna(1.0) if late else bars["close"]

    with pytest.raises(DataError, match="B: the feature leak knows its future"):
        check_leaks(prepare_data(config_of(path, features=["ret_1", "leak"])))


@pytest.mark.parametrize("scheme", ["chronological", "walk_forward", "purged_kfold"])
def test_a_panel_of_one_symbol_is_cut_and_scaled_as_the_instrument_is(path: str, scheme: str) -> None:
    alone, panel = (
        prepare_data(config_of(path, sequence_length=4, horizon=2, symbols=symbols, symbol=symbol))
        for symbols, symbol in ((None, "A"), (["A"], None))
    )
    evaluation = EvaluationConfig(scheme=scheme, folds=3, window="rolling")
    assert (alone.symbols, panel.symbols) == ((), ("A",))
    for one, other in zip(fold_views(alone, evaluation), fold_views(panel, evaluation), strict=True):
        assert (one.train, one.val, one.test) == (other.train, other.val, other.test)
        np.testing.assert_array_equal(one.scaled, other.scaled)
        np.testing.assert_array_equal(one.inputs(one.val), other.inputs(other.val))
    assert np.shares_memory(alone.inputs(alone.train), alone.scaled)


def test_the_layout_of_rows_in_any_order_is_that_of_the_panel(path: str) -> None:
    data: PreparedData = prepare_data(config_of(path))
    names = np.array(data.layout.names)[data.layout.symbol]
    shuffled = np.random.default_rng(0).permutation(len(names))
    layout, order = layout_of(pd.Series(data.index[shuffled]), pd.Series(names[shuffled]))
    assert list(shuffled[order]) == list(range(len(names)))
    for name in ("date", "symbol", "days", "earlier", "by_symbol"):
        assert list(getattr(layout, name)) == list(getattr(data.layout, name)), name
    with pytest.raises(DataError, match=r"A has 2000-02-17 00:00:00 twice"):
        layout_of(pd.Series(data.index[[0, 0]]), pd.Series(["A", "A"]))


class Standard:
    def fit(self, bars: pd.DataFrame) -> None:
        returns = np.log(bars["close"]).diff().iloc[1:]
        self.mean, self.std = float(returns.mean()), float(returns.std())

    def transform(self, bars: pd.DataFrame) -> pd.Series:
        return (np.log(bars["close"]).diff() - self.mean) / self.std


class Fails(Standard):
    def fit(self, bars: pd.DataFrame) -> None:
        super().fit(bars)
        assert bars.index[0] != FRAMES["B"].index[0]


@pytest.mark.parametrize("fails", [False, True])
def test_a_symbol_that_has_too_little_to_learn_from_is_left_out_and_one_that_cannot_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    frames = FRAMES | {"E": jagged(1)["A"].iloc[BARS - 70 :]}
    monkeypatch.setitem(REGISTERED, "standard", Fails if fails else Standard)
    config = config_of(written(tmp_path, frames), features=["standard", "ret_5"])
    if fails:
        with pytest.raises(ConfigError, match=r"^B: .*standard"):
            prepare_data(config)
        return
    data = prepare_data(config)
    assert data.symbols == ("A", "B", "C", "D") and "the feature standard" in data.card["left_out"]["E"]
    assert set(prepare_data(replace(config, features=FEATURES)).symbols) == {*"ABCDE"}


def test_a_symbol_that_begins_between_validation_and_test_part_is_left_out(tmp_path: Path) -> None:
    frames = FRAMES | {"E": jagged(1)["A"].iloc[BARS - 93 :]}  # its rows begin within the 20 dates of the purge
    data = prepare_data(config_of(written(tmp_path, frames), horizon=20))
    assert set(data.card["left_out"]) == {"E"}
    check_leaks(data)


def test_one_symbol_of_the_synthetic_panel_has_its_bars() -> None:
    process = SyntheticConfig(bars=300, symbols=3)
    config = DataConfig("synthetic", "synthetic", symbol="S002", synthetic=process)
    pd.testing.assert_frame_equal(load_bars(config).frame, synthetic_panel(process)["S002"])
    data = prepare_data(config)
    assert data.symbols == () and instrument(config, data) == "SYNTHETIC S002 of a panel signal=0.3 seed=0"
    with pytest.raises(ConfigError, match=r"data.symbol=S004: the process has the symbols S001, S002, S003"):
        load_bars(replace(config, symbol="S004"))


@pytest.mark.parametrize("path", [".", "postgresql://host/db?x=1"])
def test_what_a_path_means_is_for_the_users_own_source_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    given = []

    def mine(config: DataConfig) -> pd.DataFrame:
        given.append(config.path)
        return FRAMES["A"].reset_index()

    (tmp_path / "a.csv").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SOURCES, "mine", mine)
    data = load_data(Config(data=DataConfig("mine", "mine", path)))
    assert data.symbols == () and given == [str(tmp_path) if path == "." else path]


def test_a_table_may_call_its_target_as_it_likes(tmp_path: Path) -> None:
    rows = [frame.assign(symbol=symbol, x=np.arange(len(frame)), rank=1.5) for symbol, frame in FRAMES.items()]
    pd.concat(rows).to_csv(tmp_path / "table.csv")
    config = DataConfig("table", "table", str(tmp_path / "table.csv"), symbols="all", features=["x"], target="rank")
    data = prepare_data(config)
    assert data.symbols == (*"ABCD",) and (data.target == 1.5).all()
