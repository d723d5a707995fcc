"""A study's metrics with their directions: lists of one, Pareto dominance, and what cannot be compared or computed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tradingbot_exp.config.schema import Config, DataConfig, HpoConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.evaluation.metrics.objectives import (
    dominates,
    doubtful_directions,
    objectives_of,
    over_folds,
    why_not_finite,
)
from tradingbot_exp.experiment.results import objectives
from tradingbot_exp.hpo.checks import check_metrics, check_space
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.trial_run import worth_keeping
from tradingbot_exp.hpo.trial_spec import TrialSpec

PARETO = {"metric": ["val_loss", "val_ic"], "direction": ["minimize", "maximize"]}
LOSSES = SearchSpace.parse({"training.loss": ["mse", "mae"]})


def config_for(**hpo: Any) -> Config:
    return Config(hpo=HpoConfig(**hpo))


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: [text]])
@pytest.mark.parametrize(("direction", "better"), [("minimize", 0.5), ("maximize", 1.5)])
def test_a_list_of_one_is_the_one(wrap: Any, direction: str, better: float) -> None:
    config = config_for(metric=wrap("val_ic"), direction=wrap(direction))
    assert objectives_of(config.hpo) == (("val_ic", direction),)
    assert objectives(config, {"val_ic": 0.25, "val_loss": 1.0}) == [0.25]
    spec = TrialSpec("s", 0, "run", "parent", rivals=[[1.0]])
    assert worth_keeping(config, spec, [better])
    assert not worth_keeping(config, spec, [2.0 - better]) and not worth_keeping(config, spec, [1.0])
    assert worth_keeping(config, replace(spec, rivals=[]), [2.0 - better])
    assert not worth_keeping(config, replace(spec, rivals=[]), [2.0 - better], [[better]])
    assert not worth_keeping(config, spec, [better], [[better]])  # of two that ended together, the first


@pytest.mark.parametrize(
    ("metric", "direction", "better"),
    [
        ("val_ic", "minimize", "maximize"),
        ("val_loss", "maximize", "minimize"),
        ("val_sharpe", "maximize", ""),
        ("val_max_drawdown", "minimize", "maximize"),
        ("val_cagr", "minimize", "maximize"),
        ("val_calmar", "minimize", "maximize"),
        ("val_turnover", "maximize", ""),
        (["val_loss", "val_sharpe"], ["minimize", "minimize"], "maximize"),
    ],
)
def test_a_search_for_the_worst_value_is_doubted_with_the_direction_to_set(
    metric: Any, direction: Any, better: str
) -> None:
    said = doubtful_directions(config_for(metric=metric, direction=direction).hpo)
    assert len(said) == bool(better)
    assert all(f"Set hpo.direction={better}" in doubt for doubt in said)


FOLDS = [{"val_loss": 1.0, "val_ic": 0.3}, {"val_loss": 4.0, "val_ic": -0.1}, {"val_loss": 1.0, "val_ic": 0.1}]


@pytest.mark.parametrize(
    ("aggregate", "loss", "ic"),
    [
        ("mean", 2.0, 0.1),
        ("worst", 4.0, -0.1),
        ("mean_less_std", 2.0 + 2.0 * np.std([1, 4, 1], ddof=1), 0.1 - 2.0 * np.std([0.3, -0.1, 0.1], ddof=1)),
    ],
)
def test_folds_make_one_value_that_is_worse_in_the_metrics_own_direction(
    aggregate: str, loss: float, ic: float
) -> None:
    hpo = config_for(**PARETO, aggregate=aggregate, std_multiple=2.0).hpo
    assert over_folds(hpo, FOLDS) == {"val_loss": pytest.approx(loss), "val_ic": pytest.approx(ic)}
    assert over_folds(hpo, FOLDS[:1]) == FOLDS[0]


def test_a_value_that_one_fold_lacks_is_lacking_and_the_fold_is_named() -> None:
    hpo = config_for(**PARETO, aggregate="worst").hpo
    made = over_folds(hpo, [*FOLDS, {"val_loss": 2.0}])
    assert made["val_loss"] == 4.0 and math.isnan(made["val_ic"])
    reason = "not defined, because the forecast is constant"
    told = why_not_finite(hpo, [4.0, math.nan], {"fold_4_val_rank_ic": "x", "fold_4_val_ic": reason})
    assert told == f"fold_4_val_ic is {reason}"


def test_of_a_pareto_study_what_the_front_dominates_is_not_kept() -> None:
    config = config_for(**PARETO)
    assert dominates(config.hpo, [1.0, 0.2], [2.0, 0.1]) and dominates(config.hpo, [1.0, 0.2], [1.0, 0.1])
    assert not dominates(config.hpo, [1.0, 0.2], [1.0, 0.2]) and not dominates(config.hpo, [1.0, 0.2], [0.5, 0.1])
    spec = TrialSpec("s", 0, "run", "parent", rivals=[[1.0, 0.2], [2.0, 0.4]])
    assert TrialSpec.loads(spec.dumps()) == spec
    assert not worth_keeping(config, spec, [1.5, 0.1]) and not worth_keeping(config, spec, [3.0, 0.4])
    assert worth_keeping(config, spec, [1.5, 0.3]) and worth_keeping(config, spec, [1.0, 0.2])
    assert worth_keeping(config, replace(spec, rivals=[]), [9.0, -1.0])
    assert not worth_keeping(config, spec, [1.5, 0.3], [[1.4, 0.3]])


@pytest.mark.parametrize("metric", ["val_loss", "best_val_loss", "final_loss", "train_loss", ["val_ic", "val_loss"]])
def test_the_loss_is_not_searched_for_by_its_own_value(metric: Any) -> None:
    direction = ["maximize", "minimize"] if isinstance(metric, list) else "minimize"
    with pytest.raises(ConfigError, match=r"param_space.training.loss: training.loss cannot .* hpo.metric=\w*loss"):
        check_space(config_for(metric=metric, direction=direction), LOSSES)


@pytest.mark.parametrize(("key", "values"), [("training.quantile", [0.1, 0.9]), ("training.pos_weight", [1, 2])])
def test_a_number_of_the_losss_own_is_not_searched_for_by_the_loss(key: str, values: list[float]) -> None:
    with pytest.raises(ConfigError, match=rf"{key} cannot be searched with hpo.metric=val_loss"):
        check_space(config_for(metric="val_loss"), SearchSpace.parse({key: values}))
    check_space(config_for(metric="val_mse"), SearchSpace.parse({key: values}))


def test_the_loss_is_searched_by_a_metric_that_all_share_but_not_pruned() -> None:
    check_space(config_for(metric="val_mse"), LOSSES)
    check_space(config_for(), SearchSpace.parse({"batch_size": [16, 32]}))
    with pytest.raises(ConfigError, match=r"hpo.pruner=median, which compares trials by val_loss"):
        check_space(config_for(metric="val_mse", pruner="median"), LOSSES)


@pytest.mark.parametrize("metric", ["val_sharpe", "val_sortino", "val_max_drawdown", "val_turnover", "val_cagr"])
def test_a_metric_of_returns_is_refused_for_data_that_have_none(metric: str) -> None:
    config = config_for(metric=["val_loss", metric], direction=["minimize", "maximize"])
    data = prepare_data(DataConfig(name="synthetic", source="synthetic"))
    check_metrics(config, LOSSES, data)
    without = replace(data, next_return=None)
    with pytest.raises(ConfigError, match=f"hpo.metric={metric} needs one-bar returns, and the data synthetic have"):
        check_metrics(config, LOSSES, without)
    check_metrics(config_for(**PARETO), LOSSES, without)


@pytest.mark.parametrize(("base", "searched", "fits"), [("mse", ["mae", "sharpe"], False), ("sharpe", ["mae"], True)])
def test_a_loss_that_is_searched_is_refused_for_data_without_returns(
    base: str, searched: list[str], fits: bool
) -> None:
    config, space = config_for(metric="val_mse"), SearchSpace.parse({"training.loss": searched})
    config.training.loss = base
    data = prepare_data(DataConfig(name="synthetic", source="synthetic"))
    check_metrics(config, space, data)
    without = replace(data, next_return=None)
    if fits:
        check_metrics(config, space, without)
    else:
        with pytest.raises(ConfigError, match=r"param_space.training.loss: training.loss=sharpe needs one-bar returns"):
            check_metrics(config, space, without)
