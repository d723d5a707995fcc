"""What a trained job is worth on the validation rows, and the records of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.schema import Config
from tradingbot_exp.evaluation.names import neutral_forecast, target_unit
from tradingbot_exp.hpo.objectives import objectives_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.experiment import Job
    from tradingbot_exp.tracking.run import TrackedRun
    from tradingbot_exp.training.history import History

log = logging.getLogger(__name__)

# Rows in MLflow's input example, beyond the first full window.
EXAMPLE_ROWS = 5


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A trained model's worth on the validation rows.

    Attributes
    ----------
    metrics : dict of str to float
        As MLflow has them: ``final_loss``, ``best_val_loss``, ``best_epoch``, and ``val_…``.
    undefined : dict of str to str
        Metrics without a value, with the reason.
    objective : dict of str to float
        What `hpo.metric` may name; ``val_loss`` is that of the model as it was kept.
    actual, forecast : ndarray of shape (n,)
        In the target's unit.
    columns : dict of str to ndarray of shape (n,)
        Position of each bar, and its returns where there are any.
    """

    metrics: dict[str, float]
    undefined: dict[str, str]
    objective: dict[str, float]
    actual: NDArray[np.float64]
    forecast: NDArray[np.float64]
    columns: dict[str, Any]


def periods_per_year(config: Config, data: PreparedData) -> float:
    """Give the bars in a year: as configured, else inferred from the time index."""
    configured = config.evaluation.periods_per_year
    return data.periods_per_year if configured == "auto" else float(configured)


def evaluate(job: Job, history: History) -> Evaluated:
    """Judge a trained model on the validation rows; nothing is recorded."""
    from tradingbot_exp.evaluation.baselines import baseline_metrics
    from tradingbot_exp.evaluation.metrics import validation_metrics

    config, data = job.config, job.data
    actual, returns = data.targets(data.val), data.returns(data.val)
    forecast = _forecast(job, data.inputs(data.val))
    rules: Any = {
        "lag": config.evaluation.execution_lag,
        "cost_bps": config.evaluation.cost_bps,
        "periods_per_year": 1.0 if returns is None else periods_per_year(config, data),
        "threshold": neutral_forecast(config.training.loss, config.data.target),
    }
    level = float(data.targets(data.train).mean())
    evaluation = validation_metrics(actual, forecast, returns, level, horizon=data.horizon, **rules)
    rivals, without = baseline_metrics(data, data.val, **rules)
    metrics = {
        "final_loss": history["val_loss"][-1],
        "best_val_loss": history.best_val_loss,
        "best_epoch": float(history.best_epoch),
        **{f"val_{name}": value for name, value in (evaluation.metrics | rivals).items()},
    }
    kept = history.best_val_loss if config.training.early_stopping else history["val_loss"][-1]
    last = {"train_loss": history["train_loss"][-1], "val_loss": kept}
    undefined = {f"val_{name}": reason for name, reason in (evaluation.undefined | without).items()}
    columns = _bar_columns(returns, evaluation)
    return Evaluated(metrics, undefined, {**metrics, **last}, actual, forecast, columns)


def report_undefined(run: TrackedRun, undefined: Mapping[str, str]) -> None:
    """Say of each metric that is not defined why, in the log and in a tag."""
    for name, reason in undefined.items():
        log.warning("%s is %s.", name, reason)
    if undefined:
        run.set_tags({f"undefined.{name}": reason for name, reason in undefined.items()})


def objectives(config: Config, metrics: Mapping[str, float]) -> list[float]:
    """Give the values of `hpo.metric`, in its order; NaN for one that is not defined for this run."""
    return [metrics.get(objective.metric, math.nan) for objective in objectives_of(config.hpo)]


def record_artifacts(job: Job, history: History, evaluated: Evaluated) -> None:
    """Record figures, forecasts, the model and the features' importance."""
    from tradingbot_exp.evaluation.importance import permutation_importance

    config, data = job.config, job.data
    job.logger.log_training_history(history, config.training.loss)
    job.logger.log_predictions(
        evaluated.actual,
        evaluated.forecast,
        dates=data.dates(data.val),
        columns=evaluated.columns,
        unit=target_unit(config.data.source, config.data.target, data.horizon),
    )
    job.logger.log_model(
        job.model,
        feature_names=data.feature_names,
        scaler=data.scaler,
        example=data.raw[: data.sequence_length - 1 + EXAMPLE_ROWS],
        config=config.model,
        sequence_length=data.sequence_length,
        logits=config.training.loss == "bce",
    )
    importance = permutation_importance(
        lambda inputs: _forecast(job, inputs),
        data.inputs(data.val),
        evaluated.actual,
        data.feature_names,
        seed=config.seed,
    )
    job.logger.log_feature_importance(importance)


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
