"""Features agree with independent implementations and never look ahead."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from tradingbot_exp.config.choices import DEFAULT_FEATURES
from tradingbot_exp.config.schema import SyntheticConfig
from tradingbot_exp.data.features import FEATURES, WARMUP, compute_features, feature
from tradingbot_exp.data.synthetic import synthetic_bars
from tradingbot_exp.errors import ConfigError

BARS = synthetic_bars(SyntheticConfig(bars=120, seed=3))
FROM_BARS = compute_features(BARS, DEFAULT_FEATURES)


@pytest.fixture(scope="module")
def computed(ibm_bars: pd.DataFrame) -> pd.DataFrame:
    return compute_features(ibm_bars, DEFAULT_FEATURES)


def wilder_loop(values: list[float], period: int) -> list[float]:
    """Wilder's smoothing as his book tells it: the first mean of `period` values, then one by one."""
    smoothed = [float("nan")] * period
    average = sum(values[1 : period + 1]) / period
    smoothed.append(average)
    for value in values[period + 1 :]:
        average = (average * (period - 1) + value) / period
        smoothed.append(average)
    return smoothed


def test_rsi_agrees_with_ta_lib_from_its_first_value(ibm_bars: pd.DataFrame, computed: pd.DataFrame) -> None:
    expected = talib.RSI(ibm_bars["close"].to_numpy(), 14) / 100
    np.testing.assert_allclose(computed["rsi_14"], expected, rtol=1e-9)
    assert np.isnan(expected[13])
    assert np.isfinite(computed["rsi_14"].iloc[14])


def test_atr_agrees_with_ta_lib_from_its_first_value(ibm_bars: pd.DataFrame, computed: pd.DataFrame) -> None:
    high, low, close = (ibm_bars[name].to_numpy() for name in ("high", "low", "close"))
    np.testing.assert_allclose(computed["atr_14"], talib.ATR(high, low, close, 14) / close, rtol=1e-9)


def test_macd_histogram_agrees_with_ta_lib_once_both_have_converged(
    ibm_bars: pd.DataFrame, computed: pd.DataFrame
) -> None:
    close = ibm_bars["close"].to_numpy()
    expected = talib.MACD(close, 12, 26, 9)[2] / close
    np.testing.assert_allclose(computed["macd_hist"].iloc[300:], expected[300:], atol=1e-9)


def test_rolling_deviations_agree_with_ta_lib(ibm_bars: pd.DataFrame, computed: pd.DataFrame) -> None:
    close = ibm_bars["close"].to_numpy()
    sample = np.sqrt(20 / 19)  # TA-Lib's STDDEV divides by n
    vol = talib.STDDEV(np.diff(np.log(close)), 20) * sample
    np.testing.assert_allclose(computed["vol_20"].iloc[20:], vol[19:], rtol=1e-6)
    z = (close - talib.SMA(close, 20)) / (talib.STDDEV(close, 20) * sample)
    np.testing.assert_allclose(computed["boll_z_20"].iloc[19:], z[19:], rtol=1e-4, atol=1e-6)


def test_wilders_pieces_agree_with_a_plain_loop() -> None:
    close, high, low = (BARS[name].tolist() for name in ("close", "high", "low"))
    steps = [float("nan")] + [b - a for a, b in pairwise(close)]
    gains = wilder_loop([max(s, 0.0) for s in steps], 14)
    losses = wilder_loop([max(-s, 0.0) for s in steps], 14)
    rsi = [1 - 1 / (1 + g / x) for g, x in zip(gains, losses, strict=True)]
    ranges = [float("nan")] + [
        max(high[t] - low[t], abs(high[t] - close[t - 1]), abs(low[t] - close[t - 1])) for t in range(1, len(close))
    ]
    atr = [a / c for a, c in zip(wilder_loop(ranges, 14), close, strict=True)]
    np.testing.assert_allclose(FROM_BARS["rsi_14"], rsi, rtol=1e-12)
    np.testing.assert_allclose(FROM_BARS["atr_14"], atr, rtol=1e-12)


def test_remaining_features_agree_with_their_formulas_row_by_row() -> None:
    t = 77
    close, log_volume = BARS["close"].to_numpy(), np.log(BARS["volume"].to_numpy())
    for name, n in (("ret_1", 1), ("ret_5", 5), ("ret_20", 20)):
        assert FROM_BARS[name].iloc[t] == pytest.approx(np.log(close[t] / close[t - n]), rel=1e-12)
    last = log_volume[t - 19 : t + 1]
    z = (last[-1] - last.mean()) / last.std(ddof=1)
    assert FROM_BARS["volume_z_20"].iloc[t] == pytest.approx(z, rel=1e-9)
    bar = BARS.iloc[t]
    location = ((bar["close"] - bar["low"]) - (bar["high"] - bar["close"])) / (bar["high"] - bar["low"])
    assert FROM_BARS["clv"].iloc[t] == pytest.approx(location, rel=1e-12)


@settings(max_examples=25)
@given(cut=st.integers(min_value=1, max_value=119), factor=st.floats(min_value=0.01, max_value=100))
def test_changing_future_bars_changes_no_earlier_feature(cut: int, factor: float) -> None:
    changed = BARS.copy()
    changed.iloc[cut:] *= factor
    after = compute_features(changed, DEFAULT_FEATURES)
    pd.testing.assert_frame_equal(after.iloc[:cut], FROM_BARS.iloc[:cut], check_exact=True)
    if factor > 1.01:
        assert not after.iloc[cut:].equals(FROM_BARS.iloc[cut:])


@pytest.mark.parametrize("cut", [1, 40, 100])
def test_removing_future_bars_changes_no_earlier_feature(cut: int) -> None:
    before = compute_features(BARS.iloc[:cut], DEFAULT_FEATURES)
    pd.testing.assert_frame_equal(before, FROM_BARS.iloc[:cut], check_exact=True, check_freq=False)


def test_every_feature_is_known_after_the_warm_up(computed: pd.DataFrame) -> None:
    assert tuple(FEATURES) == DEFAULT_FEATURES
    assert np.isfinite(computed.iloc[WARMUP:].to_numpy()).all()


def test_bars_without_movement_give_neutral_values_not_nan() -> None:
    flat = BARS.iloc[:60].copy()
    flat.loc[:, ["open", "high", "low", "close"]] = 100.0
    flat["volume"] = 1000.0
    last = compute_features(flat, DEFAULT_FEATURES).iloc[-1]
    assert last["clv"] == last["boll_z_20"] == last["volume_z_20"] == last["vol_20"] == 0
    assert last["rsi_14"] == 0.5


def test_a_name_that_is_no_feature_is_a_column_or_refused_with_a_guess() -> None:
    frame = BARS.assign(spread=1.5)
    assert compute_features(frame, ["spread", "clv"]).columns.tolist() == ["spread", "clv"]
    with pytest.raises(ConfigError, match=r"data\.features: 'rsi_15'.*Did you mean 'rsi_14'\?"):
        compute_features(frame, ["rsi_15"])


def test_a_registered_name_is_not_given_away_twice() -> None:
    with pytest.raises(ConfigError, match=r"'clv' is tradingbot_exp\.data\.features\.clv already"):
        feature("clv")(FEATURES["ret_1"])
    assert feature("clv")(FEATURES["clv"]) is FEATURES["clv"]  # a module that is loaded again
