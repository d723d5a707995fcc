"""The rivals' numbers against scikit-learn, and that the linear model is fitted once and to train alone."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from tradingbot_exp.config.metrics import BASELINES, LINEAR
from tradingbot_exp.config.schema import DataConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.evaluation.metrics import baselines
from tradingbot_exp.evaluation.metrics.baselines import (
    baseline_metrics,
    fit_linear,
    judge_linear,
    linear_model,
    validated_baselines,
)
from tradingbot_exp.evaluation.metrics.evaluate import validation_metrics
from tradingbot_exp.evaluation.rules import Rules

RULES = Rules(periods=252.0)


@pytest.fixture(scope="module")
def data():
    return prepare_data(DataConfig())


@pytest.mark.parametrize("shape", [(200, 4), (50, 3, 2), (5, 8), (1, 2)], ids=str)
def test_the_fit_is_that_of_scikit_learn(shape):
    rng = np.random.default_rng(0)
    X, y = rng.normal(3.0, 2.0, size=shape), rng.normal(size=shape[0])
    flat = X.reshape(len(X), -1)
    oracle, fitted = LinearRegression().fit(flat, y), fit_linear(X, y)
    np.testing.assert_allclose(fitted.weights, oracle.coef_, atol=1e-10)
    assert fitted.intercept == pytest.approx(oracle.intercept_, abs=1e-10)
    np.testing.assert_allclose(fitted.predict(X), oracle.predict(flat), atol=1e-10)


def test_constant_and_repeated_inputs_share_their_weight_and_change_no_forecast():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(100, 2)), rng.normal(size=100)
    padded = np.column_stack([X, X[:, 0], np.full(100, 7.0)])
    plain, fitted = fit_linear(X, y), fit_linear(padded, y)
    np.testing.assert_allclose(fitted.predict(padded), plain.predict(X), atol=1e-12)
    np.testing.assert_allclose(fitted.weights[[0, 2]], plain.weights[0] / 2, atol=1e-12)
    assert fitted.weights[3] == pytest.approx(0, abs=1e-12)


def test_many_small_blocks_give_what_one_large_block_gives(monkeypatch):
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(97, 5)), rng.normal(size=97)
    whole = fit_linear(X, y)
    monkeypatch.setattr(baselines, "_CHUNK_VALUES", 60)  # 12 rows at a time
    assert len(list(baselines._chunks(X))) == 9
    blocks = fit_linear(X, y)
    np.testing.assert_allclose(blocks.weights, whole.weights, atol=1e-12)
    np.testing.assert_allclose(blocks.predict(X), whole.predict(X), atol=1e-12)


@pytest.mark.parametrize(("X", "y"), [(np.zeros((0, 2)), []), (np.zeros((3, 2)), [1.0])])
def test_rows_that_are_missing_or_do_not_match_are_refused(X, y):
    with pytest.raises(ValueError, match="rows"):
        fit_linear(X, y)


@pytest.mark.parametrize("length", [1, 5])
def test_the_metrics_are_those_of_scikit_learns_forecast_judged_like_a_model(length):
    data = prepare_data(DataConfig(sequence_length=length))
    train, val = (data.inputs(block, np.float64).reshape(len(block), -1) for block in (data.train, data.val))
    forecast = LinearRegression().fit(train, data.targets(data.train)).predict(val)
    actual, level = data.targets(data.val), data.targets(data.train).mean()
    layout = data.layout.take(data.val.rows)
    judged = validation_metrics(actual, forecast, data.returns(data.val), level, RULES, layout=layout).metrics
    metrics, undefined = baseline_metrics(judge_linear(data, data.val, RULES))
    assert undefined == {}
    assert set(metrics) == set(BASELINES)
    for name in LINEAR:
        assert metrics[f"linear_{name}"] == pytest.approx(judged[name], rel=1e-9)
    assert metrics["train_mean_mse"] == pytest.approx(np.mean((actual - level) ** 2), rel=1e-12)


def test_without_returns_the_sharpe_ratio_says_why_it_is_missing(data):
    metrics, undefined = baseline_metrics(judge_linear(replace(data, next_return=None), data.val, RULES))
    assert set(metrics) == set(BASELINES) - {"linear_sharpe"}
    assert "no one-bar returns were given" in undefined["linear_sharpe"]


def test_of_validation_rows_they_are_computed_once_for_the_same_rules(data):
    for rules in (RULES, replace(RULES, cost_bps=99.0)):
        found = validated_baselines(data, rules)
        assert found == baseline_metrics(judge_linear(data, data.val, rules))
        assert validated_baselines(data, replace(rules)) is found


def test_the_fit_knows_nothing_of_later_rows(data):
    target = data.target.copy()
    target[data.train.stop :] = 9.0
    np.testing.assert_array_equal(linear_model(replace(data, target=target)).weights, linear_model(data).weights)


def test_jobs_that_share_data_share_one_fit(data):
    assert linear_model(data) is linear_model(data)
    assert linear_model(replace(data)) is not linear_model(data)
