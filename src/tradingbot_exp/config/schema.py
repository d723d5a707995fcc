"""The typed schema of every configuration group, with the facts about each key, registered with Hydra's ConfigStore.

The files under ``conf/`` fill these dataclasses in; an unknown key or a wrong type is refused while the
configuration is composed, before torch or mlflow is imported. What a key is besides (`tradingbot_exp.config.facts`) is
said here and nowhere else; what one key demands of another is in `tradingbot_exp.config.checks`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from tradingbot_exp.config import choices, resolvers
from tradingbot_exp.config.facts import key, number
from tradingbot_exp.config.hpo import HpoConfig
from tradingbot_exp.config.losses import LOSSES
from tradingbot_exp.config.positions import PositionConfig
from tradingbot_exp.config.registries import BUILT_IN_SOURCES, SOURCES
from tradingbot_exp.config.values import (
    AT_LEAST_0,
    AT_LEAST_1,
    BELOW_1,
    EPOCHS,
    EPOCHS_OR_NULL,
    IS_WEIGHT,
    are_symbols,
    is_filled,
)

# Why no study may search a key.
_SAME_TASK = "it changes what trials are judged on, so they could not be compared. Run one study for each value"
_NO_RESULT = "it does not decide a result. Set it outside of the search"
_DERIVED = "it is derived from the rest of the configuration. Leave it out"


@dataclass
class ExperimentConfig:
    """Names under which MLflow files a run."""

    name: str = key("${tradingbot.experiment_name:tradingbot}", decides="study", wanted="a name", holds=is_filled)
    run_name: str | None = None
    description: str | None = None
    tags: dict[str, Any] = key({})


@dataclass
class SplitConfig:
    """Where train ends, validation ends and test ends: fractions of the rows, or dates (inclusive).

    Dates, if any is given, replace the fractions.
    """

    train: float | None = 0.70
    val: float | None = 0.15
    test: float | None = 0.15
    train_end: str | None = None
    val_end: str | None = None
    test_end: str | None = None


@dataclass
class SyntheticConfig:
    """The seeded process behind ``data=synthetic``."""

    # Business days from 2000-01-03 to the end of what nanosecond timestamps reach: some 68,700.
    bars: int = key(2000, wanted="100 to 68000 bars", holds=number(lambda v: 100 <= v <= 68_000))
    signal: float = key(0.3, wanted="between -1 and 1, both excluded", holds=number(lambda v: -1 < v < 1))
    seed: int = key(0, wanted="0 or more", holds=AT_LEAST_0)
    symbols: int = key(1, wanted="1 or more", holds=AT_LEAST_1)


@dataclass
class ColumnsConfig:
    """The columns of a file that are called otherwise than a reader expects."""

    date: str | None = None
    time: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    close: str | None = None
    adj_close: str | None = None
    volume: str | None = None
    symbol: str | None = None


@dataclass
class DataConfig:
    """Which bars, which features of them, which target, and how they are split.

    The data themselves decide a result, by their fingerprint; their names and places do not.
    """

    name: str = key("ibm", decides="data", search=_SAME_TASK)
    source: str = key("bundled", search=_SAME_TASK, one_of=lambda: (*BUILT_IN_SOURCES, *SOURCES))
    path: str | None = key(None, decides="data", search=_SAME_TASK, may_change=True)
    symbol: str | None = key(None, decides="data", search=_SAME_TASK)
    symbols: Any = key(
        None,
        decides="data",
        search=_SAME_TASK,
        wanted="all, or a list of at least one symbol, each once; null for one instrument",
        holds=are_symbols,
    )
    columns: ColumnsConfig = key(ColumnsConfig, decides="data", search=_SAME_TASK)
    options: dict[str, Any] = key({}, decides="data", search=_SAME_TASK)
    features: list[str] = key(list(choices.DEFAULT_FEATURES), wanted="a list of at least one feature", holds=bool)
    scaling: str = key("pooled", search=_SAME_TASK, one_of=choices.SCALINGS)
    target: str = key("return", search=_SAME_TASK)
    returns: str | None = key(None, search=_SAME_TASK)
    horizon: int = key(1, search=_SAME_TASK, wanted="1 or more bars", holds=AT_LEAST_1)
    sequence_length: int = key(1, wanted="1 or more bars", holds=AT_LEAST_1)
    split: SplitConfig = key(SplitConfig, search=_SAME_TASK)
    synthetic: SyntheticConfig = key(SyntheticConfig, search=_SAME_TASK)


@dataclass
class ModelConfig:
    """A network's shape, and the learning rate it likes."""

    name: str = key("mlp", one_of=choices.model_names)
    version: str | None = key(None, derived=True, search=_DERIVED)
    input_dim: int | None = key(None, derived=True, search=_DERIVED)
    hidden_layers: list[int] = key(
        [64, 32], wanted="a list of layers with 1 or more units each", holds=lambda v: all(width >= 1 for width in v)
    )
    output_dim: int = key(
        1,
        search="a forecast is one number. Leave it out",
        wanted="1, as a forecast is one number",
        holds=number(lambda v: v == 1),
    )
    activation: str = key("relu", one_of=choices.ACTIVATIONS)
    dropout: float = key(0.0, wanted="from 0 to below 1", holds=BELOW_1)
    options: dict[str, Any] = key({}, search="it is a mapping. Search one option of your model, model.options.NAME")
    # An interpolation tells the default from a value that somebody set: see `unify_learning_rates`.
    learning_rate: float = key(
        "${tradingbot.default:0.001}", wanted="above 0 and at most 10", holds=number(lambda v: 0 < v <= 10)
    )


@dataclass
class TrainingConfig:
    """How a network is fitted."""

    epochs: int = key(50, wanted="1 or more", holds=AT_LEAST_1)
    batch_size: int = key(32, wanted="1 or more rows", holds=AT_LEAST_1)
    ensemble: int = key(1, wanted="1 or more networks", holds=AT_LEAST_1)
    optimizer: str = key("Adam", one_of=choices.OPTIMIZERS)
    learning_rate: float = key("${model.learning_rate}")
    weight_decay: float = key(0.0, wanted="0 or more", holds=AT_LEAST_0)
    momentum: float = key(0.0, wanted="from 0 to below 1", holds=BELOW_1)
    gradient_clip: Any = key(
        None, wanted="a number above 0, or null for no clipping", holds=number(lambda v: v > 0, null=True)
    )
    early_stopping: Any = key(None, wanted=f"{EPOCHS} off", holds=EPOCHS_OR_NULL)
    loss: str = key("mse", one_of=lambda: {row.name: row.label for row in LOSSES.values()})
    quantile: float = key(0.5, wanted="between 0 and 1, both excluded", holds=number(lambda v: 0 < v < 1))
    pos_weight: Any = key(None, wanted="a number above 0, balanced, or null for 1", holds=IS_WEIGHT)
    scheduler: str = key("none", one_of=choices.SCHEDULERS)
    device: str = key(
        "auto", search="it says where trials are computed. Set it outside of the search", one_of=choices.DEVICES
    )
    precision: str = key("float32", one_of=choices.PRECISIONS)
    progress: str = key("auto", decides="nothing", search=_NO_RESULT, may_change=True, one_of=choices.PROGRESS_MODES)
    checkpoint_every: Any = key(
        None,
        decides="nothing",
        search="trials keep no checkpoints. Leave it out",
        may_change=True,
        wanted=f"{EPOCHS} none",
        holds=EPOCHS_OR_NULL,
    )
    resume: str | None = key(
        None,
        decides="nothing",
        search="a study is resumed by its own command, given again. Leave it out",
        may_change=True,
    )


@dataclass
class EvaluationConfig(PositionConfig):
    """On which rows forecasts are validated, and how they are turned into positions and judged."""

    scheme: str = key("chronological", one_of=choices.SCHEMES)
    folds: int = key(5, wanted="2 or more", holds=number(lambda v: v >= 2))
    purge: int | None = None
    embargo: int | None = key(
        None, wanted="0 or more bars, or null for what windows need", holds=number(lambda v: v >= 0, null=True)
    )
    window: str = key("expanding", one_of=choices.WINDOWS)
    cost_bps: float = key(5.0, wanted="0 or more basis points", holds=AT_LEAST_0)
    execution_lag: int = key(1, wanted="0 or more bars", holds=AT_LEAST_0)
    periods_per_year: Any = key("auto", wanted="a number above 0, or auto", holds=number(lambda v: v > 0, word="auto"))


@dataclass
class TrackingConfig:
    """Where MLflow keeps its records, what to do when it cannot, and whether a report is made of them."""

    uri: str = key(
        "${tradingbot.tracking_uri:}", secret=True, wanted="an address, as sqlite:///mlflow.db is", holds=is_filled
    )
    register: str | None = key(
        None,
        wanted="letters, digits, spaces, _ - and ., up to 200 of them, or null for no registration",
        holds=lambda name: name is None or re.fullmatch(r"(?=.*\S)[\w .-]{1,200}", name) is not None,
    )
    champion: str = key("real", one_of=choices.CHAMPIONS)
    on_error: str = key("raise", one_of=choices.ON_ERROR)
    patience: float = key(600.0, wanted="0 or more seconds", holds=AT_LEAST_0)
    report: bool = True


@dataclass
class Config:
    """The whole configuration of one training run."""

    experiment: ExperimentConfig = key(
        ExperimentConfig,
        decides="nothing",
        search="it names and files runs, and decides no result. Set it outside of the search",
    )
    seed: int = key(
        42,
        search="the best seed is the luckiest one. To average each trial over seeds, set hpo.repeats",
        wanted="a whole number from 0 to 4294967295",
        holds=number(lambda v: 0 <= v < 2**32, whole=True),
    )
    plugins: list[str] = key([], search="it names modules. Set it outside of the search")
    data: DataConfig = key(DataConfig)
    model: ModelConfig = key(ModelConfig)
    training: TrainingConfig = key(TrainingConfig)
    evaluation: EvaluationConfig = key(EvaluationConfig, search=_SAME_TASK)
    hpo: HpoConfig = key(
        HpoConfig,
        decides="nothing",
        search="it describes the search itself. Set it outside of the search",
        may_change=True,
    )
    tracking: TrackingConfig = key(
        TrackingConfig,
        decides="nothing",
        search="it says where records go, and decides no result. Set it outside of the search",
        may_change=True,
    )


def register() -> None:
    """Make Hydra know the schema and the resolvers that it uses (idempotent)."""
    ConfigStore.instance().store(name="schema", node=Config, provider="tradingbot_exp")
    resolvers.register()


# A worker process that unpickles a job needs both before it composes anything.
register()
