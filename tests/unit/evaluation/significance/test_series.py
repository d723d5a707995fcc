"""The series that a verdict tests, against plain loops, at their edges, and what must not change them."""

import numpy as np
import pytest

from tradingbot_exp.evaluation.significance.series import (
    Before,
    alpha_series,
    forecast_series,
    spread_apart,
    sums_before,
)

TRAIN, BARS, TRIALS = 90, 40, 3


def made(seed=0):
    """Outcomes and forecasts, or the market and returns, of train rows and of bars after them."""
    rng = np.random.default_rng(seed)
    outcome = 0.5 + rng.standard_normal(TRAIN + BARS)
    trials = rng.standard_normal((TRAIN + BARS, TRIALS)) + 0.3 * outcome[:, None] + [0.0, 2.0, -1.0]
    return outcome, trials


def known(outcome, trials, rows=slice(0, TRAIN)):
    """What a fold with these train rows knew, as forecasts and as returns at once."""
    sums = [sums_before(outcome[rows], trial[rows], outcome[rows], trial[rows]) for trial in trials.T]
    return np.array(sums).T


def before(*folds):
    return Before(*np.stack(folds).transpose(1, 0, 2))


def test_forecasts_are_centred_by_the_validation_dates_and_by_what_was_known_before_each():
    outcome, trials = made()
    y, f = outcome[TRAIN:], trials[TRAIN:]
    found = forecast_series(y, f, before(known(outcome, trials)))
    for trial in range(TRIALS):
        own = f[:, trial]
        np.testing.assert_allclose(found.within[:, trial], (y - y.mean()) * (own - own.mean()) / own.std())
        for bar in range(BARS):
            level, middle = outcome[:TRAIN].mean(), trials[: TRAIN + bar, trial].mean()
            expected = (y[bar] - level) * (own[bar] - middle) / trials[:TRAIN, trial].std()
            assert found.before[bar, trial] == pytest.approx(expected)


def test_the_mean_of_the_series_is_the_covariance_over_the_forecasts_spread():
    outcome, trials = made()
    y, f = outcome[TRAIN:], trials[TRAIN:]
    found = forecast_series(y, f, before(known(outcome, trials))).within.mean(axis=0)
    for trial in range(TRIALS):
        np.testing.assert_allclose(found[trial], np.corrcoef(y, f[:, trial])[0, 1] * y.std())


def test_returns_lose_the_share_of_the_market_by_each_slope():
    outcome, trials = made(1)
    market, returns = outcome[TRAIN:], trials[TRAIN:]
    found = alpha_series(market, returns, before(known(outcome, trials)))
    for trial in range(TRIALS):
        slope = np.polyfit(market, returns[:, trial], 1)[0]
        np.testing.assert_allclose(found.within[:, trial], returns[:, trial] - slope * market)
        for bar in range(BARS):
            past = slice(0, TRAIN + bar)
            slope = np.polyfit(outcome[past], trials[past, trial], 1)[0]
            assert found.before[bar, trial] == pytest.approx(returns[bar, trial] - slope * market[bar])


def test_each_fold_has_means_a_spread_and_a_past_of_its_own():
    outcome, trials = made(2)
    folds = np.repeat([0, 1], [15, 25])
    past = before(known(outcome, trials, slice(0, 60)), known(outcome, trials, slice(20, 90)))
    for make in (forecast_series, alpha_series):
        whole = make(outcome[TRAIN:], trials[TRAIN:], past, folds)
        for fold, rows in ((0, slice(0, 15)), (1, slice(15, 40))):
            own = before(np.stack([each[fold] for each in past]))
            alone = make(outcome[TRAIN:][rows], trials[TRAIN:][rows], own)
            for kind in range(2):
                np.testing.assert_allclose(whole[kind][rows], alone[kind])


def test_neither_drift_nor_scale_nor_an_offset_of_the_forecast_enters():
    outcome, trials = made(3)
    plain = forecast_series(outcome[TRAIN:], trials[TRAIN:], before(known(outcome, trials)))
    moved, scaled = outcome + 7.0, 1e-3 * trials - 4.0
    found = forecast_series(moved[TRAIN:], scaled[TRAIN:], before(known(moved, scaled)))
    for one, other in zip(plain, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


def test_what_never_moves_and_what_is_a_share_of_the_market_have_no_series():
    outcome, trials = made(4)
    trials[:, 0] = np.float32(0.1)
    trials[:, 1] = -0.3 * outcome
    past = before(known(outcome, trials))
    forecasts = forecast_series(outcome[TRAIN:], trials[TRAIN:], past)
    assert not any(kind[:, 0].any() for kind in forecasts) and all(kind[:, 2].all() for kind in forecasts)
    alphas = alpha_series(outcome[TRAIN:], trials[TRAIN:], past)
    assert not any(kind[:, 1].any() for kind in alphas)
    still = alpha_series(np.zeros(BARS), trials[TRAIN:], before(0 * known(outcome, trials)))
    np.testing.assert_array_equal(still.within, trials[TRAIN:])
    steady = np.full(BARS, 0.1)
    steady[7] = np.nextafter(0.1, 1)  # rounding is no movement
    found = alpha_series(steady, trials[TRAIN:], before(0 * known(outcome, trials)))
    np.testing.assert_array_equal(found.within, trials[TRAIN:])


def test_a_forecast_that_is_constant_in_one_fold_is_tested_in_the_other():
    outcome, trials = made(5)
    folds = np.repeat([0, 1], 20)
    trials[TRAIN : TRAIN + 20, 0] = 0.7
    found = forecast_series(outcome[TRAIN:], trials[TRAIN:], before(*[known(outcome, trials)] * 2), folds)
    assert not found.within[:20, 0].any() and found.within[20:, 0].all()


@pytest.mark.parametrize("make", [forecast_series, alpha_series])
def test_with_fewer_than_sixty_dates_before_a_bar_has_nothing_to_be_held_against(make):
    outcome, trials = made(6)
    found = make(outcome[TRAIN:], trials[TRAIN:], before(known(outcome, trials, slice(0, 45))))
    assert not found.before[:15].any() and found.before[15:].all() and found.within.all()


def test_what_was_known_is_of_the_rows_before_and_the_level_of_all_train_rows():
    known = sums_before([1.0, 2.0, 6.0], [0.5, 0.25, 0.0], early=[True, True, False])
    np.testing.assert_allclose(known, [3, np.std([0.5, 0.25, 0.0]), 2, 0.75, 0, 0, 0, 0, 0])
    with_returns = sums_before([1.0, 2.0, 6.0], [0.5, 0.25, 0.0], [0.1, -0.2, 9], [0.3, 0.1, 9], [True, True, False])
    np.testing.assert_allclose(with_returns[4:], [-0.1, 0.05, 0.4, 0.01, 0])


@pytest.mark.parametrize("values", [np.zeros(40), np.zeros((39, 3)), np.full((40, 3), np.nan)])
def test_what_is_no_matrix_of_trials_is_refused(values):
    outcome, trials = made()
    past = before(known(outcome, trials))
    with pytest.raises(ValueError, match=r"expected finite numbers of the shape \(40, trials\)"):
        forecast_series(outcome[TRAIN:], values, past)
    with pytest.raises(ValueError, match=r"returns has the shape .*; expected finite numbers"):
        alpha_series(outcome[TRAIN:], values, past)


def test_the_spread_apart_is_the_root_of_the_product_of_local_variances():
    outcome, trials = made(4)
    trials[:, 2] = 1.0  # constant: adds nothing
    y, f, folds = outcome[:100], trials[:100], np.repeat([0, 1], [70, 30])
    expected = np.zeros(TRIALS)
    for rows in (slice(0, 70), slice(70, 100)):
        a, b = np.square(y[rows] - y[rows].mean()), np.square(f[rows] - f[rows].mean(axis=0))
        for bar in range(len(a)):
            near = slice(max(bar - 30, 0), bar + 31)
            share = b[near].mean(axis=0)[:2] / b.mean(axis=0)[:2]
            expected[:2] += a[near].mean() * share / 100
    np.testing.assert_allclose(spread_apart(y, f, folds), np.sqrt(expected))


def test_what_hardly_ever_meets_spreads_far_less_than_apart_and_what_is_independent_as_much():
    rng = np.random.default_rng(5)
    rare = (rng.random(1_000) < 0.05).astype(float)
    low = np.where(rare == 0, rng.random(1_000) < 0.05, 0.0)  # never forecast low where the event came
    volatility = np.exp(np.cumsum(rng.normal(0, 0.05, 1_000)))
    y = np.stack([rare, rng.standard_normal(1_000), volatility * rng.standard_normal(1_000)])
    f = np.stack([-low, rng.standard_normal(1_000), volatility * rng.standard_normal(1_000)])
    shares = []
    for outcome, forecast in zip(y, f, strict=True):
        past = before(known(np.tile(outcome, 2)[:90], forecast[:90, None]))
        within = forecast_series(outcome, forecast[:, None], past).within
        shares.append(float(within.std() / spread_apart(outcome, forecast[:, None])[0]))
    assert shares[0] < 0.35 and shares[1:] == pytest.approx([1, 1], abs=0.12)
