"""The typed schema of every configuration group, registered with Hydra's ConfigStore.

The files under ``conf/`` fill these dataclasses in; an unknown key or a wrong type is refused while the
configuration is composed, before torch or mlflow is imported. What one key demands of another is in
`tradingbot_exp.config.checks`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from tradingbot_exp.config import resolvers

DEFAULT_FEATURES = (
    "ret_1",
    "ret_5",
    "ret_20",
    "vol_20",
    "rsi_14",
    "macd_hist",
    "atr_14",
    "boll_z_20",
    "volume_z_20",
    "clv",
)


@dataclass
class ExperimentConfig:
    """Names under which MLflow files a run."""

    name: str = "${tradingbot.experiment_name:tradingbot}"
    run_name: str | None = None
    description: str | None = None
    tags: dict[str, Any] = field(default_factory=dict)


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

    bars: int = 2000
    signal: float = 0.3
    seed: int = 0


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
    """Which bars, which features of them, which target, and how they are split."""

    name: str = "ibm"
    source: str = "bundled"
    path: str | None = None
    symbol: str | None = None
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    options: dict[str, Any] = field(default_factory=dict)
    features: list[str] = field(default_factory=lambda: list(DEFAULT_FEATURES))
    target: str = "return"
    returns: str | None = None
    horizon: int = 1
    sequence_length: int = 1
    split: SplitConfig = field(default_factory=SplitConfig)
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)


@dataclass
class ModelConfig:
    """A network's shape, and the learning rate it likes."""

    name: str = "mlp"
    version: str | None = None
    input_dim: int | None = None
    hidden_layers: list[int] = field(default_factory=lambda: [64, 32])
    output_dim: int = 1
    activation: str = "relu"
    dropout: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    # An interpolation tells the default from a value that somebody set: see `unify_learning_rates`.
    learning_rate: float = "${tradingbot.default:0.001}"  # type: ignore[assignment]


@dataclass
class TrainingConfig:
    """How a network is fitted."""

    epochs: int = 50
    batch_size: int = 32
    optimizer: str = "Adam"
    learning_rate: float = "${model.learning_rate}"  # type: ignore[assignment]
    weight_decay: float = 0.0
    momentum: float = 0.0
    gradient_clip: Any = None
    early_stopping: Any = None
    loss: str = "mse"
    scheduler: str = "none"
    device: str = "auto"
    precision: str = "float32"
    progress: str = "auto"
    checkpoint_every: Any = None
    resume: str | None = None


@dataclass
class EvaluationConfig:
    """On which rows forecasts are validated, and how they are turned into positions and judged."""

    scheme: str = "chronological"
    folds: int = 5
    purge: int | None = None
    embargo: int | None = None
    window: str = "expanding"
    cost_bps: float = 5.0
    execution_lag: int = 1
    periods_per_year: Any = "auto"


@dataclass
class HpoConfig:
    """A hyperparameter study."""

    num_trials: int = 10
    metric: Any = "val_loss"
    direction: Any = "minimize"
    aggregate: str = "mean"
    std_multiple: float = 1.0
    sampler: str = "tpe"
    pruner: str = "none"
    n_jobs: int = 1
    study_name: str | None = None
    storage: str | None = None
    repeats: int = 1
    keep: str = "best"
    resume: bool = True
    max_failure_rate: float = 0.5
    reseeds: int = 5
    null_replays: int = 0
    param_space: dict[str, Any] = field(default_factory=dict)


@dataclass
class TrackingConfig:
    """Where MLflow keeps its records, what to do when it cannot, and whether a report is made of them."""

    uri: str = "${tradingbot.tracking_uri:}"
    register: str | None = None
    champion: str = "real"
    on_error: str = "raise"
    report: bool = True


@dataclass
class Config:
    """The whole configuration of one training run."""

    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    seed: int = 42
    plugins: list[str] = field(default_factory=list)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    hpo: HpoConfig = field(default_factory=HpoConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def register() -> None:
    """Make Hydra know the schema and the resolvers that it uses (idempotent)."""
    ConfigStore.instance().store(name="schema", node=Config, provider="tradingbot_exp")
    resolvers.register()


# A worker process that unpickles a job needs both before it composes anything.
register()
