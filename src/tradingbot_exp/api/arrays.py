"""`run_hpo_study`: a study over a user's own arrays, in this process, without Hydra's command line."""

from __future__ import annotations

import copy
import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradingbot_exp.config.checks import check
from tradingbot_exp.config.finalize import vary
from tradingbot_exp.config.modules import load_plugins
from tradingbot_exp.config.schema import Config, DataConfig
from tradingbot_exp.data.card import GIVEN_ARRAYS
from tradingbot_exp.data.dataset import PreparedData
from tradingbot_exp.data.frequency import Frequency
from tradingbot_exp.data.panel import Layout
from tradingbot_exp.data.panel_blocks import Panel
from tradingbot_exp.data.scaler import Scaler
from tradingbot_exp.data.splits import Block
from tradingbot_exp.errors import ConfigError, DataError
from tradingbot_exp.experiment.data import given_data
from tradingbot_exp.experiment.resume import refuse_in_study
from tradingbot_exp.hpo.runner import Runner
from tradingbot_exp.hpo.space.space import SearchSpace
from tradingbot_exp.hpo.study import StudyResult
from tradingbot_exp.reporting.automatic import report_at_end
from tradingbot_exp.tracking.writing.logger import EnhancedMLflowLogger
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

if TYPE_CHECKING:
    from numpy.typing import NDArray


def run_hpo_study(  # noqa: PLR0917 - the guide passes these by position
    config: Config,
    X_train: Any,
    y_train: Any,
    X_val: Any,
    y_val: Any,
    organizer: ExperimentOrganizer,
    logger: EnhancedMLflowLogger | None = None,
) -> StudyResult:
    """Search `hpo.param_space` on arrays: the same study as on the command line, resumed by the same call.

    Arrays come without one-bar returns, so `hpo.metric` is a loss or a measure of the forecast, such as ``val_ic``.

    Parameters
    ----------
    config : Config
        Its `data` block is not read, and no key of it can be searched. The arrays are the split, so that
        `evaluation.scheme` has to be ``chronological``.
    X_train, X_val : array-like of shape (n, F)
        Features, used as they are; arrays or tensors.
    y_train, y_val : array-like of shape (n,) or (n, 1)
        Targets.
    organizer : ExperimentOrganizer
        Opens the parent run and a child for each trial.
    logger : EnhancedMLflowLogger, optional
        Each trial logs to its own run; the guide passes one, and it is told the best value if it has a run
        open.

    Returns
    -------
    StudyResult
        The Optuna study, its best trials, and the parent run's id.

    Raises
    ------
    ConfigError
        The space or the configuration cannot be run, the study exists with another definition, or `config`,
        `organizer` or `logger` is something else.
    DataError
        The arrays do not fit each other.
    """
    _check_parts(config, organizer, logger)
    space = SearchSpace.parse(config.hpo.param_space)
    for name in space.parameters:
        if name.startswith("data."):
            raise ConfigError(
                f"{space.parameters[name].label}: {name} cannot be searched by run_hpo_study, which trains on the "
                "arrays that it is given. Run one study for each set of arrays."
            )
    _check_scheme(config)
    if config.hpo.workers > 1:
        raise ConfigError(
            f"hpo.workers={config.hpo.workers} work on files that a command names, not on arrays: leave it 1."
        )
    data = _prepared(X_train, y_train, X_val, y_val, _dtype(config, space))
    width = len(data.feature_names)
    if config.model.input_dim not in (None, width):
        raise ConfigError(f"model.input_dim={config.model.input_dim}, but X_train has {width} columns.")
    refuse_in_study(config)
    config = copy.deepcopy(config)
    config.data = DataConfig("arrays", "table", "arrays", features=list(data.feature_names), target="y")
    load_plugins(config.plugins)
    check(config, own_data=False)
    with given_data(data):
        runner = Runner(config, space, organizer, configure=partial(vary, config, own_data=False))
        result = runner.run(partial(report_at_end, "hpo"))
    if logger is not None and result.best and logger.has_run:
        logger.log_metrics({"best_value": result.best[0].values[0]})
    return result


def _check_parts(config: object, organizer: object, logger: object) -> None:
    """Refuse at once what would only be missed in the midst of the study, or after it."""
    for name, given, kind, right in (
        ("config", config, Config, "what ConfigurationManager(PATH).get_config() gives"),
        ("organizer", organizer, ExperimentOrganizer, "an ExperimentOrganizer(config)"),
        ("logger", logger, EnhancedMLflowLogger | None, "an EnhancedMLflowLogger, or nothing"),
    ):
        if not isinstance(given, kind):
            raise ConfigError(f"run_hpo_study: {name} is of type {type(given).__name__}; expected {right}.")


def _check_scheme(config: Config) -> None:
    """Refuse to cut folds out of arrays that come cut."""
    evaluation = config.evaluation
    for key, given, plain in (
        ("scheme", evaluation.scheme, "chronological"),
        ("purge", evaluation.purge, None),
        ("embargo", evaluation.embargo, None),
    ):
        if given != plain:
            raise ConfigError(
                f"evaluation.{key}={given} says how data are cut, and run_hpo_study is given arrays that are cut into "
                f"train and validation already. Leave evaluation.{key}={'null' if plain is None else plain}."
            )


def _dtype(config: Config, space: SearchSpace) -> type[np.floating[Any]]:
    """Return the precision that features have to keep: float64 if any trial trains in it."""
    searched = space.parameters.get("training.precision")
    precisions = [config.training.precision] if searched is None else searched.choices
    return np.float64 if "float64" in precisions else np.float32


def _prepared(X_train: Any, y_train: Any, X_val: Any, y_val: Any, dtype: type[np.floating[Any]]) -> PreparedData:
    """Put arrays into the form that jobs read; features stay as they are, in `dtype`."""
    X = [_array("X_train", X_train), _array("X_val", X_val)]
    y = [_targets("y_train", y_train), _targets("y_val", y_val)]
    for name, features, targets in (("train", X[0], y[0]), ("val", X[1], y[1])):
        if features.ndim != 2 or not features.shape[1]:
            raise DataError(f"X_{name} has the shape {features.shape}; it has to be (n, F), F above 0.")
        if len(features) != len(targets) or not len(targets):
            raise DataError(
                f"X_{name} has {len(features)} rows and y_{name} {len(targets)}; both need the same, above 0."
            )
    if X[0].shape[1] != X[1].shape[1]:
        raise DataError(f"X_train has {X[0].shape[1]} columns and X_val {X[1].shape[1]}; both need the same.")
    raw, target = np.concatenate(X), np.concatenate(y)
    names = tuple(f"x{column}" for column in range(raw.shape[1]))
    digest = hashlib.sha256(raw.tobytes() + target.tobytes() + str((raw.shape, len(y[0]))).encode()).hexdigest()[:32]
    blocks = Block("train", 0, len(y[0])), Block("val", len(y[0]), len(target)), Block("test", len(target), len(target))
    index = pd.DatetimeIndex(pd.to_datetime(np.arange(len(target)), unit="D"))
    layout = Layout.of_one(len(target))
    card = {"name": "arrays", "source": GIVEN_ARRAYS, "rows": len(target), "fingerprint": digest}
    return PreparedData(
        name="arrays",
        symbol="",
        feature_names=names,
        index=index,
        raw=raw,
        scaled=raw.astype(dtype),
        target=target,
        next_return=None,
        horizon=1,
        sequence_length=1,
        scaler=Scaler.identity(raw),
        train=blocks[0],
        val=blocks[1],
        test=blocks[2],
        fingerprint=digest,
        frequency=Frequency("rows", None, "arrays have no time"),
        card=card,
        panel=Panel(layout, index, layout.date, horizon=1, sequence_length=1),  # without a time, known at once
    )


def _array(name: str, values: Any) -> NDArray[np.float64]:
    """Read an array-like or a tensor of any real type as numbers."""
    try:
        plain = np.asarray(values.detach().cpu().to_dense().double() if hasattr(values, "detach") else values)
        array: NDArray[np.float64] = plain.astype(
            np.float64, casting="same_kind" if plain.dtype.kind == "c" else "unsafe"
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} cannot be read as an array of numbers: {error}") from error
    if array.ndim == 0:
        raise DataError(f"{name} is of type {type(values).__name__}; it has to be an array.")
    if not np.isfinite(array).all():
        raise DataError(f"{name} holds NaN or an infinity; every value has to be a finite number.")
    return array


def _targets(name: str, values: Any) -> NDArray[np.float64]:
    array = _array(name, values)
    if array.ndim > 2 or array.size != len(array):
        raise DataError(f"{name} has the shape {array.shape}; it has to be (n,) or (n, 1).")
    return array.reshape(-1)
