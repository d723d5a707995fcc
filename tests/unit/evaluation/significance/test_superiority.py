"""Hansen's test, against arch's, and block lengths, against arch's; at the edges too."""

import math

import numpy as np
import pytest
from arch.bootstrap import SPA, optimal_block_length
from bench_verdict import KINDS, simulate
from hypothesis import given
from hypothesis import strategies as st
from skfolio.utils.bootstrap import optimal_block_size

from tradingbot_exp.evaluation.significance.block_length import autocovariances, block_length, block_lengths
from tradingbot_exp.evaluation.significance.bootstrap import resample_counts, stationary_indices
from tradingbot_exp.evaluation.significance.superiority import superiority


def gains(seed=0, n=300, rivals=20, best=0.0012, worst=-0.004):
    rng = np.random.default_rng(seed)
    x = 0.01 * rng.standard_t(4, (n, rivals))
    x[1:] += 0.3 * x[:-1]
    return x * np.linspace(0.5, 3, rivals) + np.linspace(worst, best, rivals)


def of_arch(d, block, reps, seed):
    # arch says that it studentises, and does not: it is given columns that are studentised already.
    first = SPA(np.zeros(len(d)), -d, block_size=block, reps=2, seed=0)
    first.compute()
    deviation = np.sqrt(first._loss_diff_var)
    test = SPA(np.zeros(len(d)), -d / deviation, block_size=block, reps=reps, seed=seed)
    test.compute()
    return test.pvalues, (math.sqrt(len(d)) * d.mean(axis=0) / deviation).max()


@pytest.mark.parametrize(("seed", "best"), [(0, 0.0012), (1, 0.004), (2, 0.0)])
def test_it_agrees_with_arch_within_the_error_of_the_draws(seed, best):
    d = gains(seed, best=best)
    found = superiority(d, draws=2_000, block=4, small_sample=False, seed=seed)
    wanted, statistic = of_arch(d, 4, 2_000, seed)
    assert found.statistic == pytest.approx(statistic, rel=1e-9)
    for ours, name in ((found.p_lower, "lower"), (found.p_consistent, "consistent"), (found.p_upper, "upper")):
        # Four standard errors of a difference of two shares, and one draw.
        error = 4 * math.sqrt(2 * max(wanted[name] * (1 - wanted[name]), 1e-3) / 2_000)
        assert ours == pytest.approx(wanted[name], abs=error)


@pytest.mark.parametrize("family", ["forecast", "return"])
def test_of_the_series_that_a_verdict_tests_it_agrees_with_arch(family):
    study = simulate(KINDS["IC 0.1, 500 bars"], 3)
    part = study.forecast_part if family == "forecast" else study.return_part
    for number, series in enumerate(part.series):
        found = superiority(series, draws=2_000, block=2, small_sample=False, seed=number)
        wanted, statistic = of_arch(series, 2, 2_000, number)
        assert found.statistic == pytest.approx(statistic, rel=1e-9)
        error = 4 * math.sqrt(2 * max(wanted["consistent"] * (1 - wanted["consistent"]), 1e-3) / 2_000)
        assert found.p_consistent == pytest.approx(wanted["consistent"], abs=error)


def test_the_bounds_lie_around_the_p_value_and_the_best_rival_has_it():
    found = superiority(gains())
    assert found.p_lower <= found.p_consistent <= found.p_upper
    assert found.p_each[found.best] == found.p_consistent == found.p_each.min()
    assert found.p_each[0] == 1.0
    assert found.rivals == 20 and found.bars == 300


@given(st.floats(1e-150, 1e150))
def test_it_does_not_depend_on_the_unit(scale):
    d = gains(n=80, rivals=4)
    one, other = superiority(d, draws=50), superiority(d * scale, draws=50)
    assert other.statistic == pytest.approx(one.statistic, rel=1e-6)
    assert other.p_consistent == one.p_consistent


def test_a_better_rival_has_a_smaller_p_value_and_a_bad_one_more_takes_nothing_away():
    d = gains(rivals=5, best=0.002)
    better, with_bad = d.copy(), np.column_stack([d, d[:, :1] - 0.05])
    better[:, 4] += 0.003
    assert superiority(better).p_consistent < superiority(d).p_consistent
    assert superiority(with_bad).p_consistent == pytest.approx(superiority(d).p_consistent, abs=0.01)


def test_blocks_last_as_long_as_positions_are_held_whatever_rivals_that_do_nothing_say():
    d = gains(rivals=6)
    idle = np.column_stack([d, np.zeros((len(d), 20))])
    assert superiority(idle, draws=10).block == superiority(d, draws=10).block > 1
    long = superiority(d, draws=50, held=15)
    assert long.block == 15 and long.statistic == superiority(d, draws=50, block=15).statistic


def test_few_bars_and_overlap_make_it_more_careful_and_many_bars_do_not():
    d = gains(n=80, best=0.006)
    plain, careful = superiority(d, small_sample=False), superiority(d)
    overlapping = superiority(d, horizon=2)
    assert plain.statistic > careful.statistic > overlapping.statistic
    assert overlapping.block >= 2
    many = gains(n=20_000, rivals=2)
    scores = [superiority(many, small_sample=small, draws=10).statistic for small in (True, False)]
    assert scores[0] == pytest.approx(scores[1], rel=0.005, abs=0.005)


def test_a_lowered_score_is_its_share_and_the_resamples_stay_as_they_are():
    d = gains(best=0.004)
    plain = superiority(d, draws=500, small_sample=False)
    share = np.where(np.arange(d.shape[1]) == plain.best, 0.5, 1.0)
    found = superiority(d, draws=500, small_sample=False, lowered=share)
    assert superiority(d, draws=500, small_sample=False, lowered=0.5).statistic == pytest.approx(plain.statistic / 2)
    assert found.p_each[plain.best] > plain.p_each[plain.best] and found.p_alone[plain.best] > plain.p_alone[plain.best]
    others = np.arange(d.shape[1]) != plain.best
    np.testing.assert_array_equal(found.p_each[others], plain.p_each[others])


def test_rivals_that_do_as_the_benchmark_are_not_superior_and_do_no_harm():
    d = gains(rivals=6)
    some = np.column_stack([d[:, :2], np.zeros((len(d), 2)), d[:, 2:]])
    found, plain = superiority(some), superiority(d)
    assert found.p_consistent == plain.p_consistent and found.best == plain.best + 2
    assert found.p_each[2:4].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("d", "horizon", "reason"),
    [
        (gains(n=59), 1, "there are 59 bars, and the test takes at least 60"),
        (gains(n=299), 10, "at least 300 with a horizon of 10 bars"),
        (np.zeros((100, 3)), 1, "by the same amount on every bar"),
        (np.zeros((100, 0)), 1, "there are no trials"),
    ],
)
def test_what_is_not_defined_says_why(d, horizon, reason):
    found = superiority(d, horizon=horizon)
    assert found.problem.startswith("not defined, because ") and reason in found.problem
    assert math.isnan(found.p_consistent) and found.best is None


def test_nan_is_refused():
    with pytest.raises(ValueError, match="expected finite numbers"):
        superiority(np.full((100, 3), math.nan))


@pytest.mark.parametrize(("n", "rho"), [(500, 0.3), (500, 0.6), (2_000, 0.8), (484, -0.3)])
def test_block_lengths_agree_with_arch_and_skfolio(n, rho):
    x = np.random.default_rng(n).standard_normal((n, 6))
    for bar in range(1, n):
        x[bar] += rho * x[bar - 1]
    wanted = np.maximum(optimal_block_length(x)["stationary"].to_numpy(), 1.0)
    assert block_lengths(x) == pytest.approx(wanted, rel=1e-6)
    of_skfolio = [max(optimal_block_size(column), 1.0) for column in x.T]
    assert block_lengths(x) == pytest.approx(of_skfolio, rel=0.02)
    assert block_length(x[:, 0]) == pytest.approx(block_lengths(x)[0], rel=1e-9)


def test_autocovariances_are_the_sums_of_products():
    x = np.random.default_rng(0).standard_normal((50, 3))
    centred = x - x.mean(axis=0)
    wanted = [(centred[lag:] * centred[: 50 - lag]).sum(axis=0) / 50 for lag in range(11)]
    assert autocovariances(x, 10) == pytest.approx(np.array(wanted), abs=1e-12)


def test_the_counts_are_those_of_the_same_draws_however_much_memory_there_is(monkeypatch):
    drawn = stationary_indices(40, 5.0, 30, 3)
    wanted = np.array([np.bincount(row, minlength=40) for row in drawn])
    assert np.vstack(list(resample_counts(40, 5.0, 30, 3))).tolist() == wanted.tolist()
    monkeypatch.setattr("tradingbot_exp.evaluation.significance.bootstrap._CHUNK", 100)
    parts = list(resample_counts(40, 5.0, 30, 3))
    assert len(parts) > 1 and np.vstack(parts).tolist() == wanted.tolist()


def test_a_block_has_the_length_that_was_asked_for_and_any_start():
    drawn = stationary_indices(200, 8.0, 500, 0)
    assert drawn.shape == (500, 200) and drawn.min() == 0 and drawn.max() == 199
    breaks = (np.diff(drawn, axis=1) % 200 != 1).mean()
    assert breaks == pytest.approx((1 / 8) * (199 / 200), rel=0.03)
    assert np.bincount(drawn[:, 0], minlength=200).max() < 15
    assert np.bincount(drawn.ravel(), minlength=200).std() < 50  # each bar is drawn about as often as any other
    with pytest.raises(ValueError, match=r"block 0\.5"):
        stationary_indices(10, 0.5, 10, 0)
