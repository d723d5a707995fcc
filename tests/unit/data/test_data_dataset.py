"""Prepared data are aligned, scaled on train alone, and windows cost no memory."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from tradingbot_exp.config.choices import DEFAULT_FEATURES
from tradingbot_exp.config.schema import DataConfig, SplitConfig
from tradingbot_exp.data import PreparedData, prepare_data

Write = Callable[..., DataConfig]


def test_ibm_has_the_rows_that_the_design_fixes(ibm: PreparedData) -> None:
    assert len(ibm.index) == 3236
    assert [len(block) for block in (ibm.train, ibm.val, ibm.test)] == [2264, 484, 486]
    assert ibm.feature_names == DEFAULT_FEATURES
    assert ibm.raw.shape == ibm.scaled.shape == (3236, 10)
    assert (ibm.raw.dtype, ibm.scaled.dtype, ibm.target.dtype) == (np.float64, np.float32, np.float64)


def test_features_choose_columns_and_not_rows(ibm: PreparedData) -> None:
    few = prepare_data(DataConfig(features=["clv", "ret_1"]))
    assert few.index.equals(ibm.index)
    np.testing.assert_array_equal(few.raw, ibm.raw[:, [9, 0]])
    assert few.fingerprint == ibm.fingerprint


@pytest.mark.parametrize("horizon", [1, 5])
def test_target_is_the_log_return_over_the_horizon(ibm_bars: pd.DataFrame, horizon: int) -> None:
    data = prepare_data(DataConfig(horizon=horizon))
    close = ibm_bars["close"].to_numpy()
    assert len(data.index) == 3237 - horizon
    at = ibm_bars.index.get_indexer(data.index)
    np.testing.assert_allclose(data.target, np.log(close[at + horizon] / close[at]), atol=1e-14)
    assert data.next_return is not None
    np.testing.assert_allclose(data.next_return, np.log(close[at + 1] / close[at]), atol=1e-14)
    direction = prepare_data(DataConfig(horizon=horizon, target="direction"))
    np.testing.assert_array_equal(direction.target, (data.target > 0).astype(float))


def test_no_target_of_train_reaches_into_validation(ibm: PreparedData) -> None:
    data = prepare_data(DataConfig(horizon=5))
    assert data.val.start - data.train.stop == data.test.start - data.val.stop == 5


def test_the_scaler_saw_the_train_rows_alone(ibm: PreparedData) -> None:
    train = ibm.raw[ibm.train.rows]
    np.testing.assert_allclose(ibm.scaler.mean_, train.mean(axis=0), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(ibm.scaler.scale_, train.std(axis=0), rtol=1e-9)
    np.testing.assert_allclose(ibm.inputs(ibm.train).mean(axis=0), 0, atol=1e-5)


def test_poisoned_validation_and_test_rows_move_neither_scaler_nor_train_inputs(
    bars: pd.DataFrame, write: Write
) -> None:
    clean = prepare_data(write(bars))
    first = bars.index[bars["date"] == clean.index[clean.train.stop]][0]
    prices = ["open", "high", "low", "close", "volume"]
    bars.loc[first:, prices] *= np.linspace(2, 50, len(bars) - first)[:, None]
    poisoned = prepare_data(write(bars))
    np.testing.assert_array_equal(poisoned.scaler.mean_, clean.scaler.mean_)
    np.testing.assert_array_equal(poisoned.scaler.scale_, clean.scaler.scale_)
    np.testing.assert_array_equal(poisoned.inputs(poisoned.train), clean.inputs(clean.train))
    assert not np.array_equal(poisoned.inputs(poisoned.val), clean.inputs(clean.val))
    assert poisoned.fingerprint != clean.fingerprint


def test_windows_share_memory_are_read_only_and_end_at_their_row() -> None:
    data = prepare_data(DataConfig(sequence_length=20))
    assert (data.train.start, len(data.train)) == (19, 2264 - 19)
    for block in (data.train, data.val, data.test):
        windows = data.inputs(block)
        assert windows.shape == (len(block), 20, 10)
        assert np.shares_memory(windows, data.scaled)
        assert not windows.flags.writeable
        for i in (0, len(block) - 1):
            row = block.start + i
            np.testing.assert_array_equal(windows[i], data.scaled[row - 19 : row + 1])


def test_a_window_that_would_start_before_the_data_is_refused() -> None:
    data = prepare_data(DataConfig(sequence_length=20))
    with pytest.raises(ValueError, match="would start before the first row"):
        data.inputs(dataclasses.replace(data.train, start=18))


@pytest.mark.parametrize("length", [1, 7])
def test_inputs_targets_returns_and_dates_are_aligned(length: int) -> None:
    data = prepare_data(DataConfig(sequence_length=length, features=["ret_1"]))
    for block in (data.train, data.val, data.test):
        inputs, targets, returns = data.inputs(block), data.targets(block), data.returns(block)
        assert returns is not None
        assert len(inputs) == len(targets) == len(returns) == len(data.dates(block)) == len(block)
        np.testing.assert_array_equal(targets, returns)  # horizon 1
        # A row's own return is the target of the row before it.
        own = (inputs if length == 1 else inputs[:, -1])[1:, 0] * data.scaler.scale_[0] + data.scaler.mean_[0]
        np.testing.assert_allclose(own, targets[:-1], atol=1e-6)


def test_another_dtype_is_scaled_anew_from_the_raw_features(ibm: PreparedData) -> None:
    exact = ibm.inputs(ibm.val, "float64")
    assert exact.dtype == np.float64
    np.testing.assert_array_equal(exact, ibm.scaler.transform(ibm.raw)[ibm.val.rows])
    assert not np.array_equal(exact, ibm.inputs(ibm.val))


def test_dates_split_real_bars(ibm_bars: pd.DataFrame) -> None:
    ends = SplitConfig(train_end="2008-12-31", val_end="2010-12-31", test_end="2013-03-01")
    data = prepare_data(DataConfig(split=ends))
    split = data.card["split"]
    assert split["train"]["end"] == "2008-12-30T00:00:00"  # a horizon before the end
    assert split["val"]["start"] == "2009-01-02T00:00:00"
    assert split["test"]["start"] == "2011-01-03T00:00:00"
    assert split["test"]["end"] == "2013-02-28T00:00:00"


def test_the_card_is_json_and_tells_the_data_and_their_split(ibm: PreparedData) -> None:
    card = json.loads(json.dumps(ibm.card))
    assert (card["name"], card["symbol"], card["rows"], card["usable_rows"]) == ("ibm", "IBM", 3270, 3236)
    assert card["period"] == ["2000-03-01T00:00:00", "2013-03-01T00:00:00"]
    assert card["fingerprint"] == ibm.fingerprint
    assert card["time_zone"] is None
    assert [card["split"][name]["rows"] for name in ("train", "val", "test")] == [2264, 484, 486]
    assert {"source", "licence", "adjustment", "columns", "features", "target", "horizon"} <= set(card)


def test_bundled_bars_and_a_copy_of_their_file_have_one_fingerprint(ibm: PreparedData, write: Write) -> None:
    from importlib import resources

    text = (resources.files("tradingbot_exp.data") / "bars" / "ibm.csv").read_text()
    assert prepare_data(write(text)).fingerprint == ibm.fingerprint


def test_a_composed_configuration_serves_as_well_as_a_dataclass(ibm: PreparedData) -> None:
    assert prepare_data(OmegaConf.structured(DataConfig())).card == ibm.card


def test_irregular_bars_are_prepared_and_only_the_periods_are_refused(bars: pd.DataFrame, write: Write) -> None:
    days = pd.to_timedelta(np.arange(200) ** 2, unit="h")
    data = prepare_data(write(bars.assign(date=pd.Timestamp("2000-01-03") + days)))
    assert data.card["frequency"] == "irregular"
    assert data.frequency.periods is None
    with pytest.raises(Exception, match=r"evaluation\.periods_per_year"):
        _ = data.periods_per_year


def test_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys; import tradingbot_exp.data; "
        "print([m for m in ('torch', 'mlflow', 'hydra', 'optuna', 'plotly') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
