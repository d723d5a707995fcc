"""Checks of a resolved configuration: each value by itself, then values against each other.

None of this imports torch or mlflow, so a mistake is answered at once.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from omegaconf import OmegaConf

from tradingbot_exp.config import choices
from tradingbot_exp.config.choices import check_name
from tradingbot_exp.config.facts import check_block, wrong, wrong_purge
from tradingbot_exp.config.losses import BUILT_IN, LOSSES, check_numbers
from tradingbot_exp.config.paths import is_address
from tradingbot_exp.config.positions import BUILT_IN as POSITION_RULES
from tradingbot_exp.config.positions import POSITIONS
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.config.registries import BUILT_IN_SOURCES
from tradingbot_exp.errors import ConfigError, near
from tradingbot_exp.runtime.text import listed

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config, DataConfig


def check(config: Config, *, own_data: bool = True) -> None:
    """Refuse a configuration that cannot run.

    With `own_data` false, as for a user's own arrays, the block `data` does not say what is trained on, and
    nothing is checked against it.

    Raises
    ------
    ConfigError
        Names the key, what was given, and what would be right.
    """
    check_block(config)
    check_data(config.data)
    _check_model(config)
    _check_training(config)
    if own_data:
        _check_against_data(config)
    _check_evaluation(config)
    _check_hpo(config)
    _check_names(config)


def check_data(data: DataConfig) -> None:
    """Refuse a block `data` that cannot be loaded, whatever its file holds.

    Raises
    ------
    ConfigError
        See `check`.
    """
    data = cast("DataConfig", OmegaConf.to_object(data)) if OmegaConf.is_config(data) else data
    check_block(data, "data.")
    if data.source == "bundled":
        check_name("data.name", data.name, choices.BUNDLED)
    if data.path and data.source in BUILT_IN_SOURCES and is_address(data.path):
        raise ConfigError(f"data.path={redact(data.path)} is an address, and only files are read. Download it first.")
    _check_symbols(data)
    if data.source in ("csv", "table"):
        if not data.path:
            raise ConfigError(f"data={data.source} needs a file: data.path=FILE, such as bars.csv or bars.parquet.")
    elif data.path and data.source in BUILT_IN_SOURCES:
        raise ConfigError(
            f"data.path={data.path} is not read with data={data.source}. For your own bars use data=csv, for "
            "your own features data=table."
        )
    named = [f"data.columns.{role}" for role, column in asdict(data.columns).items() if column is not None]
    if named and data.source in ("bundled", "synthetic"):
        raise ConfigError(
            f"{named[0]} names a column of your own file, and is not read with data={data.name}. For your own bars "
            "use data=csv."
        )
    if data.options and data.source in BUILT_IN_SOURCES:
        raise ConfigError(
            f"data.options={data.options} is for a data source of your own, and is not read with data={data.source}."
        )
    if data.source != "table":
        check_name("data.target", data.target, choices.TARGETS)
        if data.returns is not None:
            raise ConfigError(
                f"data.returns={data.returns} is for data=table only: with bars, returns come from the close."
            )
    split = data.split
    if (split.train_end is None) != (split.val_end is None):
        missing = "data.split.val_end" if split.val_end is None else "data.split.train_end"
        raise ConfigError(f"A split by dates needs both train_end and val_end: {missing} is missing.")
    if split.test_end is not None and split.train_end is None:
        raise ConfigError("data.split.test_end is given without data.split.train_end and data.split.val_end.")


def _check_symbols(data: DataConfig) -> None:
    if data.symbols is None:
        return
    if data.symbol is not None:
        raise ConfigError(
            f"data.symbol={data.symbol} chooses one instrument, and data.symbols={data.symbols} several; leave one out."
        )
    several = data.source not in ("bundled", "synthetic")
    if data.source == "bundled":
        several = data.name in choices.BUNDLED_PANELS
    elif data.source == "synthetic":
        several = data.synthetic.symbols > 1
    if not several:
        right = "data=tech" if data.source == "bundled" else "data.synthetic.symbols=50"
        raise ConfigError(
            f"data.symbols={data.symbols} chooses among several instruments, and data={data.name} is one; {right} has "
            "more."
        )


def _check_model(config: Config) -> None:
    model = config.model
    if model.options and model.name in choices.MODEL_KINDS:
        raise ConfigError(f"model.options={model.options} is for a model of your own: {model.name} takes none.")
    if model.name == "linear" and model.hidden_layers:
        raise wrong("model.hidden_layers", "[] with model=linear (model=mlp has layers)", model.hidden_layers)
    if model.name in choices.SEQUENCE_MODELS and not model.hidden_layers:
        sizes = f"the sizes of at least one layer with model={model.name}"
        raise wrong("model.hidden_layers", sizes, model.hidden_layers)
    if model.name == "transformer" and (len({*model.hidden_layers}) > 1 or model.hidden_layers[0] % choices.HEADS):
        one = f"one width for each layer with model=transformer, the same for all and a multiple of {choices.HEADS}"
        raise wrong("model.hidden_layers", one, model.hidden_layers)


def _check_training(config: Config) -> None:
    training = config.training
    if training.momentum and training.optimizer not in choices.WITH_MOMENTUM:
        raise ConfigError(
            f"training.momentum={training.momentum} is for training.optimizer={listed(choices.WITH_MOMENTUM, 'or')}: "
            f"{training.optimizer} takes none."
        )
    check_numbers(LOSSES[training.loss], training.quantile, training.pos_weight)
    if training.precision in ("bf16-mixed", "float64") and training.device == "mps":
        raise wrong("training.precision", "float32 with training.device=mps", training.precision)


def _check_against_data(config: Config) -> None:
    model, training = config.model, config.training
    # Reports know no loss of a plugin, and that a table's target is 0/1 by the loss alone.
    table = config.data.source == "table" and training.loss in BUILT_IN
    if LOSSES[training.loss].logits and not table and config.data.target != "direction":
        others = listed([row.name for row in LOSSES.values() if not row.logits], "or")
        if config.data.source == "table":
            logits = listed([name for name in BUILT_IN if LOSSES[name].logits], "or")
            raise ConfigError(
                f"training.loss={training.loss} is a plugin's for 0/1 targets, which data=table does not take. Use "
                f"training.loss={logits}, or for other targets {others}."
            )
        raise ConfigError(
            f"training.loss={training.loss} is for 0/1 targets, but data.target={config.data.target}. Use "
            f"data.target=direction, or training.loss={others}."
        )
    asked, data = config.evaluation, config.data
    # Nobody knows what a plugin's rule reads; it is given none then: see `tradingbot_exp.evaluation.positions.Sizing`.
    reads = () if asked.position not in POSITION_RULES else POSITIONS[asked.position].reads
    if asked.threshold == "auto" and not choices.is_in_returns(data.source, data.target) and "threshold" in reads:
        raise wrong(
            "evaluation.threshold",
            f"a number, in the unit of data.target={data.target}: auto is a cost, for targets that are returns",
            asked.threshold,
        )
    if LOSSES[training.loss].family == "return":
        if config.data.target == "direction" and config.data.source != "table":
            raise ConfigError(
                f"training.loss={training.loss} makes positions of forecasts that are above or below 0, and those of "
                "data.target=direction are probabilities. Use data.target=return, or training.loss=bce."
            )
        if config.data.source == "table" and config.data.returns is None:
            raise ConfigError(
                f"training.loss={training.loss} needs one-bar returns, and data=table has none unless data.returns "
                "names their column. Name it, or use another training.loss."
            )
    if model.input_dim is not None:
        if model.name not in choices.MODEL_KINDS:
            return  # whether it takes windows or flat rows is known when it is built
        steps = 1 if model.name in choices.SEQUENCE_MODELS else config.data.sequence_length
        derived = len(config.data.features) * steps
        if model.input_dim != derived:
            bars = "" if steps == 1 else f" x {steps} bars (data.sequence_length)"
            raise ConfigError(
                f"model.input_dim={model.input_dim}, but data.features names {len(config.data.features)} "
                f"features{bars}, which makes {derived}. Leave model.input_dim out, or set it to {derived}."
            )


def _check_evaluation(config: Config) -> None:
    purge, horizon = config.evaluation.purge, config.data.horizon
    if purge is not None and purge < horizon:
        raise wrong_purge(purge, horizon)


def _check_hpo(config: Config) -> None:
    metrics, directions = config.hpo.metric, config.hpo.direction
    metrics = metrics if isinstance(metrics, list) else [metrics]
    if not metrics:
        raise ConfigError("hpo.metric is empty: name at least one metric, such as val_loss.")
    directions = directions if isinstance(directions, list) else [directions]
    if len(metrics) != len(directions):
        raise ConfigError(
            f"hpo.metric names {len(metrics)} metrics and hpo.direction {len(directions)} directions: one each."
        )
    if config.hpo.ensemble > 1 and config.hpo.keep == "none":
        raise ConfigError(
            f"hpo.ensemble={config.hpo.ensemble} needs the models of the best trials, and hpo.keep=none keeps none. "
            "Use hpo.keep=best, or leave hpo.ensemble=1."
        )
    if config.hpo.aggregate != "mean" and config.evaluation.scheme == "chronological":
        raise ConfigError(
            f"hpo.aggregate={config.hpo.aggregate} is taken over folds, and evaluation.scheme=chronological has one. "
            "Use evaluation.scheme=walk_forward or purged_kfold, or leave hpo.aggregate=mean."
        )


def _check_names(config: Config) -> None:
    path = config.tracking.uri.partition("///")[2] if config.tracking.uri.startswith("sqlite") else ""
    if "%" in path or re.search(r"\?(?!\w+=)", path):
        raise ConfigError(
            f"tracking.uri={config.tracking.uri}: MLflow cannot keep an SQLite store under a path with % or ? in it. "
            "Start from another directory, or set tracking.uri to one."
        )
    scheme = re.match(r"([a-z][a-z0-9]*)(\+[a-z0-9]+)?:", config.tracking.uri)
    right = "Expected sqlite:///mlflow.db, http://HOST:PORT or postgresql://HOST/NAME."
    if (scheme is None or scheme[1] == "file") and os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() != "true":
        raise ConfigError(
            f"tracking.uri={redact(config.tracking.uri)} is a directory, and MLflow 3 keeps no new runs in one. {right}"
        )
    if re.fullmatch(r"sqlite(\+\w+)?:(//)?(/?:memory:.*)?", config.tracking.uri):
        raise ConfigError(f"tracking.uri={config.tracking.uri} is in memory, and gone with the process. {right}")
    if scheme is not None and scheme[1] not in (*choices.TRACKING_SCHEMES, "file"):
        raise ConfigError(
            f"tracking.uri has the scheme '{scheme[1]}', which MLflow does not know. {right}"
            f"{near(scheme[1], choices.TRACKING_SCHEMES)}"
        )
    for name, value in config.experiment.tags.items():
        if not re.fullmatch(r"[\w.\- /:]{1,250}", name):
            raise ConfigError(
                f"experiment.tags: '{name}' is not a name for an MLflow tag. Letters, digits, _ - . / : and spaces "
                "are allowed, up to 250 characters."
            )
        if isinstance(value, dict | list):
            raise ConfigError(f"experiment.tags.{name} is a {type(value).__name__}: a tag holds one text or number.")
