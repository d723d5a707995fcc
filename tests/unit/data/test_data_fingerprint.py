"""The fingerprint changes with any content, and with nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.data.fingerprint import fingerprint
from tradingbot_exp.data.sources import load_bars

Write = Callable[..., DataConfig]
N = 20_000
FRAME = pd.DataFrame(
    {"a": np.arange(N, dtype=np.float64), "b": np.arange(N), "word": [f"w{i}" for i in range(N)]},
    index=pd.date_range("2000-01-01", periods=N, freq="h", name="date"),
)


def replaced(row: int, column: str, value: object) -> pd.DataFrame:
    frame = FRAME.copy()
    frame.iloc[row, frame.columns.get_loc(column)] = value
    return frame


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda: replaced(0, "a", -1.0), id="first row"),
        pytest.param(lambda: replaced(15_000, "a", np.nextafter(15_000.0, 0)), id="last bit of a late row"),
        pytest.param(lambda: replaced(19_999, "word", "x"), id="last text"),
        pytest.param(lambda: replaced(19_999, "word", None), id="missing text"),
        pytest.param(lambda: FRAME.shift(freq="D"), id="timestamps a day later"),
        pytest.param(lambda: FRAME.tz_localize("UTC"), id="zone"),
        pytest.param(lambda: FRAME.tz_localize("UTC").tz_convert("Europe/Berlin"), id="same instants elsewhere"),
        pytest.param(lambda: FRAME.astype({"b": "int32"}), id="dtype"),
        pytest.param(lambda: FRAME.astype({"b": "float64"}), id="dtype of equal numbers"),
        pytest.param(lambda: FRAME.rename(columns={"a": "A"}), id="column name"),
        pytest.param(lambda: FRAME[["b", "a", "word"]], id="column order"),
        pytest.param(lambda: FRAME.iloc[::-1], id="row order"),
        pytest.param(lambda: FRAME.iloc[:-1], id="one row less"),
        pytest.param(lambda: FRAME.assign(word=FRAME["word"].sample(frac=1, random_state=0).values), id="words"),
    ],
)
def test_fingerprint_sees(change: Callable[[], pd.DataFrame]) -> None:
    assert fingerprint(change()) != fingerprint(FRAME)


def test_fingerprint_tells_dtypes_apart_whose_bytes_are_equal() -> None:
    zeros = pd.DataFrame({"a": np.zeros(3)})
    assert zeros["a"].to_numpy().tobytes() == zeros["a"].astype("int64").to_numpy().tobytes()
    assert fingerprint(zeros) != fingerprint(zeros.astype("int64"))


def test_fingerprint_is_stable_and_fits_mlflows_digest() -> None:
    assert fingerprint(FRAME.copy()) == fingerprint(FRAME)
    assert fingerprint(FRAME.rename_axis(index="time")) == fingerprint(FRAME)
    assert fingerprint(FRAME.set_axis(FRAME.index.as_unit("s"))) == fingerprint(FRAME)
    assert len(fingerprint(FRAME)) == 32
    assert set(fingerprint(FRAME)) <= set("0123456789abcdef")


def test_of_a_column_of_texts_every_row_counts_as_it_is_written() -> None:
    texts = ["S1", "a'b\"c", "\n☃", None, "S1", ""]
    head = repr([6, "None", "symbol", "str"]).encode()
    digest = hashlib.sha256(head)
    for part in (np.arange(6).tobytes(), repr(texts).encode()):
        digest.update(len(part).to_bytes(8, "little") + part)
    index = pd.DatetimeIndex(np.arange(6))
    assert fingerprint(pd.DataFrame({"symbol": pd.Series(texts, index, dtype="str")})) == digest.hexdigest()[:32]


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_the_same_bars_from_csv_and_parquet_have_one_fingerprint(
    bars: pd.DataFrame, write: Write, zone: str | None
) -> None:
    # Daily bars of one winter: a CSV can only say the offset, so the zone is named by it for Parquet too.
    bars = bars.iloc[:60].assign(volume=bars["volume"].astype("int64"), spread=0.1 + bars["close"] % 1)
    if zone is not None:
        bars["date"] = bars["date"].dt.tz_localize(zone)
        if zone != "UTC":
            bars["date"] = pd.to_datetime(bars["date"].astype(str))
    from_csv = load_bars(write(bars, "bars.csv"))
    from_parquet = load_bars(write(bars, "bars.parquet"))
    pd.testing.assert_frame_equal(from_csv.frame, from_parquet.frame, check_exact=True)
    assert fingerprint(from_csv.frame) == fingerprint(from_parquet.frame)


def test_only_columns_that_are_used_count(bars: pd.DataFrame, write: Write) -> None:
    spread = bars.assign(spread=bars["close"] % 1)
    plain, unused = prepare_data(write(bars)), prepare_data(write(spread))
    used = prepare_data(write(spread, features=["ret_1", "spread"]))
    assert plain.fingerprint == unused.fingerprint != used.fingerprint
