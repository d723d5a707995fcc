"""The probability of backtest overfitting, against a plain computation split by split, and at its edges."""

import itertools
import math

import ffn
import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from tradingbot_exp.evaluation.significance.overfitting import RANKINGS, Ranking, overfitting


def noise(n=240, columns=25, seed=0):
    return 0.01 * np.random.default_rng(seed).standard_t(4, (n, columns))


def plain_logits(values, blocks, score):
    """As the paper says it: join the blocks, score every trial, rank the winner on the rest."""
    parts = np.split(values, blocks)
    logits = []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        inside = np.vstack([parts[block] for block in chosen])
        outside = np.vstack([parts[block] for block in range(blocks) if block not in chosen])
        ones, others = np.array([score(column) for column in inside.T]), np.array([score(c) for c in outside.T])
        relative = rankdata(others)[ones.argmax()] / (len(ones) + 1)
        logits.append(math.log(relative / (1 - relative)))
    return np.array(logits)


SCORES = {
    "mean": np.mean,
    "sharpe": lambda r: r.mean() / r.std(),
    "sortino": lambda r: r.mean() / math.sqrt(np.mean(np.minimum(r, 0) ** 2)),
}


@pytest.mark.parametrize("ranking", RANKINGS)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_a_plain_computation_gives(ranking, seed):
    values = noise(seed=seed)
    found = overfitting(values, ranking, blocks=8)
    logits = plain_logits(values, 8, SCORES[ranking])
    assert found.logits == pytest.approx(logits, abs=1e-9)
    assert found.pbo.value == pytest.approx(np.mean(logits <= 0))
    assert (found.blocks, found.bars, found.trials) == (8, 240, 25)


@pytest.mark.parametrize("trials", [30, 31])
def test_it_is_that_of_ffn_and_of_ml4t_diagnostic(trials):
    rng = np.random.default_rng(trials)
    returns = 0.01 * rng.standard_t(5, (480, trials)) + 0.0006 * rng.standard_normal(trials)
    found = overfitting(returns, "sharpe")
    # ml4t-diagnostic 0.1.0b2, from the Sharpe ratios of the same halves: of an odd number of trials it does not count
    # those in the very middle, which the paper's definition 2.2 and ffn do.
    of_ml4t = {30: 0.13644133644133644, 31: 0.13325563325563325}[trials]
    assert found.pbo.value - np.mean(found.logits == 0) == pytest.approx(of_ml4t, abs=1e-12)
    quick = overfitting(returns[:160], "sharpe", blocks=8)
    assert quick.pbo.value == pytest.approx(ffn.calc_prob_backtest_overfitting(pd.DataFrame(returns[:160]), 8))


def test_noise_overfits_in_half_of_the_cases_and_skill_in_none():
    rates = [overfitting(noise(seed=seed), "mean", blocks=8).pbo.value for seed in range(60)]
    assert np.mean(rates) == pytest.approx(0.5, abs=0.06)
    skilled = noise()
    skilled[:, 3] += 0.01
    assert overfitting(skilled, "sharpe").pbo.value < 0.01


def test_sixteen_blocks_make_12870_splits_and_short_samples_have_fewer():
    assert overfitting(noise(484)).logits.shape == (12_870,)
    assert overfitting(noise(60)).blocks == 6
    assert overfitting(noise(240), horizon=15).blocks == 8


def test_trials_that_are_the_same_count_once():
    values = noise()
    twice = np.column_stack([values, values])
    assert overfitting(twice, blocks=8).logits.tolist() == overfitting(values, blocks=8).logits.tolist()
    assert "19 distinct trials are too few: it takes at least 20" in overfitting(twice[:, 6:25]).pbo.problem
    assert overfitting(np.repeat(values[:, :19], 3, axis=1)).trials == 19


def test_ties_share_the_mean_of_their_ranks():
    # Every score is 0: all tie for the best, and their mean rank is the middle, a logit of 0.
    flat = Ranking(lambda x: (x,), lambda sums, bars: np.zeros_like(sums[0]))
    found = overfitting(noise(), flat, blocks=4)
    assert found.logits == pytest.approx(np.zeros(6), abs=1e-12)
    assert found.pbo.value == 1.0


def test_a_trial_that_never_trades_has_a_ratio_of_zero():
    values = noise()
    values[:, 0] = 0.0
    assert np.isfinite(overfitting(values, "sharpe").logits).all()


def test_what_is_not_defined_says_why():
    found = overfitting(noise(30))
    assert found.pbo.value is None and not found.logits.size
    assert found.pbo.problem == "not defined, because there are 30 bars, and 4 blocks of 8 take 32"
    assert "1 distinct trials are too few" in overfitting(np.zeros((100, 30))).pbo.problem
    with pytest.raises(ValueError, match="finite numbers"):
        overfitting(np.full((100, 30), math.nan))
    with pytest.raises(ValueError, match="blocks is 5"):
        overfitting(noise(), blocks=5)
