"""What is found out about a study before anything starts: options, places and names that do not go together."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tradingbot_exp.config.metrics import BACKTEST_METRICS, LOSS_METRICS
from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import ConfigError, near
from tradingbot_exp.evaluation.metrics.objectives import doubtful_directions, objectives_of
from tradingbot_exp.hpo.space.names import OPTIONS
from tradingbot_exp.tracking.store.places import sqlite_path

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.hpo.space.space import SearchSpace

log = logging.getLogger(__name__)

_NEEDING_RETURNS = tuple(f"val_{name}" for name in BACKTEST_METRICS)


def check_study(config: Config, space: SearchSpace) -> None:
    """Refuse a study that cannot be run as it is configured, and doubt what is hardly meant.

    Raises
    ------
    ConfigError
        It cannot.
    """
    hpo = config.hpo
    if _same_database(hpo.storage, config.tracking.uri):
        raise ConfigError(
            f"hpo.storage and tracking.uri are both {redact(config.tracking.uri)}: Optuna and MLflow need a database "
            "each. Leave hpo.storage out for a local file, or name another database."
        )
    for doubt in doubtful_directions(hpo):
        log.warning("%s", doubt)
    check_space(config, space)
    _check_options(config, space)
    _check_registration(config)
    several = len(objectives_of(hpo)) > 1
    if several and hpo.pruner != "none":
        raise ConfigError(f"hpo.pruner={hpo.pruner} works on one objective, and hpo.metric names {len(hpo.metric)}.")
    if several and hpo.sampler == "cmaes":
        raise ConfigError("hpo.sampler=cmaes works on one objective. For several, take nsgaii or tpe.")
    if hpo.sampler == "grid":
        space.grid()


def _same_database(first: str | None, second: str) -> bool:
    """Tell whether two addresses mean one database, however they are written."""
    if not first:
        return False
    paths = [sqlite_path(address) for address in (first, second)]
    if paths[0] is not None and paths[1] is not None:
        return (launch_dir() / paths[0]).resolve() == (launch_dir() / paths[1]).resolve()
    return first == second


def _check_options(config: Config, space: SearchSpace) -> None:
    """Refuse to search an option of the user's own model that the configuration does not have."""
    for name, parameter in space.parameters.items():
        option = name.removeprefix(OPTIONS)
        if name.startswith(OPTIONS) and option not in config.model.options:
            there = ", ".join(config.model.options) or "none"
            raise ConfigError(
                f"{parameter.label}: model.options has no '{option}'; it has: {there}. Give it a value first, with "
                f"+{name}=VALUE or in the model's file.{near(option, config.model.options)}"
            )


def _check_registration(config: Config) -> None:
    """Refuse to register a winner that there will not be."""
    name, hpo = config.tracking.register, config.hpo
    if name is not None and hpo.keep == "none":
        raise ConfigError(f"tracking.register={name} needs the winner's model, which hpo.keep=none does not keep.")
    if name is not None and len(objectives_of(hpo)) > 1:
        raise ConfigError(f"tracking.register={name} registers one winner, and hpo.metric names {len(hpo.metric)}.")


def check_space(config: Config, space: SearchSpace) -> None:
    """Refuse to search over `training.loss` where losses are compared.

    Raises
    ------
    ConfigError
        `hpo.metric` or `hpo.pruner` goes by a loss that each trial would count in another unit.
    """
    if "training.loss" not in space.parameters:
        return
    label = space.parameters["training.loss"].label
    for objective in objectives_of(config.hpo):
        if objective.metric in LOSS_METRICS:
            raise ConfigError(
                f"{label}: training.loss cannot be searched with hpo.metric={objective.metric}, which each trial would "
                "count in its own unit. Search for a metric that all share, such as hpo.metric=val_mse or val_ic."
            )
    if config.hpo.pruner != "none":
        raise ConfigError(
            f"{label}: training.loss cannot be searched with hpo.pruner={config.hpo.pruner}, which compares trials by "
            "val_loss, and each would count that in its own unit. Set hpo.pruner=none."
        )


def check_metrics(config: Config, data: PreparedData) -> None:
    """Refuse to search for a metric that the data cannot give.

    Raises
    ------
    ConfigError
        `hpo.metric` names one that needs one-bar returns, and there are none.
    """
    for objective in objectives_of(config.hpo):
        if objective.metric in _NEEDING_RETURNS and data.next_return is None:
            raise ConfigError(
                f"hpo.metric={objective.metric} needs one-bar returns, and the data {data.name} have none. With "
                "data=table, name their column in data.returns (arrays have none); or search for val_loss or val_ic."
            )
