"""The verdict: its word, its reasons, what it counts, and what it says where it can say nothing."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from bench_verdict import KINDS, best_by, simulate
from scipy.stats import chi2, norm

from tradingbot_exp.config.metrics import OBJECTIVES, better_direction
from tradingbot_exp.config.schema import HpoConfig
from tradingbot_exp.evaluation._arrays import Estimate
from tradingbot_exp.evaluation.metrics.objectives import doubtful_directions
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.evaluation.significance import verdict as significance
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.selection_bias import LEVEL, critical_score, rounded_bars
from tradingbot_exp.evaluation.significance.series import Before, alpha_series, sums_before
from tradingbot_exp.evaluation.significance.statistic import Number, Statistic
from tradingbot_exp.evaluation.significance.superiority import superiority
from tradingbot_exp.evaluation.significance.verdict import STATISTICS, judge
from tradingbot_exp.evaluation.significance.winner import winner_test
from tradingbot_exp.reporting.study import verdict as report

BARS, TRAIN, TRIALS, WINNER = 300, 200, 25, 7
YEAR, LONG = Rules(periods=252), Rules(horizon=20, periods=252)


def past(outcome, trials):
    """What trials knew before the bars that are judged, of train rows: of forecasts, or of returns."""
    return Before(*np.array([sums_before(outcome, each, outcome, each) for each in trials.T]).T[:, None, :])


def study(skill=0.0, seed=0, **given):
    """A study for the Sharpe ratio, whose winner earns `skill` standard deviations a bar more than the market."""
    rng = np.random.default_rng(seed)
    market = 0.0005 + 0.01 * rng.standard_t(4, TRAIN + BARS)
    returns = market[:, None] + 0.01 * rng.standard_normal((TRAIN + BARS, TRIALS))
    returns[:, WINNER] += 0.01 * skill
    evidence = StudyEvidence(
        metric="val_sharpe",
        direction="maximize",
        winner=WINNER,
        tried=TRIALS,
        rules=YEAR,
        returns=returns[TRAIN:],
        market=market[TRAIN:],
        before=past(market[:TRAIN], returns[:TRAIN]),
    )
    return replace(evidence, **given)


def forecast_study(skill=0.0, seed=0, drift=0.0, **given):
    """A study for the loss, whose winner has a correlation of about `skill` with the target."""
    rng = np.random.default_rng(seed)
    actual = drift + rng.standard_normal(TRAIN + BARS)
    forecasts = 0.02 * rng.standard_normal((TRAIN + BARS, TRIALS))
    forecasts[:, WINNER] += skill**2 * actual + skill * math.sqrt(1 - skill**2) * rng.standard_normal(TRAIN + BARS)
    evidence = StudyEvidence(
        metric="val_loss",
        direction="minimize",
        winner=WINNER,
        tried=TRIALS,
        rules=YEAR,
        actual=actual[TRAIN:],
        forecasts=forecasts[TRAIN:],
        before=past(actual[:TRAIN], forecasts[:TRAIN]),
    )
    return replace(evidence, **given)


def test_a_winner_that_a_climbing_sampler_reaches_by_chance_is_not_shown_and_skill_is():
    rng = np.random.default_rng(3)
    features, actual = rng.standard_normal((TRAIN + BARS, 20)), rng.standard_normal(TRAIN + BARS)
    weights = rng.standard_normal((20, TRIALS))
    weights[:, WINNER] = np.linalg.lstsq(features[TRAIN:], actual[TRAIN:], rcond=None)[0]
    forecasts = features @ weights
    luck = forecast_study(
        actual=actual[TRAIN:], forecasts=forecasts[TRAIN:], before=past(actual[:TRAIN], forecasts[:TRAIN])
    )
    assert judge(luck).word == "real"  # as if the points had been drawn beforehand
    found = judge(replace(luck, climbed=20))
    assert found.word == "not shown" and "Scheffé" in " ".join(found.reasons)
    assert found.numbers["climb_p"] == found.numbers["verdict_p"]
    alone = found.test.superiority.p_alone[WINNER]
    assert found.numbers["climb_p"].value == pytest.approx(chi2.sf(norm.isf(alone) ** 2, 20))
    assert judge(forecast_study(0.4, climbed=10)).word == judge(study(0.45, climbed=10)).word == "real"
    earned = judge(study(0.45, climbed=10))  # signs turn on more than as many directions
    alone = earned.test.superiority.p_alone[WINNER]
    assert earned.numbers["climb_p"].value == pytest.approx(chi2.sf(norm.isf(alone) ** 2, 20))
    assert judge(study(0.45)).numbers["climb_p"].value is None
    # What is needed is what the bound asks for, where that is more than the number of trials does.
    drawn, climbing = (judge(forecast_study(0.25, climbed=d)).numbers for d in (0, 20))
    assert climbing["needed_ic"].value / drawn["needed_ic"].value == pytest.approx(
        math.sqrt(chi2.isf(0.025, 20)) / critical_score(TRIALS)
    )
    assert climbing["needed_bars"].value > drawn["needed_bars"].value
    bound = judge(forecast_study(0.25, climbed=10))
    assert bound.test.spa_p.value < 0.025 < bound.test.climb_p.value and bound.word == "not shown"
    assert "up to" in bound.headline and "correction for all" not in bound.reasons[0]


def test_of_a_winner_that_shows_nothing_no_bound_is_said():
    still, against = forecast_study(climbed=2), forecast_study(climbed=2)
    still.forecasts[:, WINNER] = 0.01
    against.forecasts[:, WINNER] = -against.actual
    for evidence in (still, against):
        verdict = judge(evidence, draws=200)
        assert verdict.test.verdict_p.value == 1 and "Scheffé" not in " ".join(verdict.reasons)


def test_skill_is_real_and_luck_is_not_shown_whatever_was_searched():
    for make, skill, what in (
        (study, 0.45, "the winner earns an alpha"),
        (forecast_study, 0.4, "the winner's forecasts move with the outcome"),
    ):
        real, luck = judge(make(skill)), judge(make())
        assert real.word == "real" and real.headline.startswith(
            f"Real: {what} by more than selection bias explains, with all 25"
        )
        assert luck.word == "not shown" and luck.headline.startswith("Not shown: ")
        assert real.test.verdict_p.value < LEVEL < luck.test.verdict_p.value
        assert not any("contradicts" in reason for reason in real.reasons)


@pytest.mark.parametrize("drift", [0.0018, -0.0018])
def test_neither_being_in_a_market_nor_out_of_it_nor_against_it_is_skill(drift):
    rng = np.random.default_rng(3)
    market = 0.01 * rng.standard_t(4, TRAIN + BARS) + drift
    shape = (TRAIN + BARS, TRIALS)
    held = {
        "long": np.where(rng.random(shape) < 0.9, 1.0, -1.0),
        "short": np.where(rng.random(shape) < 0.9, -1.0, 1.0),
        "flat": np.where(rng.random(shape) < 0.9, 0.0, 1.0),
        "timed": np.where(rng.random(shape) < 0.7, np.sign(market)[:, None], -np.sign(market)[:, None]),
    }
    for name, position in held.items():
        returns = position * market[:, None]
        own = returns[TRAIN:]
        winner, known = int((own.mean(axis=0) / own.std(axis=0)).argmax()), past(market[:TRAIN], returns[:TRAIN])
        verdict = judge(study(returns=own, market=market[TRAIN:], before=known, winner=winner))
        assert verdict.word == ("real" if name == "timed" else "not shown"), name
        assert verdict.numbers["beta"].value == pytest.approx(
            {"long": 0.8, "short": -0.8, "flat": 0.1, "timed": 0.0}[name], abs=0.35
        )


def test_a_constant_forecast_of_a_drifting_outcome_is_no_skill():
    evidence = forecast_study(drift=0.3)
    constants = np.repeat(np.linspace(0.1, 0.5, TRIALS)[None], BARS, axis=0)
    verdict = judge(replace(evidence, forecasts=constants))
    assert (verdict.word, verdict.test.verdict_p.value) == ("not shown", 1.0)
    assert verdict.headline == "Not shown: the winner's forecast never moves."
    assert verdict.numbers["gain_on_neutral"].value > 0  # though it is nearer than zero
    one = evidence.forecasts.copy()
    one[:, WINNER] = 0.3
    assert judge(replace(evidence, forecasts=one)).headline == verdict.headline


def test_a_forecast_of_the_wrong_size_is_skill_all_the_same_and_told_its_size():
    evidence = forecast_study(0.4)
    verdict = judge(replace(evidence, forecasts=20 * evidence.forecasts))
    assert verdict.word == "real" and verdict.test.verdict_p.value == judge(evidence).test.verdict_p.value
    assert verdict.numbers["gain_on_neutral"].value < 0
    assert verdict.numbers["scale"].value == pytest.approx(judge(evidence).numbers["scale"].value / 20)
    (said,) = [reason for reason in verdict.reasons if "squared error" in reason]
    assert "above that of taking no side" in said and "its forecasts would be well scaled" in said


def test_by_the_means_of_only_one_kind_nothing_is_shown():
    verdict = judge(known_late())
    assert verdict.word == "not shown"
    assert verdict.headline.endswith(
        "move with the outcome, but not by the means that could be known before each date."
    )


def test_the_reasons_give_the_numbers():
    verdict = judge(study(0.45, ever=400))
    text = " ".join(verdict.reasons)
    assert "of 25 trials, by alpha on 300 validation bars, gives p < 0.001" in text
    assert "375 more configurations were tried than can be tested (25 in this study, 400 ever on these bars)" in text
    assert "For each of them the p-value that the winner would have by itself is added." in text
    assert "1 more configuration was tried" in " ".join(judge(study(0.45, ever=26), draws=200).reasons)
    assert f"The Sharpe ratio of its alpha is {verdict.numbers['alpha_sharpe'].value:.2f} a year" in text
    assert f"Its alpha is {100 * verdict.numbers['alpha'].value:.1f} % a year at a beta of " in text
    assert f"{verdict.numbers['noise_sharpe'].value:.2f} on average" in text
    assert "the deflated Sharpe ratio, which should be at least 0.95" in text
    assert "of 12,870 splits (probability of backtest overfitting)" in text
    assert verdict.evidence.count == 400 and verdict.test.tested == TRIALS


def test_another_statistic_is_a_class_and_a_line_that_numbers_reasons_and_the_report_follow(monkeypatch):
    @dataclass(frozen=True, eq=False)
    class Seen(Statistic):
        SHOWN: ClassVar = {"seen": Number("Bars seen", "bars", "Of all trials.")}
        seen: Estimate

        @classmethod
        def of(cls, evidence):
            return cls(Estimate(float(len(evidence.part.values))))

        def sentences(self, evidence, test):
            return [f"It is {test.word} on {self.seen.value:.0f} bars."]

    for module in (significance, report):
        monkeypatch.setattr(module, "STATISTICS", (*STATISTICS, Seen))
    verdict = judge(study(0.45), draws=100)
    assert verdict.numbers["seen"].value == BARS and verdict.reasons[-1] == "It is real on 300 bars."
    row = report._table({"numbers": {"seen": {"value": 300.0, "problem": None}}}).rows[-1]
    assert [cell.text for cell in row] == ["Bars seen", "300", "Of all trials."]


def test_the_bars_that_would_do_are_said_where_there_are_fewer():
    strong, weak = judge(forecast_study(0.6), draws=200), judge(forecast_study(0.1, seed=4), draws=200)
    assert strong.numbers["needed_bars"].value < BARS < weak.numbers["needed_bars"].value
    assert strong.reasons[0].endswith(" would be needed.")
    assert weak.reasons[0].endswith(
        f"or the same on some {rounded_bars(weak.numbers['needed_bars'].value)} validation bars instead of 300."
    )


def alike(skill):
    """A study whose trials hardly differ."""
    evidence = study(skill)
    noise = 1e-5 * np.random.default_rng(0).standard_normal((BARS, TRIALS))
    return replace(evidence, returns=evidence.returns[:, [WINNER] * TRIALS] + noise, winner=0)


def known_late():
    """A study whose forecasts move with the outcome, but not by the means of the dates before each date."""
    evidence = forecast_study(0.4)
    level, forecast = evidence.before.level + 10.0, evidence.before.forecast - 2_000.0
    return replace(evidence, before=evidence.before._replace(level=level, forecast=forecast))


@pytest.mark.parametrize(
    ("evidence", "word", "why"),
    [
        (
            best_by(simulate(KINDS["outcome that remembers, some trials persistent"], 0), "val_ic"),
            "not shown",
            "blocks",
        ),
        (known_late(), "not shown", "the lesser of the two counts"),
        (alike(0.18), "real", "count as fewer"),
    ],
    ids=["memory", "means", "alike"],
)
def test_where_the_rule_of_thumb_and_the_word_differ_a_sentence_says_why(evidence, word, why):
    verdict = judge(evidence, draws=500)
    pair = ("ic", "needed_ic") if evidence.family == "forecast" else ("alpha_sharpe", "needed_sharpe")
    shown, needed = (verdict.numbers[name].value for name in pair)
    assert verdict.word == word and (shown < needed) == (word == "real")
    assert f", {'below' if word == 'real' else 'above'} the " in verdict.reasons[0] and why in verdict.reasons[0]


def test_every_number_has_a_name_and_a_value_or_a_reason():
    seen = forecast_study()
    both = study(0.45, climbed=2, actual=seen.actual, forecasts=seen.forecasts + 0.01 * seen.actual[:, None])
    full, empty = judge(both).numbers, judge(forecast_study(forecasts=None)).numbers
    assert full.keys() == empty.keys()
    assert [name for name, number in full.items() if number.value is None] == []
    assert all(number.value is None and number.problem for number in empty.values())
    assert full["psr"].value > full["dsr"].value


def test_for_each_configuration_that_cannot_be_tested_the_winners_p_value_alone_is_added():
    evidence = study(0.25, seed=3)
    found = winner_test(evidence)
    alone = found.superiority.p_alone[found.part.winner]
    for counts in ({"tried": 2 * TRIALS}, {"ever": 2 * TRIALS}, {"tried": 2 * TRIALS, "ever": TRIALS}):
        wanted = min(found.verdict_p.value + TRIALS * alone, 1)
        assert winner_test(replace(evidence, **counts)).verdict_p.value == pytest.approx(wanted)
    # Alike trials are hardly more than one, and what was tried beside them counts in full.
    alike = replace(evidence, returns=evidence.returns[:, [evidence.winner] * TRIALS], winner=0)
    one, many = (winner_test(replace(alike, ever=ever)) for ever in (0, 10 * TRIALS))
    alone = many.superiority.p_alone[0]
    assert one.verdict_p.value < alone + 0.01
    assert many.verdict_p.value == pytest.approx(many.superiority.p_each[0] + 9 * TRIALS * alone)


def test_a_real_winner_is_not_shown_once_enough_was_tried_before():
    evidence = study(0.25, seed=1)
    assert winner_test(evidence).word == "real"
    assert winner_test(replace(evidence, ever=1_000_000)).word == "not shown"


def test_it_is_the_winner_that_is_judged_and_not_the_trial_that_stands_out():
    evidence = study(0.45)
    verdict = judge(replace(evidence, winner=3))
    assert verdict.test.superiority.p_consistent < LEVEL and verdict.test.superiority.best == WINNER
    assert verdict.word == "not shown"
    assert any("is not the winner, whose own p" in reason for reason in verdict.reasons)


def test_trials_without_enough_bars_are_left_out_and_counted():
    evidence = study(0.45)
    returns = evidence.returns.copy()
    returns[:100, 2] = math.nan  # a third of the bars
    returns[:, 4] = math.nan
    returns[:5, 5] = math.nan  # few: the bars go, the trial stays
    verdict = judge(replace(evidence, returns=returns))
    assert verdict.test.tested == TRIALS - 2 and verdict.evidence.count == TRIALS
    assert verdict.test.superiority.bars == BARS - 5
    assert verdict.word == "real"
    # What remains is tested as it would be by itself.
    kept, known = np.delete(returns, [2, 4], axis=1)[5:], [np.delete(each, [2, 4], axis=1) for each in evidence.before]
    series = alpha_series(evidence.market[5:], kept, Before(*known))
    found = [superiority(each, draws=2_000).p_each[WINNER - 2] for each in series]
    assert max(found) == verdict.test.superiority.p_each[WINNER - 2]


def test_the_winners_place_is_kept_where_columns_go_and_a_trial_without_a_past_goes():
    evidence = study(0.45)
    returns, dates = evidence.returns.copy(), evidence.before.dates.copy()
    returns[:, 1], dates[:, 3] = math.nan, math.nan
    gone = replace(evidence, returns=returns, before=evidence.before._replace(dates=dates))
    part = gone.part
    assert part.columns.tolist() == [0, 2, *range(4, TRIALS)] and part.winner == WINNER - 2
    np.testing.assert_array_equal(part.values[:, part.winner], evidence.returns[:, WINNER])
    assert replace(gone, winner=1).part is None and replace(gone, winner=3).part is None


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (study(winner=None), "the winner's returns on the validation bars were not kept"),
        (study(returns=None, market=None), "the winner's returns on the validation bars were not kept"),
        (forecast_study(forecasts=None), "the winner's forecasts on the validation bars were not kept"),
        (forecast_study(forecasts=np.full((BARS, TRIALS), math.nan)), "the winner's forecasts"),
        (study(before=None), "the winner's returns on the validation bars were not kept"),
        (forecast_study(direction="maximize"), "the study was to maximize val_loss, which seeks no skill"),
        (study(metric="val_turnover", direction="minimize"), "the study was to minimize val_turnover"),
        (forecast_study(rules=LONG), "there are 300 bars, and the test takes at least 600 with a horizon of 20"),
        (study(returns=study().returns[:40], market=study().market[:40]), "there are 40 bars"),
    ],
)
def test_what_cannot_be_told_says_why(evidence, reason):
    verdict = judge(evidence, draws=200)
    assert verdict.word == "cannot be told"
    assert verdict.headline.startswith("Cannot be told: ") and reason in verdict.headline
    assert verdict.reasons[0].startswith("The verdict is not defined, because ")
    assert verdict.test.verdict_p.value is None
    assert (verdict.test.tested > 0) == (verdict.numbers["spa_p"].value is not None)


@pytest.mark.parametrize("metric", [name for name in OBJECTIVES if better_direction(name)])
def test_a_study_is_backwards_where_the_check_of_its_direction_says_so(metric):
    for direction in ("minimize", "maximize"):
        assert study(metric=metric, direction=direction).backwards == bool(
            doubtful_directions(HpoConfig(metric=metric, direction=direction))
        )


def test_returns_are_resampled_in_blocks_as_long_as_the_horizon_though_they_do_not_overlap():
    found = judge(study(0.45, rules=LONG), draws=200)
    assert found.test.superiority.block == 20 and found.word == "real"


def test_a_metric_of_the_users_own_may_be_better_the_lower_it_is():
    own = forecast_study(0.6, metric="val_my_error", direction="minimize")
    assert judge(own).word == judge(replace(own, direction="maximize")).word == "real"


def test_a_single_trial_is_judged_without_a_correction_and_says_what_it_lacks():
    evidence = study(0.45)
    known = Before(*(each[:, [WINNER]] for each in evidence.before))
    verdict = judge(replace(evidence, returns=evidence.returns[:, [WINNER]], before=known, winner=0, tried=1))
    assert verdict.word == "real" and "in its only trial" in verdict.headline
    assert "a single trial" in verdict.numbers["dsr"].problem
    assert any("1 distinct trials are too few" in reason for reason in verdict.reasons)
    assert any("above 0 is" in reason for reason in verdict.reasons)


def test_a_winner_that_is_a_share_of_the_market_or_worse_is_not_shown():
    evidence = study()
    for share in (1.0, -0.5, 0.0):
        verdict = judge(replace(evidence, returns=share * np.repeat(evidence.market[:, None], TRIALS, axis=1)))
        assert verdict.word == "not shown" and "a share of the market's, and nothing else" in verdict.headline
        assert "the return is the same on every bar" in verdict.numbers["alpha_sharpe"].problem
        assert verdict.numbers["beta"].value == pytest.approx(share)
    worse = judge(replace(evidence, returns=evidence.returns - 0.01))
    assert worse.word == "not shown" and "hold nothing beyond their exposure to the market" in worse.headline


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
    assert said.startswith("By how forecasts move with the outcome, the best on one half of the bars")


def test_the_metric_decides_what_is_tested():
    evidence = study(0.45, actual=np.ones(BARS), forecasts=np.zeros((BARS, TRIALS)))
    assert judge(evidence).word == "real"
    assert judge(replace(evidence, metric="val_ic")).word == "not shown"
    sharpe, sortino = (judge(study(metric=metric)).overfitting.logits for metric in ("val_sharpe", "val_sortino"))
    assert sharpe.tolist() != sortino.tolist()


def test_the_same_seed_gives_the_same_verdict():
    one, again, other = (winner_test(study(0.2), draws=300, seed=seed).verdict_p.value for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"winner": 25}, "winner is 25; expected a column of returns, 0 to 24"),
        ({"market": None}, "market has the shape None; expected a value for each of 300 bars"),
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
