"""Checks of a resolved configuration: each value by itself, then values against each other.

None of this imports torch or mlflow, so a mistake is answered at once.
"""

from __future__ import annotations

import math
import numbers
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tradingbot_exp.config import choices
from tradingbot_exp.config.metrics import OBJECTIVES
from tradingbot_exp.config.plugins import BUILT_IN_SOURCES, OWN_METRICS, SOURCES
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import ConfigError, near

# What every database of Optuna and MLflow takes.
STUDY_NAME_LETTERS = 200


class _Number(NamedTuple):
    """A number's range: what a user is told, and the test."""

    key: str
    wanted: str
    holds: Callable[[float], bool]


_NUMBERS = (
    _Number("seed", "a whole number from 0 to 4294967295", lambda v: 0 <= v < 2**32),
    _Number("data.horizon", "1 or more bars", lambda v: v >= 1),
    _Number("data.sequence_length", "1 or more bars", lambda v: v >= 1),
    _Number("data.synthetic.bars", "100 to 10000000 bars", lambda v: 100 <= v <= 10_000_000),
    _Number("data.synthetic.signal", "between -1 and 1, both excluded", lambda v: -1 < v < 1),
    _Number("data.synthetic.seed", "0 or more", lambda v: v >= 0),
    _Number("model.output_dim", "1: a forecast is one number", lambda v: v == 1),
    _Number("model.dropout", "from 0 to below 1", lambda v: 0 <= v < 1),
    _Number("model.learning_rate", "above 0 and at most 10", lambda v: 0 < v <= 10),
    _Number("training.epochs", "1 or more", lambda v: v >= 1),
    _Number("training.batch_size", "1 or more rows", lambda v: v >= 1),
    _Number("training.weight_decay", "0 or more", lambda v: v >= 0),
    _Number("training.momentum", "from 0 to below 1", lambda v: 0 <= v < 1),
    _Number("evaluation.folds", "2 or more", lambda v: v >= 2),
    _Number("evaluation.cost_bps", "0 or more basis points", lambda v: v >= 0),
    _Number("evaluation.execution_lag", "0 or more bars", lambda v: v >= 0),
    _Number("hpo.num_trials", "1 or more", lambda v: v >= 1),
    _Number("hpo.n_jobs", "1 or more", lambda v: v >= 1),
    _Number("hpo.std_multiple", "0 or more", lambda v: v >= 0),
    _Number("hpo.repeats", "1 or more", lambda v: v >= 1),
    _Number("hpo.max_failure_rate", "from 0 to 1", lambda v: 0 <= v <= 1),
    _Number("hpo.reseeds", "0 or more", lambda v: v >= 0),
    _Number("hpo.null_replays", "0 or more", lambda v: v >= 0),
    _Number("tracking.patience", "0 or more seconds", lambda v: v >= 0),
)


def check(config: Config, *, own_data: bool = True) -> None:
    """Refuse a configuration that cannot run.

    With `own_data` false, as for a user's own arrays, the block `data` does not say what is trained on, and
    nothing is checked against it.

    Raises
    ------
    ConfigError
        Names the key, what was given, and what would be right.
    """
    for number in _NUMBERS:
        value = _get(config, number.key)
        if not _is_real(value) or not math.isfinite(value) or not number.holds(value):
            raise _wrong(number.key, value, number.wanted)
    known_by_key: dict[str, tuple[str, ...]] = {
        "data.source": (*BUILT_IN_SOURCES, *SOURCES),
        "model.name": choices.model_names(),
        "model.activation": choices.ACTIVATIONS,
        "training.optimizer": choices.OPTIMIZERS,
        "training.loss": choices.LOSSES,
        "training.scheduler": choices.SCHEDULERS,
        "training.device": choices.DEVICES,
        "training.precision": choices.PRECISIONS,
        "training.progress": choices.PROGRESS_MODES,
        "evaluation.scheme": choices.SCHEMES,
        "evaluation.window": choices.WINDOWS,
        "hpo.aggregate": choices.AGGREGATES,
        "hpo.sampler": choices.SAMPLERS,
        "hpo.pruner": choices.PRUNERS,
        "hpo.keep": choices.KEEP,
        "tracking.on_error": choices.ON_ERROR,
        "tracking.champion": choices.CHAMPIONS,
    }
    for key, known in known_by_key.items():
        _one_of(key, _get(config, key), known)
    _check_data(config)
    _check_model(config)
    _check_training(config)
    if own_data:
        _check_against_data(config)
    _check_evaluation(config)
    _check_hpo(config)
    _check_names(config)


def _check_data(config: Config) -> None:
    data = config.data
    if data.source == "bundled":
        _one_of("data.name", data.name, choices.BUNDLED)
    if data.source in ("csv", "table"):
        if not data.path:
            raise ConfigError(f"data={data.source} needs a file: data.path=FILE (CSV or Parquet).")
    elif data.path and data.source in BUILT_IN_SOURCES:
        raise ConfigError(
            f"data.path={data.path} is not read with data={data.source}. For your own bars use data=csv, for "
            "your own features data=table."
        )
    if data.options and data.source in BUILT_IN_SOURCES:
        raise ConfigError(
            f"data.options={data.options} is for a data source of your own, and is not read with data={data.source}."
        )
    if not data.features:
        raise ConfigError("data.features is empty: name at least one feature.")
    if data.source != "table":
        _one_of("data.target", data.target, ("return", "direction"))
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


def _check_model(config: Config) -> None:
    model = config.model
    if model.options and model.name in choices.MODEL_KINDS:
        raise ConfigError(f"model.options={model.options} is for a model of your own: {model.name} takes none.")
    if any(width < 1 for width in model.hidden_layers):
        raise _wrong("model.hidden_layers", model.hidden_layers, "1 or more units in each layer")
    if model.name == "linear" and model.hidden_layers:
        raise _wrong("model.hidden_layers", model.hidden_layers, "[] with model=linear; model=mlp has layers")
    if model.name == "lstm" and not model.hidden_layers:
        raise _wrong("model.hidden_layers", model.hidden_layers, "the size of at least one LSTM layer")


def _check_training(config: Config) -> None:
    training = config.training
    if training.momentum and training.optimizer not in choices.WITH_MOMENTUM:
        raise ConfigError(
            f"training.momentum={training.momentum} is for training.optimizer={' or '.join(choices.WITH_MOMENTUM)}: "
            f"{training.optimizer} takes none."
        )
    clip, patience, every = training.gradient_clip, training.early_stopping, training.checkpoint_every
    if clip is not None and not (_is_number(clip) and clip > 0):
        raise _wrong("training.gradient_clip", clip, "a number above 0, or null for no clipping")
    if patience is not None and not (_is_whole(patience) and patience >= 1):
        raise _wrong("training.early_stopping", patience, "a whole number of epochs, 1 or more, or null for off")
    if every is not None and not (_is_whole(every) and every >= 1):
        raise _wrong("training.checkpoint_every", every, "a whole number of epochs, 1 or more, or null for none")
    if training.precision == "bf16-mixed" and training.device == "mps":
        raise ConfigError("training.precision=bf16-mixed is not there on mps: use float32.")
    if training.precision == "float64" and training.device == "mps":
        raise ConfigError("training.precision=float64 is not there on mps: use float32, or training.device=cpu.")


def _check_against_data(config: Config) -> None:
    model, training = config.model, config.training
    if training.loss == "bce" and config.data.source != "table" and config.data.target != "direction":
        raise ConfigError(
            f"training.loss=bce is for 0/1 targets, but data.target={config.data.target}. Use "
            "data.target=direction, or training.loss=mse, mae or huber."
        )
    if model.input_dim is not None:
        if model.name not in choices.MODEL_KINDS:
            return  # whether it takes windows or flat rows is known when it is built
        steps = 1 if model.name == "lstm" else config.data.sequence_length
        derived = len(config.data.features) * steps
        if model.input_dim != derived:
            bars = "" if steps == 1 else f" x {steps} bars (data.sequence_length)"
            raise ConfigError(
                f"model.input_dim={model.input_dim}, but data.features names {len(config.data.features)} "
                f"features{bars}, which makes {derived}. Leave model.input_dim out, or set it to {derived}."
            )


def _check_evaluation(config: Config) -> None:
    periods = config.evaluation.periods_per_year
    if periods != "auto" and not (_is_number(periods) and periods > 0):
        raise _wrong("evaluation.periods_per_year", periods, "a number above 0, or auto")
    embargo, purge, horizon = config.evaluation.embargo, config.evaluation.purge, config.data.horizon
    if embargo is not None and embargo < 0:
        raise _wrong("evaluation.embargo", embargo, "0 or more bars, or null for what windows need")
    if purge is not None and purge < horizon:
        wanted = f"at least data.horizon={horizon} bars, or targets of train rows would overlap validation; or null"
        raise _wrong("evaluation.purge", purge, f"{wanted}, for the horizon")


def _check_hpo(config: Config) -> None:
    name: Any = config.hpo.study_name
    if name is not None and (not isinstance(name, str) or len(name) > STUDY_NAME_LETTERS or not name.isprintable()):
        wanted = f"one line of at most {STUDY_NAME_LETTERS} letters, or null for a name made of model and data"
        raise _wrong("hpo.study_name", repr(name), wanted)
    metrics, directions = config.hpo.metric, config.hpo.direction
    metrics = metrics if isinstance(metrics, list) else [metrics]
    if not metrics:
        raise ConfigError("hpo.metric is empty: name at least one metric, such as val_loss.")
    for metric in metrics:
        _one_of("hpo.metric", metric, (*OBJECTIVES, *(f"val_{name}" for name in OWN_METRICS)))
    directions = directions if isinstance(directions, list) else [directions]
    if len(metrics) != len(directions):
        raise ConfigError(
            f"hpo.metric names {len(metrics)} metrics and hpo.direction {len(directions)} directions: one each."
        )
    for direction in directions:
        _one_of("hpo.direction", direction, choices.DIRECTIONS)
    if config.hpo.aggregate != "mean" and config.evaluation.scheme == "chronological":
        raise ConfigError(
            f"hpo.aggregate={config.hpo.aggregate} is taken over folds, and evaluation.scheme=chronological has one. "
            "Use evaluation.scheme=walk_forward or purged_kfold, or leave hpo.aggregate=mean."
        )


def _check_names(config: Config) -> None:
    for key in ("experiment.name", "tracking.uri"):
        if not str(_get(config, key)).strip():
            raise ConfigError(f"{key} is empty: give it a value.")
    _check_registered_name(config.tracking.register)
    path = config.tracking.uri.partition("///")[2] if config.tracking.uri.startswith("sqlite") else ""
    if "%" in path or re.search(r"\?(?!\w+=)", path):
        raise ConfigError(
            f"tracking.uri={config.tracking.uri}: MLflow cannot keep an SQLite store under a path with % or ? in it. "
            "Start from another directory, or set tracking.uri to one."
        )
    scheme = re.match(r"([a-z][a-z0-9]*)(\+[a-z0-9]+)?:", config.tracking.uri)
    right = "Right would be sqlite:///mlflow.db, http://HOST:PORT or postgresql://HOST/NAME."
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
                f"experiment.tags: '{name}' is no name for an MLflow tag. Letters, digits, _ - . / : and spaces "
                "are allowed, up to 250 characters."
            )
        if isinstance(value, dict | list):
            raise ConfigError(f"experiment.tags.{name} is a {type(value).__name__}: a tag holds one text or number.")


def _check_registered_name(name: str | None) -> None:
    if name is not None and not re.fullmatch(r"[\w .-]{1,200}", name):
        wanted = "letters, digits, spaces, _ - and ., up to 200 of them, or null for no registration"
        raise _wrong("tracking.register", name, wanted)


def _one_of(key: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{key}={value} is not known. It is one of: {', '.join(known)}.{near(str(value), known)}")


def _wrong(key: str, value: Any, wanted: str) -> ConfigError:
    return ConfigError(f"{key}={value} is impossible. Right would be {wanted}.")


def _get(config: Config, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
