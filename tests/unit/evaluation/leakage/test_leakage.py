"""The leak gate: what knows its future is refused by name, and nothing of ours is; what looks too good is said."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from tradingbot_exp.config.choices import DEFAULT_FEATURES
from tradingbot_exp.config.schema import DataConfig, SyntheticConfig
from tradingbot_exp.data import PreparedData, prepare_data
from tradingbot_exp.data.features import FEATURES, feature
from tradingbot_exp.data.sources import load_bars
from tradingbot_exp.data.synthetic import synthetic_bars
from tradingbot_exp.errors import DataError
from tradingbot_exp.evaluation.leakage.altered import dated_later
from tradingbot_exp.evaluation.leakage.gate import check_leaks
from tradingbot_exp.evaluation.leakage.points import inside_its_periods
from tradingbot_exp.evaluation.leakage.repeats import repeated_rows
from tradingbot_exp.evaluation.leakage.suspicion import suspicious_columns

Series = "pd.Series[float]"
SMALL = DataConfig(name="synthetic", source="synthetic", synthetic=SyntheticConfig(bars=600))


@pytest.fixture(scope="module")
def ibm() -> PreparedData:
    return prepare_data(DataConfig())


def with_feature(function: Callable[[pd.DataFrame], Series], config: DataConfig = SMALL) -> PreparedData:
    """Prepare data with `function` registered as a user registers one, beside an honest one."""
    feature("mine")(function)  # type: ignore[arg-type]
    return prepare_data(replace(config, features=["ret_1", "mine"]))


@pytest.mark.parametrize(
    "config",
    [
        DataConfig(),
        DataConfig(name="msft"),
        SMALL,
        DataConfig(name="synthetic", source="synthetic", synthetic=SyntheticConfig(bars=150, signal=0.9)),
        DataConfig(horizon=5, sequence_length=20, target="direction", features=[*DEFAULT_FEATURES, "volume"]),
    ],
    ids=["ibm", "msft", "synthetic", "few", "ahead"],
)
def test_the_ten_features_pass_on_all_bundled_data(config: DataConfig) -> None:
    report = check_leaks(prepare_data(config))
    assert report.suspicious == ()
    assert report.words.startswith("10 features computed again on bars that end with 20")
    assert "the scaler is that of the train rows alone; no label reaches into the next block" in report.words


LEAKS: dict[str, Callable[[pd.DataFrame], Series]] = {
    "centred window": lambda bars: bars["close"].rolling(5, center=True).mean().bfill().ffill() / bars["close"],
    "next bar": lambda bars: bars["close"].shift(-1).fillna(bars["close"]) / bars["close"],
    "ten bars on": lambda bars: bars["volume"].shift(-10).ffill() / bars["volume"],
    "mean of all": lambda bars: bars["close"] - bars["close"].mean(),
    "last row": lambda bars: bars["close"] / bars["close"].iloc[-1],
    "highest of all": lambda bars: bars["close"] / bars["high"].max(),
    "lowest of all": lambda bars: bars["low"].min() / bars["close"],
    "rank in all": lambda bars: bars["close"].rank(pct=True),
    "end of the month": lambda bars: (
        bars["close"].groupby(pd.DatetimeIndex(bars.index).to_period("M")).transform("last") / bars["close"]
    ),
    "end of the week": lambda bars: (
        bars["close"].groupby(pd.DatetimeIndex(bars.index).to_period("W")).transform("last") / bars["close"]
    ),
    "share of the length": lambda bars: pd.Series(np.arange(len(bars)) / len(bars), bars.index),
    "mean of all, one part in a million": lambda bars: bars["close"].diff().fillna(0.0) + 1e-6 * bars["close"].mean(),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_feature_that_knows_its_future_is_refused_by_name_with_its_first_bar(leak: str) -> None:
    data = with_feature(LEAKS[leak])
    with pytest.raises(DataError, match="the feature mine knows its future: its value on 200") as caught:
        check_leaks(data)
    assert "ret_1" not in str(caught.value)


@pytest.mark.parametrize("day", [4, 15, 28])
def test_a_feature_that_looks_ahead_on_one_day_a_month_alone_is_refused(day: int) -> None:
    def monthly(bars: pd.DataFrame) -> Series:
        close, dates = bars["close"], pd.DatetimeIndex(bars.index)
        return pd.Series(np.where(dates.day == day, close.shift(-1).fillna(close), close), bars.index)

    data = with_feature(monthly, DataConfig())
    with pytest.raises(DataError, match=rf"the feature mine knows its future: its value on 20\d\d-\d\d-{day:02}"):
        check_leaks(data)


def test_a_slow_feature_is_not_computed_more_than_a_few_times() -> None:
    computed = []

    def slow(bars: pd.DataFrame) -> Series:
        computed.append(len(bars))
        until = time.process_time() + 0.06
        while time.process_time() < until:
            pass
        return bars["close"]

    words = check_leaks(with_feature(slow)).words
    assert len(computed) == 9 and "other bars" not in words  # once for the data, at four points, and as other bars


def test_each_point_lies_inside_its_week_and_month_and_of_intraday_bars_its_day() -> None:
    for bars in range(400, 412):
        data = prepare_data(replace(SMALL, synthetic=SyntheticConfig(bars=bars)))
        points = re.findall(r"200\d-\d\d-\d\d", check_leaks(data).words)
        assert len(points) == 4
        for point in map(pd.Timestamp, points):
            after = data.index[data.index.get_loc(point) + 1]
            assert after.isocalendar()[:2] == point.isocalendar()[:2] and after.month == point.month
    hourly = pd.date_range("2024-01-01", periods=300, freq="4h", tz="America/New_York")
    for t in range(100, 130):
        point = inside_its_periods(hourly, t)
        assert t - 2 <= point <= t and hourly[point].date() == hourly[point + 1].date()


def test_the_first_bar_is_the_earliest_whose_value_needs_a_later_bar() -> None:
    data = with_feature(lambda bars: bars["close"].rolling(5, center=True).mean().bfill().ffill())
    with pytest.raises(DataError) as caught:
        check_leaks(data)
    text = str(caught.value)
    first, last = (pd.Timestamp(text.split(word, 1)[1][:10]) for word in ("its value on ", "bars after "))
    assert data.index.get_loc(last) - data.index.get_loc(first) == 1  # of five bars, the last two are ahead
    assert "2 move" in text


def test_honest_features_of_a_user_pass_whatever_their_memory() -> None:
    honest: dict[str, Callable[[pd.DataFrame], Series]] = {
        "ewm": lambda bars: bars["close"].ewm(alpha=0.01).mean(),
        "expanding": lambda bars: bars["close"] / bars["close"].expanding().max(),
        "sum": lambda bars: (np.sign(bars["close"].diff()) * bars["volume"]).fillna(0.0).cumsum(),
        "calendar": lambda bars: pd.Series(pd.DatetimeIndex(bars.index).day_of_week / 4.0, bars.index),
        "fft": lambda bars: pd.Series(
            np.fft.irfft(np.fft.rfft(bars["close"], 2048) * np.fft.rfft([0.5, 0.3, 0.2], 2048))[: len(bars)], bars.index
        ),
    }
    for name, function in honest.items():
        feature(name)(function)  # type: ignore[arg-type]
    check_leaks(prepare_data(replace(SMALL, features=list(honest))))


def test_a_feature_that_is_random_or_cannot_do_with_fewer_bars_says_so() -> None:
    data = with_feature(lambda bars: pd.Series(np.random.default_rng().normal(size=len(bars)), bars.index))
    with pytest.raises(DataError, match="the feature mine is another one each time that it is computed"):
        check_leaks(data)
    del FEATURES["mine"]
    data = with_feature(lambda bars: bars["close"] / bars["close"].iloc[599])
    with pytest.raises(DataError, match=r"the feature mine cannot be computed where the bars after .* are left out"):
        check_leaks(data)


def test_a_scaler_that_has_seen_more_than_the_train_rows_is_refused(ibm: PreparedData) -> None:
    for rows in (ibm.raw, ibm.raw[: ibm.val.stop], ibm.raw[: ibm.train.stop + 1]):
        scaler = StandardScaler().fit(rows)
        data = replace(ibm, scaler=scaler, scaled=scaler.transform(ibm.raw).astype("float32"))
        with pytest.raises(DataError, match=r"the scaler knows more than the train rows: its mean of ret_1 is"):
            check_leaks(data)
    data = replace(ibm, scaled=StandardScaler().fit_transform(ibm.raw).astype("float32"))
    with pytest.raises(DataError, match=r"ret_1 on 2000-04-17 .* is not scaled by the scaler of the train"):
        check_leaks(data)


def test_a_label_that_reaches_into_the_next_block_is_refused(ibm: PreparedData) -> None:
    with pytest.raises(DataError, match=r"label of the train row 2009-04-20 .* overlaps the val rows.*: 1 row"):
        check_leaks(replace(ibm, panel=replace(ibm.panel, known=ibm.panel.known + 1)))
    with pytest.raises(DataError, match=r"label of the val row 2011-03-23 .* overlaps the test rows.*: 1 row"):
        check_leaks(replace(ibm, val=replace(ibm.val, stop=ibm.test.start)))


def test_data_are_checked_once_a_process(ibm: PreparedData) -> None:
    assert check_leaks(ibm) is check_leaks(ibm)


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., DataConfig]:
    """Write a table of features and a target made of bars, and give the configuration that reads it."""

    def write(**columns: Callable[[Series, np.random.Generator], object]) -> DataConfig:
        close = synthetic_bars(SyntheticConfig(bars=800, signal=0.3))["close"]
        now = np.log(close).diff()
        frame = pd.DataFrame({"r": now, "y": now.shift(-1)})
        rng = np.random.default_rng(0)
        for name, make in columns.items():
            frame[name] = make(frame["y"], rng)
        frame.iloc[1:].to_csv(tmp_path / "table.csv")
        return DataConfig(
            "table", "table", str(tmp_path / "table.csv"), features=list(columns), target="y", returns="r"
        )

    return write


def test_columns_of_a_table_that_are_too_good_to_be_true_are_said_and_others_not(
    table: Callable[..., DataConfig], caplog: pytest.LogCaptureFixture
) -> None:
    config = table(
        today=lambda y, rng: y.shift(1),  # the true signal: a correlation of 0.3
        noise=lambda y, rng: rng.normal(size=len(y)),
        label=lambda y, rng: y.fillna(0.0),
        order=lambda y, rng: np.exp(400 * y.fillna(0.0)),  # tells by its order, and hardly by Pearson's
        late=lambda y, rng: y.shift(-3).fillna(0.0) + rng.normal(0, 0.002, len(y)),
    )
    with caplog.at_level(logging.WARNING):
        report = check_leaks(prepare_data(config))
    assert [each.name for each in report.suspicious] == ["label", "order", "late"]
    assert [each.ahead for each in report.suspicious] == [0, 0, 3]
    assert report.suspicious[0].correlation == pytest.approx(1.0)
    assert [record.args for record in caplog.records] == [(each,) for each in report.suspicious]
    assert "today, noise, label, order, late: cannot be computed again" in report.words
    assert report.tags()["leakage.suspicious"].startswith("label (1.00), order (")  # type: ignore[union-attr]
    assert "The column late looks too good to be true: its correlation with the target 3 rows later" in caplog.text


def test_a_persistent_target_excuses_what_its_own_past_tells_as_well() -> None:
    rng = np.random.default_rng(1)
    level = np.zeros(3000)
    for t in range(1, 3000):
        level[t] = 0.97 * level[t - 1] + rng.normal()
    target, past = level[1:], level[:-1] + 0.1 * rng.normal(size=2999)
    assert suspicious_columns(past[:, None], target, ["past"], 1, np.arange(2999)) == ()
    (found,) = suspicious_columns(
        (target + 0.1 * rng.normal(size=2999))[:, None], target, ["itself"], 1, np.arange(2999)
    )
    assert found.correlation > 0.99 > found.known > 0.9


@pytest.mark.parametrize(("horizon", "ahead"), [(1, 0), (1, 3), (30, 5)])
def test_of_a_long_series_a_column_that_tells_by_its_order_is_found_on_evenly_spread_rows(
    horizon: int, ahead: int
) -> None:
    target = np.random.default_rng(3).normal(size=70_000)
    column = np.exp(8 * np.roll(target, -ahead))
    (found,) = suspicious_columns(
        np.column_stack([column, target[::-1]]), target, ["order", "other"], horizon, np.arange(70_000)
    )
    assert (found.name, found.ahead, found.rows) == ("order", ahead, 20_000)
    assert found.correlation == pytest.approx(1.0, abs=1e-4) and abs(found.known) < 0.03


def test_few_rows_and_constant_columns_raise_no_alarm() -> None:
    rng = np.random.default_rng(2)
    target = rng.normal(size=34)
    assert suspicious_columns(target[:, None], target, ["label"], 1, np.arange(34)) == ()
    target = rng.normal(size=100)
    assert suspicious_columns(np.full((100, 1), 0.1), target, ["constant"], 1, np.arange(100)) == ()
    assert suspicious_columns(target[:, None], np.full(100, 0.1), ["y"], 1, np.arange(100)) == ()


def test_a_column_of_a_users_bars_is_compared_and_not_taken_for_a_feature(tmp_path: Path) -> None:
    bars = synthetic_bars(SyntheticConfig(bars=400, signal=0.0))
    bars["hint"] = np.log(bars["close"]).diff().shift(-1).fillna(0.0)
    bars.to_csv(tmp_path / "bars.csv")
    config = DataConfig("csv", "csv", str(tmp_path / "bars.csv"), features=["ret_1", "hint"])
    report = check_leaks(prepare_data(config))
    assert [each.short for each in report.suspicious] == ["hint (1.00)"]
    assert report.words.startswith("1 features computed again") and "hint: cannot be computed again" in report.words
    assert report.unchecked == ("hint",) and report.inputs == "leaks"


def test_a_feature_of_something_else_than_the_bars_is_not_checked_and_one_of_the_weekday_is() -> None:
    bars = load_bars(SMALL).frame
    tomorrow = np.log(bars["close"]).diff().shift(-1).fillna(0.0)  # as if read from a file, when it was imported

    def dated(bars: pd.DataFrame) -> Series:
        return tomorrow.reindex(bars.index).fillna(0.0)

    def strict(bars: pd.DataFrame) -> Series:
        return tomorrow.loc[bars.index]

    def by_place(bars: pd.DataFrame) -> Series:
        return pd.Series(tomorrow.to_numpy()[: len(bars)], bars.index)

    def mixed(bars: pd.DataFrame) -> Series:
        return bars["close"].pct_change() + 1e-3 * dated(bars)

    def mixed_by_place(bars: pd.DataFrame) -> Series:
        return bars["close"].pct_change() + 0.4 * by_place(bars)

    def long_memory(bars: pd.DataFrame) -> Series:
        return bars["close"].expanding().mean() / bars["close"] + bars["volume"].cumsum() / 1e9

    def weekday(bars: pd.DataFrame) -> Series:
        return bars["close"].diff() * (pd.DatetimeIndex(bars.index).weekday == 0)

    for function, unchecked in (
        *((each, True) for each in (dated, strict, by_place, mixed, mixed_by_place)),
        *((each, False) for each in (weekday, long_memory)),
    ):
        FEATURES.pop("mine", None)
        report = check_leaks(with_feature(function))
        assert report.unchecked == (("mine",) if unchecked else ()), function.__name__
        assert ("mine: of more than the bars" in report.words) == unchecked
        assert report.inputs == ("leaks" if report.suspicious else "not checked" if unchecked else "checked")


def test_bars_that_a_file_has_twice_under_other_dates_are_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bars = synthetic_bars(SyntheticConfig(bars=600, signal=0.0))
    again = bars.iloc[100:140].set_axis(bars.index[-1] + pd.to_timedelta(np.arange(1, 41), "D"))
    pd.concat([bars, again]).rename_axis("date").to_csv(tmp_path / "bars.csv")
    report = check_leaks(prepare_data(DataConfig("csv", "csv", str(tmp_path / "bars.csv"))))
    assert report.repeated is not None and report.inputs == "leaks"
    # The last of the 40 has no target.
    assert (report.repeated.rows, report.repeated.of) == (39, str(bars.index[100].date()))
    assert "39 repeated rows" in str(report.tags()["leakage.suspicious"]) and "39 rows repeat" in report.why
    assert "39 rows equal an earlier row" in caplog.text


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("sampled with replacement", 370),
        ("five at the end once more", 5),
        ("continuous", 0),
        ("signs that foretell a sign", 0),
        ("rounded", 0),
        ("one column of few values", 0),
        ("a market that often stands still", 0),
        ("weekly values in daily rows", 0),
        ("buckets that foretell a bucket", 0),
    ],
)
def test_repeated_rows_are_told_from_what_chance_and_few_values_make(name: str, rows: int) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(1000, 3)), rng.normal(size=1000)
    picked = np.arange(1000)
    if name == "sampled with replacement":
        picked = rng.integers(0, 1000, 1000)
    elif name == "five at the end once more":
        picked[-5:] = range(5)
    elif name == "signs that foretell a sign":
        x, y = np.sign(x), np.sign(x[:, 0] + 0.5 * y)
    elif name == "rounded":
        x, y = x.round(1), (y + 0.3 * x[:, 0]).round(2)
    elif name == "one column of few values":
        x, y = x[:, :1].round(1), y.round(1)
    elif name == "a market that often stands still":
        still = rng.random(1000) < 0.3
        x[still], y[still] = 0.0, 0.0
    elif name == "weekly values in daily rows":
        x, y = np.repeat(x[:200], 5, axis=0), np.repeat(y[:200], 5)
    elif name == "buckets that foretell a bucket":
        x = np.floor(4 * rng.random((1000, 2)))
        y = np.where(rng.random(1000) < 0.8, x[:, 0], x[:, 1])
    found = repeated_rows(x[picked], y[picked][:, None], pd.date_range("2020-01-01", periods=1000))
    # A row that equals the one before is not counted.
    expected = 1000 - len(set(picked)) - int(np.sum(picked[1:] == picked[:-1])) if rows else 0
    assert (0 if found is None else found.rows) == expected and abs(rows - expected) < 20


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_bars_of_another_year_have_the_same_weekday_and_hour_where_the_clock_goes_back_as_well(
    zone: str | None,
) -> None:
    index = pd.date_range("2021-01-01", "2023-12-31", freq="h", tz=zone)
    bars = pd.DataFrame({"close": np.arange(len(index), dtype=float)}, index=index)
    later = pd.DatetimeIndex(dated_later(bars).index)
    assert len(later) == len(index) and later.tz == index.tz
    moved = (later.day_of_week != index.day_of_week) | (later.hour != index.hour)
    assert moved.sum() <= 3  # hours that the later year leaves out
