"""A study's metrics with their directions: lists of one, Pareto dominance, and what cannot be compared or computed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tradingbot_exp.config.schema import Config, DataConfig, HpoConfig
from tradingbot_exp.data import prepare_data
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.hpo.job import worth_keeping
from tradingbot_exp.hpo.objectives import check_metrics, check_space, dominates, objectives_of
from tradingbot_exp.hpo.space import SearchSpace
from tradingbot_exp.hpo.trial import Ticket
from tradingbot_exp.outcome import objectives

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
    ticket = Ticket("s", 0, "run", "parent", best=1.0)
    assert worth_keeping(config, ticket, [better])
    assert not worth_keeping(config, ticket, [2.0 - better]) and not worth_keeping(config, ticket, [1.0])
    assert worth_keeping(config, replace(ticket, best=None), [2.0 - better])
    assert not worth_keeping(config, replace(ticket, best=None), [2.0 - better], [[better]])
    assert not worth_keeping(config, ticket, [better], [[better]])  # of two that ended together, the first


def test_of_a_pareto_study_what_the_front_dominates_is_not_kept() -> None:
    config = config_for(**PARETO)
    assert dominates(config.hpo, [1.0, 0.2], [2.0, 0.1]) and dominates(config.hpo, [1.0, 0.2], [1.0, 0.1])
    assert not dominates(config.hpo, [1.0, 0.2], [1.0, 0.2]) and not dominates(config.hpo, [1.0, 0.2], [0.5, 0.1])
    ticket = Ticket("s", 0, "run", "parent", front=[[1.0, 0.2], [2.0, 0.4]])
    assert Ticket.loads(ticket.dumps()) == ticket
    assert not worth_keeping(config, ticket, [1.5, 0.1]) and not worth_keeping(config, ticket, [3.0, 0.4])
    assert worth_keeping(config, ticket, [1.5, 0.3]) and worth_keeping(config, ticket, [1.0, 0.2])
    assert worth_keeping(config, replace(ticket, front=None), [9.0, -1.0])
    assert not worth_keeping(config, ticket, [1.5, 0.3], [[1.4, 0.3]])


@pytest.mark.parametrize("metric", ["val_loss", "best_val_loss", "final_loss", "train_loss", ["val_ic", "val_loss"]])
def test_the_loss_is_not_searched_for_by_its_own_value(metric: Any) -> None:
    direction = ["maximize", "minimize"] if isinstance(metric, list) else "minimize"
    with pytest.raises(ConfigError, match=r"param_space.training.loss: training.loss cannot .* hpo.metric=\w*loss"):
        check_space(config_for(metric=metric, direction=direction), LOSSES)


def test_the_loss_is_searched_by_a_metric_that_all_share_but_not_pruned() -> None:
    check_space(config_for(metric="val_mse"), LOSSES)
    check_space(config_for(), SearchSpace.parse({"batch_size": [16, 32]}))
    with pytest.raises(ConfigError, match=r"hpo.pruner=median, which compares trials by val_loss"):
        check_space(config_for(metric="val_mse", pruner="median"), LOSSES)


@pytest.mark.parametrize("metric", ["val_sharpe", "val_sortino", "val_max_drawdown", "val_turnover"])
def test_a_metric_of_returns_is_refused_for_data_that_have_none(metric: str) -> None:
    config = config_for(metric=["val_loss", metric], direction=["minimize", "maximize"])
    data = prepare_data(DataConfig(name="synthetic", source="synthetic"))
    check_metrics(config, data)
    without = replace(data, next_return=None)
    with pytest.raises(ConfigError, match=f"hpo.metric={metric} needs one-bar returns, and the data synthetic have"):
        check_metrics(config, without)
    check_metrics(config_for(**PARETO), without)
