"""Scores of a forecast: worked by hand, against independent packages, and what must not change them."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import accuracy_score, mean_absolute_error, mean_squared_error, r2_score
from statsmodels.tools import eval_measures

from tradingbot_exp.evaluation.metrics.forecast import hit_rate, ic, mae, mse, r2, rank_ic

ACTUAL = [1.0, -2.0, 3.0, 0.0]
FORECAST = [0.5, -1.0, -1.0, 2.0]
SCORES = {
    "mse": mse,
    "mae": mae,
    "r2": lambda a, f: r2(a, f, 0.0),
    "ic": ic,
    "rank_ic": rank_ic,
    "hit_rate": hit_rate,
}
vectors = arrays(np.int64, st.integers(3, 40), elements=st.integers(-50, 50)).map(lambda x: x / 8)


def test_errors_match_values_worked_by_hand():
    # Errors 0.5, −1, 4, −2: squares 0.25 + 1 + 16 + 4 = 21.25, absolute values 7.5.
    assert mse(ACTUAL, FORECAST) == 21.25 / 4
    assert mae(ACTUAL, FORECAST) == 7.5 / 4


def test_r2_is_measured_against_the_train_mean_and_not_the_validation_mean():
    # Around 1: 0 + 9 + 4 + 1 = 14. Around the validation mean, 0.5, it would be 13.
    assert r2(ACTUAL, FORECAST, 1.0) == pytest.approx(1 - 21.25 / 14)
    assert r2(ACTUAL, [1.0] * 4, 1.0) == 0.0


def test_hit_rate_skips_bars_that_did_not_move_and_counts_no_opinion_as_a_miss():
    assert hit_rate(ACTUAL, FORECAST) == pytest.approx(2 / 3)
    assert hit_rate([1.0, -1.0], [1.0, 0.0]) == 0.5
    assert hit_rate([1, 0, 1, 0], [0.6, 0.7, 0.5, 0.1], threshold=0.5) == 0.5


def test_scores_agree_with_two_independent_packages_each():
    rng = np.random.default_rng(3)
    a, f = rng.normal(size=200), rng.integers(-3, 4, 200).astype(float)  # with ties
    assert mse(a, f) == pytest.approx(mean_squared_error(a, f), rel=1e-12)
    assert mse(a, f) == pytest.approx(eval_measures.mse(a, f), rel=1e-12)
    assert mae(a, f) == pytest.approx(mean_absolute_error(a, f), rel=1e-12)
    assert mae(a, f) == pytest.approx(eval_measures.meanabs(a, f), rel=1e-12)
    assert r2(a, f, a.mean()) == pytest.approx(r2_score(a, f), rel=1e-12)
    # Against a mean that was known beforehand.
    assert r2(a, f, 0.3) == pytest.approx(1 - mean_squared_error(a, f) / mean_squared_error(a, a * 0 + 0.3), rel=1e-12)
    assert ic(a, f) == pytest.approx(stats.pearsonr(a, f).statistic, rel=1e-12)
    assert ic(a, f) == pytest.approx(np.corrcoef(a, f)[0, 1], rel=1e-12)
    assert rank_ic(a, f) == pytest.approx(stats.spearmanr(a, f).statistic, rel=1e-12)
    assert rank_ic(a, f) == pytest.approx(pd.Series(a).rank().corr(pd.Series(f).rank()), rel=1e-12)
    assert hit_rate(a, f) == pytest.approx(accuracy_score(np.sign(a), np.sign(f)), rel=1e-12)


@given(vectors, st.floats(0.01, 100), st.floats(-10, 10), st.randoms())
def test_correlations_do_not_depend_on_scale_and_level_but_on_sign(a, scale, level, random):
    f = a.copy()
    random.shuffle(f)
    for score in (ic, rank_ic):
        before = score(a, f)
        # Equal halves stay equal after a*scale+level; distinct ones, 1/8 apart, stay distinct.
        assert score(a, f * scale + level) == pytest.approx(before, abs=1e-9, nan_ok=True)
        assert score(a, -f) == pytest.approx(-before, abs=1e-9, nan_ok=True)
        assert score(f, a) == pytest.approx(before, abs=1e-9, nan_ok=True)
        assert math.isnan(before) or -1 <= before <= 1


@given(vectors)
def test_rank_ic_sees_the_order_alone(a):
    if np.ptp(a) > 0:
        assert rank_ic(a, np.exp(a)) == pytest.approx(1.0)


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1e300])
def test_ic_survives_tiny_and_huge_values(scale):
    assert ic(np.array(ACTUAL) * scale, FORECAST) == pytest.approx(ic(ACTUAL, FORECAST))


@pytest.mark.filterwarnings("error")
def test_what_is_not_defined_is_nan_and_warns_of_nothing():
    assert all(math.isnan(score([], [])) for score in SCORES.values())
    assert all(math.isnan(score([1.0], [2.0])) for score in (ic, rank_ic))
    constant = [0.1] * 7  # its mean differs from 0.1 by rounding
    assert math.isnan(ic(np.arange(7.0), constant))
    assert math.isnan(rank_ic(constant, np.arange(7.0)))
    assert math.isnan(r2([2.0, 2.0], [1.0, 3.0], 2.0))
    assert math.isnan(hit_rate([0.0, 0.0], [1.0, -1.0]))
    assert mse([1e200], [-1e200]) == math.inf


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES.keys())
def test_nan_and_lengths_that_differ_are_refused_by_name(score):
    with pytest.raises(ValueError, match=r"forecast holds 1 values? of NaN or infinity.*position 1"):
        score([1.0, 2.0], [1.0, math.nan])
    with pytest.raises(ValueError, match=r"actual holds 1"):
        score([math.inf, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"forecast has 1 bars and actual has 2"):
        score([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match=r"actual has the shape \(2, 1\)"):
        score([[1.0], [2.0]], [1.0, 2.0])


def test_r2_refuses_a_reference_that_is_not_a_number():
    with pytest.raises(ValueError, match="reference_mean is nan"):
        r2(ACTUAL, FORECAST, math.nan)
