"""What a trained job is worth on the validation rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from tradingbot_exp.config.losses import LOSSES
from tradingbot_exp.config.metrics import BACKTEST_METRICS, OWN_METRICS, TRAIN_METRICS
from tradingbot_exp.config.schema import Config
from tradingbot_exp.evaluation.metrics.baselines import baseline_metrics, judge_linear, linear_model
from tradingbot_exp.evaluation.metrics.evaluate import bar_columns, judge_rows
from tradingbot_exp.evaluation.metrics.intervals import alpha_interval, ic_interval, sharpe_interval
from tradingbot_exp.evaluation.metrics.objectives import objectives_of, over_folds
from tradingbot_exp.evaluation.rules import Rules, buy_and_hold_returns
from tradingbot_exp.evaluation.significance.series import LEAST_BEFORE, sums_before

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradingbot_exp.data import Block, PreparedData
    from tradingbot_exp.evaluation.metrics.evaluate import Evaluation
    from tradingbot_exp.experiment.job import Job
    from tradingbot_exp.training.history import History


# What is logged of each fold by itself, beside its curves.
_FOLD_METRICS = ("final_loss", "best_val_loss", "best_epoch", *(f"val_{name}" for name in OWN_METRICS))


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A trained model's worth on the validation rows.

    Of several folds, losses, errors, correlations and what concerns train rows are means over folds. What comes of
    returns is counted on the forecasts of all folds in time order, with positions carried over from one to the next;
    by itself (``fold_1_val_sharpe``) each fold starts flat. Train rows are taken one after another, also where a block
    was left out of them.

    Attributes
    ----------
    metrics : dict of str to float
        As MLflow has them: ``final_loss``, ``best_val_loss``, ``best_epoch``, ``val_…``, ``train_…``, ``fold_1_…``.
    undefined : dict of str to str
        Metrics without a value, with the reason.
    objective : dict of str to float
        What `hpo.metric` may name; ``val_loss`` is that of the model as it was kept. Of several folds, those that
        `hpo.metric` does name, as `hpo.aggregate` makes them.
    rows : Block
        The validated rows: of several folds, all of theirs, which follow each other without a gap.
    actual, forecast : ndarray of shape (n,)
        In the target's unit.
    columns : dict of str to ndarray of shape (n,)
        Position of each bar, its returns where there are any, and its fold where there are several.
    before : ndarray of shape (folds, 7)
        What the model of each fold knew before its bars: see `tradingbot_exp.evaluation.significance.series.Before`.
    """

    metrics: dict[str, float]
    undefined: dict[str, str]
    objective: dict[str, float]
    rows: Block
    actual: NDArray[np.float64]
    forecast: NDArray[np.float64]
    columns: dict[str, Any]
    before: NDArray[np.float64]


def evaluate(job: Job, histories: Sequence[History]) -> Evaluated:
    """Judge the trained model of each fold on its validation rows, and all together; nothing is recorded."""
    folds = [_evaluate_fold(fold, history) for fold, history in zip(job.folds, histories, strict=True)]
    return folds[0] if len(folds) == 1 else _together(job, folds)


def _evaluate_fold(job: Job, history: History) -> Evaluated:
    config, data, rules = job.config, job.data, Rules.of(job.config, job.data)
    actual, returns = data.targets(data.val), data.returns(data.val)
    forecast = forecast_of(job, data.inputs(data.val))
    evaluation = judge_rows(data, data.val, forecast, rules)
    rivals, without = baseline_metrics(judge_linear(data, data.val, rules))
    fitted = forecast_of(job, data.inputs(data.train))
    learned = judge_rows(data, data.train, fitted, rules)
    metrics = {
        "final_loss": history["val_loss"][-1],
        "best_val_loss": history.best_val_loss,
        "best_epoch": float(history.best_epoch),
        **{f"val_{name}": value for name, value in (evaluation.metrics | rivals).items()},
        **{f"train_{name}": learned.metrics[name] for name in TRAIN_METRICS if name in learned.metrics},
    }
    kept = history.best_val_loss if config.training.early_stopping else history["val_loss"][-1]
    last = {"train_loss": history["train_loss"][-1], "val_loss": kept}
    undefined = {
        **{f"val_{name}": reason for name, reason in (evaluation.undefined | without).items()},
        **{f"train_{name}": learned.undefined[name] for name in TRAIN_METRICS if name in learned.undefined},
    }
    columns, before = bar_columns(evaluation, returns), _sums_before(data, fitted, learned)
    return Evaluated(metrics, undefined, {**metrics, **last}, data.val, actual, forecast, columns, before)


def _sums_before(data: PreparedData, fitted: NDArray[np.float64], learned: Evaluation) -> NDArray[np.float64]:
    """Sum up the train rows that are before the validated ones; all train rows, if these are too few."""
    early = data.train.numbers < data.val.start
    if early.sum() < LEAST_BEFORE:
        early[:] = True
    returns, earned = data.returns(data.train), learned.returns
    market = None if returns is None else buy_and_hold_returns(returns)[early]
    own = None if earned is None else earned[early]
    return sums_before(data.targets(data.train)[early], fitted[early], market, own)[None]


def _together(job: Job, folds: Sequence[Evaluated]) -> Evaluated:
    """Make one evaluation of those of the folds."""
    rows, rules = replace(folds[0].rows, stop=folds[-1].rows.stop), Rules.of(job.config, job.data)
    forecast = np.concatenate([fold.forecast for fold in folds])
    linear = [linear_model(part.data).predict(part.data.inputs(part.data.val, np.float64)) for part in job.folds]
    whole, rival = (judge_rows(job.data, rows, each, rules) for each in (forecast, np.concatenate(linear)))
    returns = dict.fromkeys(BACKTEST_METRICS, whole) | {"linear_sharpe": rival}
    metrics, undefined = _means(folds)
    for name, evaluation in returns.items():
        source, key = name.removeprefix("linear_"), f"val_{name}"
        metrics.pop(key, None)
        undefined.pop(key, None)
        if source in evaluation.metrics:
            metrics[key] = evaluation.metrics[source]
        else:
            undefined[key] = evaluation.undefined[source]
    for number, fold in enumerate(folds, 1):
        for name in _FOLD_METRICS:
            if name in fold.metrics:
                metrics[f"fold_{number}_{name}"] = fold.metrics[name]
            else:
                undefined[f"fold_{number}_{name}"] = fold.undefined[name]
    columns: dict[str, Any] = bar_columns(whole, job.data.returns(rows))
    columns["fold"] = np.repeat(np.arange(1, len(folds) + 1), [len(fold.rows) for fold in folds])
    objective = over_folds(job.config.hpo, [fold.objective for fold in folds])
    before = np.concatenate([fold.before for fold in folds])
    return Evaluated(metrics, undefined, objective, rows, job.data.targets(rows), forecast, columns, before)


def _means(folds: Sequence[Evaluated]) -> tuple[dict[str, float], dict[str, str]]:
    """Average what all folds have; of the rest, name the first fold that has it not, with its reason."""
    metrics, undefined = {}, {}
    for name in {**folds[0].metrics, **folds[0].undefined}:
        if all(name in fold.metrics for fold in folds):
            metrics[name] = fmean(fold.metrics[name] for fold in folds)
        else:
            number, reason = next(
                (n, fold.undefined[name]) for n, fold in enumerate(folds, 1) if name in fold.undefined
            )
            undefined[name] = reason.replace("because ", f"because in fold {number} ", 1)
    return metrics, undefined


def intervals(job: Job, evaluated: Evaluated) -> dict[str, float]:
    """Return the ends of the 95 % intervals of what says most: ``val_ic_low`` and ``val_ic_high``, Sharpe ratio, alpha.

    Of several folds the information coefficient is a mean over folds, and has none.
    """
    rules, columns = Rules.of(job.config, job.data), evaluated.columns
    found = {}
    if "fold" not in columns:
        found["ic"] = ic_interval(evaluated.actual, evaluated.forecast, rules.horizon)
    if "strategy_return" in columns:
        net, market = columns["strategy_return"], columns["buy_hold_return"]
        found |= {"sharpe": sharpe_interval(net, rules), "alpha": alpha_interval(net, market, rules)}
    ends = {f"val_{name}_{end}": getattr(each, end) for name, each in found.items() for end in ("low", "high")}
    return {name: value for name, value in ends.items() if math.isfinite(value)}


def objectives(config: Config, metrics: Mapping[str, float]) -> list[float]:
    """Return the values of `hpo.metric`, in its order; NaN for one that is not defined for this run."""
    return [metrics.get(objective.metric, math.nan) for objective in objectives_of(config.hpo)]


def forecast_of(job: Job, inputs: NDArray[Any]) -> NDArray[np.float64]:
    """Forecast in the target's unit; a probability where the network gives logits."""
    from tradingbot_exp.training.predict import predict

    output = predict(job.model, inputs)
    return 1.0 / (1.0 + np.exp(-output)) if LOSSES[job.config.training.loss].logits else output
