"""What is said of a winner beside its p-value, against direct computations."""

import numpy as np
import pytest

from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.selection_bias import needed_bars, needed_ratio
from tradingbot_exp.evaluation.significance.series import Before
from tradingbot_exp.evaluation.significance.verdict import judge

BARS, TRIALS, WINNER = 120, 3, 1
FOLDS = np.repeat([0, 1], [50, 70])


def evidence(metric="val_ic", **given):
    rng = np.random.default_rng(0)
    actual = 0.2 + rng.standard_normal(BARS)
    forecasts = 0.5 * actual[:, None] + rng.standard_normal((BARS, TRIALS)) + FOLDS[:, None]
    market = 0.001 + 0.01 * rng.standard_normal(BARS)
    returns = 0.6 * market[:, None] + 0.002 + 0.004 * rng.standard_normal((BARS, TRIALS))
    before = Before(*(np.full((2, TRIALS), value) for value in (0.3, 1.0, 100.0, 5.0, 0.1, 0.01, 0.2, 0.006, 0.0)))
    known = {"actual": actual, "forecasts": forecasts, "market": market, "returns": returns, "folds": FOLDS}
    known["rules"] = Rules(periods=252)
    return StudyEvidence(
        metric=metric,
        direction="maximize",
        winner=WINNER,
        tried=40,
        before=before,
        **(known | given),
    )


def test_forecasts_are_described_fold_by_fold():
    given = evidence()
    found = judge(given, draws=100).numbers
    y, f = given.actual, given.forecasts[:, WINNER]
    parts = [np.flatnonzero(fold == FOLDS) for fold in (0, 1)]
    ics = [np.corrcoef(y[rows], f[rows])[0, 1] for rows in parts]
    assert found["ic"].value == pytest.approx(np.average(ics, weights=[50, 70]))
    moves = [(y[rows] - y[rows].mean(), f[rows] - f[rows].mean()) for rows in parts]
    assert found["scale"].value == pytest.approx(sum(a @ b for a, b in moves) / sum(b @ b for _, b in moves))
    assert found["gain_on_neutral"].value == pytest.approx(1 - np.sum((y - f) ** 2) / np.sum(y**2))
    assert found["gain_on_mean"].value == pytest.approx(1 - np.sum((y - f) ** 2) / np.sum((y - 0.3) ** 2))
    half = judge(evidence(rules=Rules(neutral=0.5)), draws=100).numbers["gain_on_neutral"].value
    assert half == pytest.approx(1 - np.sum((y - f) ** 2) / np.sum((y - 0.5) ** 2))
    assert found["needed_ic"].value == needed_ratio(40, BARS).value
    assert found["needed_bars"].value == needed_bars(found["ic"].value, 40)


def test_returns_are_described_by_alpha_beta_and_the_lead():
    given = evidence("val_sharpe", folds=None)
    found = judge(given, draws=100).numbers
    m, r = given.market, given.returns[:, WINNER]
    slope, level = np.polyfit(m, r, 1)
    assert found["beta"].value == pytest.approx(slope)
    assert found["alpha"].value == pytest.approx(252 * level)
    assert found["lead"].value == pytest.approx(252 * np.mean(r - m))
    alpha = r - slope * m
    assert found["needed_bars"].value == needed_bars(alpha.mean() / alpha.std(ddof=1), 40)


def test_what_is_not_there_has_a_reason():
    bare = judge(evidence(forecasts=None, returns=None), draws=100).numbers
    assert "forecasts on the validation bars were not kept" in bare["ic"].problem
    assert "no returns of the winner" in bare["alpha"].problem and bare["needed_bars"].problem == bare["ic"].problem
    still = judge(evidence(forecasts=np.ones((BARS, TRIALS))), draws=100).numbers
    assert "the same on every bar" in still["ic"].problem and still["gain_on_neutral"].value is not None
    against = judge(evidence(forecasts=-evidence().forecasts), draws=100).numbers
    assert against["ic"].value < 0 and "nothing above 0" in against["needed_bars"].problem
    flat = judge(evidence("val_sharpe", market=np.zeros(BARS)), draws=100).numbers
    assert "the market does not move" in flat["beta"].problem
