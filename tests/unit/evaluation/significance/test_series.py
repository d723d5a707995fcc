"""The series that a verdict tests, against plain loops, at their edges, and what must not change them."""

import numpy as np
import pytest

from tradingbot_exp.evaluation.significance.series import Before, alpha_series, forecast_series, sums_before

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


@pytest.mark.parametrize("horizon", [1, 5])
def test_forecasts_are_centred_by_the_validation_dates_and_by_the_dates_before_each(horizon):
    outcome, trials = made()
    y, f = outcome[TRAIN:], trials[TRAIN:]
    found = forecast_series(y, f, before(known(outcome, trials)), horizon=horizon)
    for trial in range(TRIALS):
        own = f[:, trial]
        np.testing.assert_allclose(found.within[:, trial], (y - y.mean()) * (own - own.mean()) / own.std())
        for bar in range(BARS):
            past = slice(0, TRAIN + max(bar + 1 - horizon, 0))
            level, middle = outcome[past].mean(), trials[past, trial].mean()
            assert found.before[bar, trial] == pytest.approx((y[bar] - level) * (own[bar] - middle) / own.std())


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


def test_without_any_date_before_the_first_bars_of_a_fold_have_nothing_to_be_held_against():
    outcome, trials = made(6)
    found = forecast_series(outcome[TRAIN:], trials[TRAIN:], before(0 * known(outcome, trials)), horizon=3)
    assert not found.before[:3].any() and found.before[3:].all()


def test_sums_are_of_the_rows_given_and_need_no_returns():
    sums = sums_before([1.0, 2.0, 4.0], [0.5, 0.25, 0.0])
    np.testing.assert_array_equal(sums, [3, 7, 0.75, 0, 0, 0, 0])
    with_returns = sums_before([1.0, 2.0], [0.5, 0.25], [0.1, -0.2], [0.3, 0.1])
    np.testing.assert_allclose(with_returns[3:], [-0.1, 0.05, 0.4, 0.01])


@pytest.mark.parametrize("values", [np.zeros(40), np.zeros((39, 3)), np.full((40, 3), np.nan)])
def test_what_is_no_matrix_of_trials_is_refused(values):
    outcome, trials = made()
    past = before(known(outcome, trials))
    with pytest.raises(ValueError, match=r"expected finite numbers of the shape \(40, trials\)"):
        forecast_series(outcome[TRAIN:], values, past)
    with pytest.raises(ValueError, match=r"returns has the shape .*; expected finite numbers"):
        alpha_series(outcome[TRAIN:], values, past)
