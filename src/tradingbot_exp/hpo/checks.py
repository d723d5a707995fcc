"""What is found out about a study before anything starts: options, places and names that do not go together."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from tradingbot_exp.config.keys import facts_of
from tradingbot_exp.config.losses import LOSS_KEYS, LOSSES
from tradingbot_exp.config.metrics import BACKTEST_METRICS, LOSS_METRICS, TABLE
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import ConfigError, near
from tradingbot_exp.evaluation.metrics.objectives import doubtful_directions, objectives_of
from tradingbot_exp.experiment.memory import check_memory
from tradingbot_exp.hpo.space.names import OPTIONS
from tradingbot_exp.tracking.store.places import is_same_store

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
    if hpo.storage and is_same_store(hpo.storage, config.tracking.uri):
        raise ConfigError(
            f"hpo.storage and tracking.uri are both {redact(config.tracking.uri)}: Optuna and MLflow need a database "
            "each. Leave hpo.storage out for a local file, or name another database."
        )
    for parameter in space.parameters.values():
        for key in parameter.targets:
            for value in parameter.ends:
                facts_of(key).check(parameter.label, value)
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
    for place, point in enumerate(hpo.start):
        space.encode(point, f"hpo.start[{place}]")
    if len(hpo.start) + (hpo.prior is not None) > hpo.num_trials:
        with_prior = " and one more of hpo.prior" if hpo.prior is not None else ""
        raise ConfigError(
            f"hpo.start has {len(hpo.start)} points{with_prior}, and hpo.num_trials={hpo.num_trials} are tried."
        )
    if hpo.sampler == "grid":
        for key in ("start", "prior"):
            if getattr(hpo, key):
                raise ConfigError(
                    f"hpo.{key} is for samplers that draw; hpo.sampler=grid tries its own points in their order."
                )
        space.grid()


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
    """Refuse to search over a loss, or a number of its own, where losses are compared.

    Raises
    ------
    ConfigError
        `hpo.metric` or `hpo.pruner` goes by a loss that each trial would count in another unit, or `hpo.ensemble`
        would average forecasts of different scales.
    """
    for key in LOSS_KEYS:
        if key not in space.parameters:
            continue
        label = space.parameters[key].label
        if config.hpo.ensemble > 1:
            raise ConfigError(
                f"{label}: {key} cannot be searched with hpo.ensemble={config.hpo.ensemble}, which averages forecasts "
                "that each loss would put on a scale of its own. Search one loss, or leave hpo.ensemble=1."
            )
        for objective in objectives_of(config.hpo):
            if objective.metric in LOSS_METRICS:
                raise ConfigError(
                    f"{label}: {key} cannot be searched with hpo.metric={objective.metric}, which each trial would "
                    "count in its own unit. Search for a metric that all share, such as hpo.metric=val_mse or val_ic."
                )
        if config.hpo.pruner != "none":
            raise ConfigError(
                f"{label}: {key} cannot be searched with hpo.pruner={config.hpo.pruner}, which compares trials by "
                "val_loss, and each would count that in its own unit. Set hpo.pruner=none."
            )


def check_sizes(config: Config, space: SearchSpace, data: PreparedData) -> None:
    """Refuse to search layers, or batches, that do not fit in memory.

    Raises
    ------
    ConfigError
        See `tradingbot_exp.experiment.memory.check_memory`.
    """
    layers, batches = (space.parameters.get(key) for key in ("model.hidden_layers", "training.batch_size"))
    if batches is not None:
        largest = max(int(each) for each in batches.ends)
        config = replace(config, training=replace(config.training, batch_size=largest))
    for each in [config.model.hidden_layers] if layers is None else layers.ends:
        check_memory(replace(config, model=replace(config.model, hidden_layers=list(each))), data)


def check_metrics(config: Config, space: SearchSpace, data: PreparedData) -> None:
    """Refuse to search for a metric, or to train any trial by a loss, that the data cannot give.

    Raises
    ------
    ConfigError
        `hpo.metric`, `training.loss` or a value of it in the space names one that needs one-bar returns, or several
        symbols, and there are none.
    """
    searched = space.parameters.get("training.loss")
    for loss in [config.training.loss] if searched is None else searched.ends:
        if LOSSES[loss].family == "return" and data.next_return is None:
            label = "" if searched is None else f"{searched.label}: "
            raise ConfigError(f"{label}training.loss={loss} needs one-bar returns, and the data {data.name} have none.")
    for objective in objectives_of(config.hpo):
        if objective.metric in _NEEDING_RETURNS and data.next_return is None:
            raise ConfigError(
                f"hpo.metric={objective.metric} needs one-bar returns, and the data {data.name} have none. With "
                "data=table, name their column in data.returns (arrays have none); or search for val_loss or val_ic."
            )
        row = TABLE.get(objective.metric.removeprefix("val_"))
        if row is not None and row.panel and not data.symbols:
            raise ConfigError(
                f"hpo.metric={objective.metric} compares the symbols of a date, and the data {data.name} are of one "
                "instrument. Search for val_ic, or take several: data=tech, data.symbols=all."
            )
