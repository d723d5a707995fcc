"""A training job in three steps: `prepare` makes data, model and records, `fit` trains, `finish` evaluates."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from tradingbot_exp.config.finalize import config_sha256, finalize
from tradingbot_exp.config.schema import Config, DataConfig, SplitConfig, SyntheticConfig
from tradingbot_exp.errors import DivergedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.tracking.logger import EnhancedMLflowLogger
    from tradingbot_exp.tracking.run import TrackedRun
    from tradingbot_exp.training.history import History

log = logging.getLogger(__name__)

# Rows in MLflow's input example, beyond the first full window.
EXAMPLE_ROWS = 5


@dataclass(frozen=True)
class Job:
    """A job that is ready to be trained."""

    config: Config
    data: PreparedData
    model: nn.Module
    run: TrackedRun
    logger: EnhancedMLflowLogger


def run_job(composed: DictConfig) -> float:
    """Train, evaluate and record one configuration: the body of the Hydra task.

    Returns
    -------
    float
        The value of `hpo.metric`.
    """
    from hydra.core.hydra_config import HydraConfig

    from tradingbot_exp.tracking.organizer import ExperimentOrganizer, current_run, start_failure

    failure = start_failure()
    if failure is not None:
        raise failure
    overrides = list(HydraConfig.get().overrides.task)
    config = finalize(composed, overrides)
    run = current_run()
    if run is not None:
        return _run_in(config, overrides, run)
    with ExperimentOrganizer(config).start_run() as own:
        return _run_in(config, overrides, own)


def _run_in(config: Config, overrides: Sequence[str], run: TrackedRun) -> float:
    job = prepare(config, run, overrides)
    (history,) = fit([job])
    return finish(job, history)


def load_data(config: Config) -> PreparedData:
    """Prepare the data of a configuration, once for all jobs of a process that use the same.

    Raises
    ------
    ConfigError, DataError
        See `tradingbot_exp.data.prepare_data`.
    """
    path = Path(config.data.path) if config.data.path else None
    stamp = (path.stat().st_mtime_ns, path.stat().st_size) if path is not None and path.is_file() else None
    dtype = "float64" if config.training.precision == "float64" else "float32"
    return _load_data(json.dumps(asdict(config.data), sort_keys=True), dtype, stamp, str(Path.cwd()))


@lru_cache(maxsize=4)
def _load_data(described: str, dtype: str, stamp: tuple[int, int] | None, cwd: str) -> PreparedData:
    from tradingbot_exp.data import prepare_data

    tree = json.loads(described)
    nested = {"split": SplitConfig(**tree["split"]), "synthetic": SyntheticConfig(**tree["synthetic"])}
    return prepare_data(DataConfig(**{**tree, **nested}), dtype)


def check_inputs(config: Config) -> PreparedData:
    """Find out, before anything is recorded, whether data and device are there and fit the configuration.

    Raises
    ------
    ConfigError, DataError
        They are not.
    """
    data = load_data(config)
    periods_per_year(config, data)
    if config.training.device in ("cuda", "mps"):
        from tradingbot_exp.training.device import resolve_device

        resolve_device(config.training.device)
    return data


def periods_per_year(config: Config, data: PreparedData) -> float:
    """Give the bars in a year: as configured, else inferred from the time index."""
    configured = config.evaluation.periods_per_year
    return data.periods_per_year if configured == "auto" else float(configured)


def prepare(config: Config, run: TrackedRun, overrides: Sequence[str] = ()) -> Job:
    """Make data and model, and record what the run is made of.

    Parameters
    ----------
    config : Config
        From `finalize`.
    run : TrackedRun
        Open; it gets the configuration, environment, data characteristics, and the model's summary.
    overrides : sequence of str
        Kept as ``config/overrides.yaml``.

    Returns
    -------
    Job
        Its config has `model.input_dim` and `model.version` filled in.
    """
    import torch

    from tradingbot_exp.models.registry import build_model
    from tradingbot_exp.models.summary import model_version
    from tradingbot_exp.tracking.logger import EnhancedMLflowLogger
    from tradingbot_exp.training.rng import SeededRng

    data = load_data(config)
    if config.model.name == "lstm" and data.sequence_length == 1:
        log.warning("model=lstm sees one bar at a time. data.sequence_length=20 gives it 20 bars to remember.")
    with SeededRng(config.seed, torch.device("cpu")):
        model = build_model(config.model, len(data.feature_names), data.sequence_length)
    width = data.inputs(data.train).shape[1:]
    row = tuple(width) if _is_sequential(model) else (int(width[0]) * int(width[-1]) if len(width) > 1 else width[0],)
    derived = replace(config.model, input_dim=row[-1], version=config.model.version or model_version(model))
    config = replace(config, model=derived)
    logger = EnhancedMLflowLogger(run)
    run.set_tags(
        {
            "model.name": config.model.name,
            "model.version": config.model.version,
            "data.name": data.name,
            "data.fingerprint": data.fingerprint,
            "config.sha256": config_sha256(config, data.fingerprint),
            "engine": "single",
        }
    )
    logger.log_config(config, overrides)
    logger.log_environment_details()
    logger.log_data_characteristics(
        data.raw[data.train.rows],
        data.raw[data.val.rows],
        feature_names=data.feature_names,
        card=data.card,
        scaler=data.scaler,
    )
    run.log_input(_dataset(data), "training")
    logger.log_model_summary(model, input_shape=row)
    return Job(config, data, model, run, logger)


def fit(jobs: Sequence[Job]) -> list[History]:
    """Train prepared jobs, in order, each with its own seed.

    Raises
    ------
    DivergedError
        A loss became NaN or infinite; the epochs so far are in the run, with their figure.
    """
    return [_fit_one(job) for job in jobs]


def _fit_one(job: Job) -> History:
    from tradingbot_exp.training.loop import train_model
    from tradingbot_exp.training.optim import make_optimizer
    from tradingbot_exp.training.progress import make_progress

    config, data = job.config.training, job.data
    optimizer = make_optimizer(config.optimizer, job.model.parameters(), config.learning_rate, config.weight_decay)
    job.run.delivery.training_started()
    try:
        with make_progress(config.progress, config.epochs) as progress:
            return train_model(
                job.model,
                data.inputs(data.train),
                data.targets(data.train),
                data.inputs(data.val),
                data.targets(data.val),
                optimizer,
                None,
                config.epochs,
                job.logger,
                batch_size=config.batch_size,
                seed=job.config.seed,
                loss=config.loss,
                scheduler=config.scheduler,
                device=config.device,
                precision=config.precision,
                early_stopping=config.early_stopping,
                gradient_clip=config.gradient_clip,
                progress=progress,
            )
    except DivergedError as error:
        job.logger.log_training_history(error.history, config.loss)
        raise


def finish(job: Job, history: History) -> float:
    """Evaluate the trained model on the validation rows, record all of it, and give the objective.

    Returns
    -------
    float
        The value of `hpo.metric`, where ``val_loss`` is that of the model as it was kept.

    Raises
    ------
    ConfigError
        `hpo.metric` names no metric that the run has.
    """
    from tradingbot_exp.evaluation.importance import permutation_importance
    from tradingbot_exp.evaluation.metrics import validation_metrics

    config, data = job.config, job.data
    actual, returns = data.targets(data.val), data.returns(data.val)
    forecast = _forecast(job, data.inputs(data.val))
    evaluation = validation_metrics(
        actual,
        forecast,
        returns,
        float(data.targets(data.train).mean()),
        horizon=data.horizon,
        lag=config.evaluation.execution_lag,
        cost_bps=config.evaluation.cost_bps,
        periods_per_year=periods_per_year(config, data),
        threshold=_threshold(config, data),
    )
    job.logger.log_metrics(
        {
            "final_loss": history["val_loss"][-1],
            "best_val_loss": history.best_val_loss,
            "best_epoch": float(history.best_epoch),
            **{f"val_{name}": value for name, value in evaluation.metrics.items()},
        }
    )
    for name, reason in evaluation.undefined.items():
        log.warning("val_%s is %s.", name, reason)
    job.run.set_tags({f"undefined.val_{name}": reason for name, reason in evaluation.undefined.items()})
    kept_loss = history.best_val_loss if config.training.early_stopping else history["val_loss"][-1]
    objective = _objective(config, {**job.run.metrics, "val_loss": kept_loss})
    _record_artifacts(job, history, actual, forecast, _bar_columns(returns, evaluation))
    importance = permutation_importance(
        lambda inputs: _forecast(job, inputs),
        data.inputs(data.val),
        actual,
        data.feature_names,
        seed=config.seed,
    )
    job.logger.log_feature_importance(importance)
    return objective


def _record_artifacts(
    job: Job,
    history: History,
    actual: NDArray[np.float64],
    forecast: NDArray[np.float64],
    columns: dict[str, Any],
) -> None:
    config, data = job.config, job.data
    unit = _unit(config, data)
    job.logger.log_training_history(history, config.training.loss)
    job.logger.log_predictions(actual, forecast, dates=data.dates(data.val), columns=columns, unit=unit)
    job.logger.log_model(
        job.model,
        feature_names=data.feature_names,
        scaler=data.scaler,
        example=data.raw[: data.sequence_length - 1 + EXAMPLE_ROWS],
        config=config.model,
        sequence_length=data.sequence_length,
        logits=config.training.loss == "bce",
    )


def _bar_columns(returns: NDArray[np.float64] | None, evaluation: Any) -> dict[str, Any]:
    """Give the columns that stand beside each bar's forecast: position, and returns where there are any."""
    import numpy as np

    if returns is None:
        return {"position": evaluation.position}
    return {
        "position": evaluation.position,
        "next_log_return": returns,
        "strategy_return": evaluation.returns,
        "buy_hold_return": np.expm1(returns),
    }


def _forecast(job: Job, inputs: NDArray[Any]) -> NDArray[np.float64]:
    """Forecast in the target's unit; a probability where the network gives logits."""
    import numpy as np

    from tradingbot_exp.training.predict import predict

    output = predict(job.model, inputs)
    return 1.0 / (1.0 + np.exp(-output)) if job.config.training.loss == "bce" else output


def _objective(config: Config, metrics: dict[str, float]) -> float:
    from tradingbot_exp.errors import ConfigError, near

    name = config.hpo.metric[0] if isinstance(config.hpo.metric, list) else config.hpo.metric
    if name not in metrics:
        known = sorted(metrics)
        raise ConfigError(f"hpo.metric={name} is no metric of this run. It has: {', '.join(known)}.{near(name, known)}")
    return metrics[name]


def _threshold(config: Config, data: PreparedData) -> float:
    """Give the forecast that takes no side: halfway for 0/1 targets, else zero."""
    return 0.5 if config.training.loss == "bce" or config.data.target == "direction" else 0.0


def _unit(config: Config, data: PreparedData) -> str:
    if config.data.source == "table":
        return config.data.target
    if config.data.target == "direction":
        return "probability of a rise"
    bars = "the next bar" if data.horizon == 1 else f"the next {data.horizon} bars"
    return f"log return over {bars}"


def _dataset(data: PreparedData) -> dict[str, str]:
    """Describe the data as an MLflow dataset whose digest is our fingerprint."""
    columns = [{"name": name, "type": "double", "required": True} for name in data.feature_names]
    return {
        "name": data.name,
        "digest": data.fingerprint,
        "source_type": "local",
        "source": json.dumps({"uri": str(data.card.get("source", data.name))}),
        "schema": json.dumps({"mlflow_colspec": columns}),
        "profile": json.dumps({"num_rows": len(data.index), "num_features": len(data.feature_names)}),
    }


def _is_sequential(model: nn.Module) -> bool:
    return bool(getattr(model, "sequential", False))
