"""The verdict: its word, its reasons, what it counts, and what it says where it can say nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tradingbot_exp.config.choices import OBJECTIVES
from tradingbot_exp.config.schema import HpoConfig
from tradingbot_exp.evaluation._arrays import Estimate
from tradingbot_exp.evaluation.metrics.objectives import better_direction, doubtful_directions
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence, complete, loss_gains
from tradingbot_exp.evaluation.significance.superiority import superiority
from tradingbot_exp.evaluation.significance.verdict import LEVEL, judge, winner_test

BARS, TRIALS, WINNER = 300, 25, 7


def study(skill=0.0, seed=0, **given):
    """A study for the Sharpe ratio, whose winner earns `skill` standard deviations a bar more than the market."""
    rng = np.random.default_rng(seed)
    market = 0.0005 + 0.01 * rng.standard_t(4, BARS)
    returns = market[:, None] + 0.01 * rng.standard_normal((BARS, TRIALS))
    returns[:, WINNER] += 0.01 * skill
    evidence = StudyEvidence(
        metric="val_sharpe",
        direction="maximize",
        winner=WINNER,
        tried=TRIALS,
        periods_per_year=252,
        returns=returns,
        market=market,
    )
    return replace(evidence, **given)


def forecast_study(skill=0.0, seed=0, **given):
    """A study for the loss, whose winner has a correlation of about `skill` with the target."""
    rng = np.random.default_rng(seed)
    actual = rng.standard_normal(BARS)
    forecasts = 0.02 * rng.standard_normal((BARS, TRIALS))
    forecasts[:, WINNER] += skill**2 * actual + skill * math.sqrt(1 - skill**2) * rng.standard_normal(BARS)
    evidence = StudyEvidence(
        metric="val_loss",
        direction="minimize",
        winner=WINNER,
        tried=TRIALS,
        periods_per_year=252,
        gains=loss_gains(actual, forecasts, 0.0),
    )
    return replace(evidence, **given)


def test_skill_is_real_and_luck_is_not_shown_whatever_was_searched():
    for make, skill in ((study, 0.45), (forecast_study, 0.6)):
        real, luck = judge(make(skill)), judge(make())
        assert real.word == "real" and real.headline.startswith("Real: the winner beats ")
        assert luck.word == "not shown" and luck.headline.startswith("Not shown: ")
        assert real.p_value.value < LEVEL < luck.p_value.value
        assert not any("contradicts" in reason for reason in real.reasons)


def test_in_a_falling_market_neither_being_short_nor_being_out_of_it_is_skill():
    rng = np.random.default_rng(3)
    market = 0.01 * rng.standard_t(4, BARS) - 0.0018
    held = {
        "short": np.where(rng.random((BARS, TRIALS)) < 0.9, -1.0, 1.0),
        "flat": np.where(rng.random((BARS, TRIALS)) < 0.9, 0.0, 1.0),
        "timed": np.where(rng.random((BARS, TRIALS)) < 0.7, np.sign(market)[:, None], -np.sign(market)[:, None]),
    }
    verdicts = {}
    for name, position in held.items():
        returns = position * market[:, None]
        winner = int((returns.mean(axis=0) / returns.std(axis=0)).argmax())
        verdicts[name] = judge(study(returns=returns, market=market, winner=winner))
    assert verdicts["timed"].word == "real"
    for name in ("short", "flat"):
        assert verdicts[name].superiority.p_each.min() < LEVEL < verdicts[name].p_value.value, name
        assert verdicts[name].word == "not shown" and "the same share of the market" in verdicts[name].headline
    assert all("Against the share of the market" in " ".join(found.reasons) for found in verdicts.values())


def test_the_reasons_give_the_numbers():
    verdict = judge(study(0.45, ever=400))
    text = " ".join(verdict.reasons)
    assert "of 25 trials on 300 validation bars against buy and hold gives p < 0.001" in text
    assert "375 more configurations were tried than can be tested (25 in this study, 400 ever on these bars)" in text
    assert "p counts 16 times" in text
    assert "1 more configuration was tried" in " ".join(judge(study(0.45, ever=26), draws=200).reasons)
    assert f"Sharpe ratio is {verdict.support.sharpe.value:.2f} a year" in text
    assert f"{verdict.support.noise.expected:.2f} on average" in text
    assert "the deflated Sharpe ratio, which should be at least 0.95" in text
    assert "of 12,870 splits (probability of backtest overfitting)" in text
    assert verdict.count == 400 and verdict.tested == TRIALS


def test_every_number_has_a_name_and_a_value_or_a_reason():
    full, empty = judge(study(0.45)).numbers(), judge(forecast_study(gains=None)).numbers()
    assert full.keys() == empty.keys()
    assert [name for name, number in full.items() if number.value is None] == []
    assert all(number.value is None and number.problem for number in empty.values())
    assert full["psr"].value > full["dsr"].value


def test_the_larger_of_the_two_counts_multiplies_the_p_value():
    evidence = study(0.25, seed=3)
    alone = winner_test(evidence).p_value.value
    for counts in ({"tried": 2 * TRIALS}, {"ever": 2 * TRIALS}, {"tried": 2 * TRIALS, "ever": TRIALS}):
        assert winner_test(replace(evidence, **counts)).p_value.value == pytest.approx(min(2 * alone, 1))


def test_a_real_winner_is_not_shown_once_enough_was_tried_before():
    evidence = study(0.25, seed=1)
    assert winner_test(evidence).word == "real"
    many = winner_test(replace(evidence, ever=20_000))
    assert many.word == "not shown" and many.superiority.draws == 50_000
    # Beyond what 50,000 resamples resolve, nothing is claimed either way.
    beyond = judge(replace(evidence, ever=200_000))
    assert beyond.word == "cannot be told" and "25 of 200,000 configurations tried can be tested" in beyond.headline


def test_it_is_the_winner_that_is_judged_and_not_the_trial_that_stands_out():
    evidence = study(0.45)
    verdict = judge(replace(evidence, winner=3))
    assert verdict.superiority.p_consistent < LEVEL and verdict.superiority.best == WINNER
    assert verdict.word == "not shown"
    assert any("is not the winner, whose own p" in reason for reason in verdict.reasons)


def test_trials_without_enough_bars_are_left_out_and_counted():
    evidence = study(0.45)
    returns = evidence.returns.copy()
    returns[:100, 2] = math.nan  # a third of the bars
    returns[:, 4] = math.nan
    returns[:5, 5] = math.nan  # few: the bars go, the trial stays
    verdict = judge(replace(evidence, returns=returns))
    assert verdict.tested == TRIALS - 2 and verdict.count == TRIALS
    assert verdict.superiority.bars == BARS - 5
    assert verdict.word == "real"
    # What remains is tested as it would be by itself.
    kept = np.delete(returns - evidence.market[:, None], [2, 4], axis=1)[5:]
    found = superiority(kept, draws=2_000, block=verdict.superiority.block)
    assert found.p_each[WINNER - 2] == verdict.superiority.p_each[WINNER - 2]


def test_the_winners_place_is_kept_where_columns_go():
    matrix = np.ones((10, 4)) * np.arange(4.0)
    matrix[:, 1] = math.nan
    part = complete(matrix, 3)
    assert part.columns.tolist() == [0, 2, 3] and part.winner == 2 and part.values[0].tolist() == [0, 2, 3]
    assert complete(matrix, 1) is None


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (study(winner=None), "the winner's returns on the validation bars were not kept"),
        (study(returns=None, market=None), "the winner's returns on the validation bars were not kept"),
        (forecast_study(gains=None), "the winner's forecasts on the validation bars were not kept"),
        (forecast_study(gains=np.full((BARS, TRIALS), math.nan)), "the winner's forecasts"),
        (forecast_study(direction="maximize"), "the study was to maximize val_loss, which seeks no skill"),
        (study(metric="val_turnover", direction="minimize"), "the study was to minimize val_turnover"),
        (forecast_study(horizon=20), "there are 300 bars, and the test takes at least 600 with a horizon of 20"),
        (study(returns=np.zeros((40, 2)) + np.arange(40)[:, None], market=np.zeros(40), winner=0), "there are 40 bars"),
        (study(returns=np.full((BARS, 2), 0.1), market=np.zeros(BARS), winner=0), "ahead by the same amount"),
    ],
)
def test_what_cannot_be_told_says_why(evidence, reason):
    verdict = judge(evidence, draws=200)
    assert verdict.word == "cannot be told"
    assert verdict.headline.startswith("Cannot be told: ") and reason in verdict.headline
    assert verdict.reasons[0].startswith("The verdict is not defined, because ")
    assert verdict.p_value.value is None
    assert (verdict.tested > 0) == (verdict.numbers()["spa_p"].value is not None)


@pytest.mark.parametrize("metric", [name for name in OBJECTIVES if better_direction(name)])
def test_a_study_is_backwards_where_the_check_of_its_direction_says_so(metric):
    for direction in ("minimize", "maximize"):
        assert study(metric=metric, direction=direction).backwards == bool(
            doubtful_directions(HpoConfig(metric=metric, direction=direction))
        )


def test_returns_are_resampled_in_blocks_as_long_as_the_horizon_though_they_do_not_overlap():
    found = judge(study(0.45, horizon=20), draws=200)
    assert found.superiority.block == 20 and found.word == "real"


def test_a_metric_of_the_users_own_may_be_better_the_lower_it_is():
    own = forecast_study(0.6, metric="val_my_error", direction="minimize")
    assert judge(own).word == judge(replace(own, direction="maximize")).word == "real"


def test_a_single_trial_is_judged_without_a_correction_and_says_what_it_lacks():
    evidence = study(0.45)
    verdict = judge(replace(evidence, returns=evidence.returns[:, [WINNER]], winner=0, tried=1))
    assert verdict.word == "real" and "in its only trial" in verdict.headline
    assert "a single trial" in verdict.support.dsr.problem
    assert any("1 distinct trials are too few" in reason for reason in verdict.reasons)
    assert any("above 0 is" in reason for reason in verdict.reasons)


def test_a_winner_that_is_the_market_or_worse_is_not_shown():
    evidence = study()
    same = np.repeat(evidence.market[:, None], 3, axis=1)
    verdict = judge(replace(evidence, returns=same, winner=0, tried=3))
    assert verdict.word == "not shown" and "does the same as buy and hold on every bar" in verdict.headline
    assert "the return is the same on every bar" in verdict.support.sharpe.problem
    worse = judge(replace(evidence, returns=evidence.returns - 0.01))
    assert worse.word == "not shown" and "does not beat buy and hold at all" in worse.headline


@pytest.mark.parametrize(
    ("metric", "score"),
    [
        ("val_sharpe", "Sharpe ratio after costs"),
        ("val_calmar", "Sharpe ratio after costs"),  # the nearest that sums over bars give
        ("val_sortino", "Sortino ratio after costs"),
        ("val_cagr", "mean return after costs"),
    ],
)
def test_the_reasons_say_by_what_trials_were_ranked(metric, score):
    (said,) = [reason for reason in judge(study(0.45, metric=metric), draws=100).reasons if "splits" in reason]
    assert said.startswith(f"By {score}, the best on one half of the bars is in the lower half of the trials")
    (said,) = [reason for reason in judge(forecast_study(0.6), draws=100).reasons if "splits" in reason]
    assert said.startswith("By mean gain, the best on one half of the bars")


def test_the_metric_decides_what_is_tested():
    evidence = study(0.45, gains=np.zeros((BARS, TRIALS)))
    assert judge(evidence).word == "real"
    assert judge(replace(evidence, metric="val_ic")).word == "not shown"
    sharpe, sortino = (judge(study(metric=metric)).overfitting.logits for metric in ("val_sharpe", "val_sortino"))
    assert sharpe.tolist() != sortino.tolist()


def test_the_same_seed_gives_the_same_verdict():
    one, again, other = (winner_test(study(0.2), draws=300, seed=seed).p_value.value for seed in (1, 1, 2))
    assert one == again != other


def test_loss_gains_are_the_benchmarks_loss_less_the_trials():
    actual, forecasts = [1.0, 0.0], np.array([[0.5, math.nan], [0.2, 0.9]])
    assert loss_gains(actual, forecasts, 0.4) == pytest.approx(
        np.array([[0.36 - 0.25, math.nan], [0.16 - 0.04, 0.16 - 0.81]]), nan_ok=True
    )
    assert loss_gains(actual, forecasts, 0.4, "mae")[0, 0] == pytest.approx(0.6 - 0.5)
    assert loss_gains([3.0], [[0.5]], 0.0, "huber")[0, 0] == pytest.approx(2.5 - 2.0)
    assert loss_gains(actual, forecasts, 0.4, "bce")[1, 0] == pytest.approx(math.log(0.8) - math.log(0.6))
    assert np.isfinite(loss_gains([1.0], [[0.0]], 0.4, "bce")).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"winner": 25}, "winner is 25; expected a column of returns, 0 to 24"),
        ({"market": None}, "market has the shape None; expected a return for each of 300 bars"),
        ({"tried": 0}, "tried is 0"),
        ({"returns": np.full((BARS, TRIALS), math.inf)}, "returns holds infinite values"),
    ],
)
def test_impossible_evidence_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        study(**given)


def test_an_estimate_is_a_number_or_a_reason():
    with pytest.raises(ValueError, match="a finite number or has a problem"):
        Estimate(None)
    with pytest.raises(ValueError, match="a finite number or has a problem"):
        Estimate(math.nan)
