"""What a trained job is worth on the validation rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradingbot_exp.config.losses import LOSSES
from tradingbot_exp.config.metrics import BACKTEST_METRICS, MEMBERS_SD, OWN_METRICS, TRAIN_METRICS
from tradingbot_exp.config.schema import Config
from tradingbot_exp.data.splits import joined
from tradingbot_exp.evaluation.metrics.baselines import linear_model, linear_spread, validated_baselines
from tradingbot_exp.evaluation.metrics.evaluate import bar_columns, judge_rows
from tradingbot_exp.evaluation.metrics.forecast import ic, mse
from tradingbot_exp.evaluation.metrics.intervals import alpha_interval, ic_interval, sharpe_interval
from tradingbot_exp.evaluation.metrics.objectives import objectives_of, over_folds
from tradingbot_exp.evaluation.positions import spread_of
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.evaluation.significance.across import by_own_means, date_means, memory_of
from tradingbot_exp.evaluation.significance.series import sums_before
from tradingbot_exp.training.listeners import seed_prefix

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
        Position of each bar, its returns where there are any, and its fold where there are several; of an ensemble
        the standard deviation of the networks' forecasts, and of a panel the symbol, too.
    net, market : ndarray of shape (n,), or (D,) of a panel, or None
        Net simple returns, and those of buy and hold, a bar, of a panel a date.
    before : ndarray of shape (folds, 9)
        What the model of each fold knew before its bars: see `tradingbot_exp.evaluation.significance.series.Before`.
    spread : ndarray of shape (folds,)
        Standard deviation of the forecasts that the model of each fold makes of its train rows.
    """

    metrics: dict[str, float]
    undefined: dict[str, str]
    objective: dict[str, float]
    rows: Block
    actual: NDArray[np.float64]
    forecast: NDArray[np.float64]
    columns: dict[str, Any]
    net: NDArray[np.float64] | None
    market: NDArray[np.float64] | None
    before: NDArray[np.float64]
    spread: NDArray[np.float64]


def evaluate(job: Job, histories: Sequence[History]) -> Evaluated:
    """Judge the trained model of each fold on its validation rows, and all together; nothing is recorded."""
    folds = [_evaluate_fold(fold, history) for fold, history in zip(job.folds, histories, strict=True)]
    return folds[0] if len(folds) == 1 else _together(job, folds)


def _evaluate_fold(job: Job, history: History) -> Evaluated:
    config, data, rules = job.config, job.data, Rules.of(job.config, job.data)
    actual, returns, inputs = data.targets(data.val), data.returns(data.val), data.inputs(data.val)
    forecast, fitted = forecast_of(job, inputs), forecast_of(job, data.inputs(data.train))
    spread, members = spread_of(fitted), _members(job, inputs) if config.training.ensemble > 1 else None
    evaluation = judge_rows(data, data.val, forecast, rules, spread)
    rivals, without = validated_baselines(data, rules)
    learned = judge_rows(data, data.train, fitted, rules, spread, TRAIN_METRICS)
    networks = history.of or (history,)  # of an ensemble each may end, and be best, at an epoch of its own
    kept = history.best_val_loss if config.training.early_stopping else history["val_loss"][-1]
    final = history["val_loss"][-1]
    if members is not None:  # of what the networks forecast together
        final = kept = members.loss
    metrics = {
        "final_loss": final,
        "best_val_loss": fmean(each.best_val_loss for each in networks),
        "best_epoch": fmean(each.best_epoch for each in networks),
        **({} if members is None else members.metrics | _best_epochs(job, networks)),
        **{f"val_{name}": value for name, value in (evaluation.metrics | rivals).items()},
        **{f"train_{name}": learned.metrics[name] for name in TRAIN_METRICS if name in learned.metrics},
    }
    last = {"train_loss": fmean(each["train_loss"][-1] for each in networks), "val_loss": kept}
    undefined = {
        **{f"val_{name}": reason for name, reason in (evaluation.undefined | without).items()},
        **{f"train_{name}": learned.undefined[name] for name in TRAIN_METRICS if name in learned.undefined},
        **({} if members is None else members.undefined),
    }
    before = _sums_before(config, data, fitted, learned, forecast)
    return Evaluated(
        metrics,
        undefined,
        {**metrics, **last},
        data.val,
        actual,
        forecast,
        bar_columns(evaluation, returns) | ({} if members is None else {MEMBERS_SD: members.sd}),
        evaluation.returns,
        None if evaluation.returns is None else evaluation.own.market,
        before,
        np.array([spread]),
    )


class _Members(NamedTuple):
    """How the networks of an ensemble did on the validation rows, and how far apart they are."""

    loss: float  # of their mean
    metrics: dict[str, float]
    undefined: dict[str, str]
    sd: NDArray[np.float64]  # of their forecasts of each row, ddof 1, in the target's unit


def _members(job: Job, inputs: NDArray[Any]) -> _Members:
    from tradingbot_exp.training.predict import predict

    actual, loss = job.data.targets(job.data.val), loss_of(job)
    metrics, forecasts = dict[str, float](), []
    for network in job.networks:
        output = predict(network.model, inputs)
        forecasts.append(_in_unit(job, output))
        prefix = seed_prefix(network.config.seed)
        metrics[f"{prefix}final_loss"] = loss(actual, output)
        metrics[f"{prefix}val_ic"] = ic(actual, forecasts[-1])
    sd = np.std(forecasts, axis=0, ddof=1)
    known = {name: value for name, value in metrics.items() if math.isfinite(value)}
    constant = "not defined, because its forecasts are all the same"
    undefined = dict.fromkeys([name for name in metrics if name not in known], constant)
    known[f"val_{MEMBERS_SD}"] = float(sd.mean())
    return _Members(loss(actual, predict(job.model, inputs)), known, undefined, sd)


def _best_epochs(job: Job, networks: Sequence[History]) -> dict[str, float]:
    return {
        f"{seed_prefix(network.config.seed)}best_epoch": float(history.best_epoch)
        for network, history in zip(job.networks, networks, strict=True)
    }


def loss_of(job: Job) -> Callable[[NDArray[np.float64], NDArray[np.float64]], float]:
    """Return the loss that a model was trained by, of all validation rows: of targets and the model's outputs."""
    from tradingbot_exp.training.losses import number_of, validation_loss

    data, training = job.data, job.config.training
    if training.loss == "mse":
        return mse
    number = number_of(training.loss, training.quantile, training.pos_weight, data.targets(data.train))
    dates = data.layout.date[data.val.rows]
    loss = validation_loss(
        *(training.loss, number, next(job.model.parameters()), data.targets(data.val)),
        returns=data.returns(data.val),
        dates=dates,
    )
    return lambda _, outputs: loss(outputs)


def _sums_before(
    config: Config,
    data: PreparedData,
    fitted: NDArray[np.float64],
    learned: Evaluation,
    forecast: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return what a model knew before its validated bars, from a value a date."""
    layout, own = data.layout.take(data.train.rows), by_own_means(config)
    market = learned.own.market if learned.returns is not None else None
    early = (data.train.numbers < data.val.start)[layout.starts]
    means = date_means(data.targets(data.train), fitted, layout, own=own)
    square, memory = None, 0.0
    if layout.is_panel:  # means over a date do not tell them, as the forecasts of one instrument do
        square, memory = means.square, memory_of(forecast, data.layout.take(data.val.rows), own=own)
    return sums_before(means.actual, means.forecast, market, learned.returns, early, square, memory)[None]


def _together(job: Job, folds: Sequence[Evaluated]) -> Evaluated:
    """Make one evaluation of those of the folds."""
    rows, rules = joined([fold.rows for fold in folds]), Rules.of(job.config, job.data)
    forecast = np.concatenate([fold.forecast for fold in folds])
    linear = [linear_model(part.data).predict(part.data.inputs(part.data.val, np.float64)) for part in job.folds]
    lengths, spread = [len(fold.rows) for fold in folds], np.concatenate([fold.spread for fold in folds])
    rival_spread = [linear_spread(part.data) for part in job.folds]
    whole, rival = (
        judge_rows(job.data, rows, each, rules, np.repeat(known, lengths))
        for each, known in ((forecast, spread), (np.concatenate(linear), rival_spread))
    )
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
            elif name in fold.undefined:
                undefined[f"fold_{number}_{name}"] = fold.undefined[name]
    columns: dict[str, Any] = bar_columns(whole, job.data.returns(rows))
    if MEMBERS_SD in folds[0].columns:
        columns[MEMBERS_SD] = np.concatenate([fold.columns[MEMBERS_SD] for fold in folds])
    columns["fold"] = np.repeat(np.arange(1, len(folds) + 1), lengths)
    objective = over_folds(job.config.hpo, [fold.objective for fold in folds])
    before = np.concatenate([fold.before for fold in folds])
    actual, net = job.data.targets(rows), whole.returns
    market = None if net is None else whole.own.market
    return Evaluated(metrics, undefined, objective, rows, actual, forecast, columns, net, market, before, spread)


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
    rules, found = Rules.of(job.config, job.data), {}
    if "fold" not in evaluated.columns and not job.data.symbols:
        found["ic"] = ic_interval(evaluated.actual, evaluated.forecast, rules.horizon)
    net, market = evaluated.net, evaluated.market
    if net is not None and market is not None:
        found |= {"sharpe": sharpe_interval(net, rules), "alpha": alpha_interval(net, market, rules)}
    ends = {f"val_{name}_{end}": getattr(each, end) for name, each in found.items() for end in ("low", "high")}
    return {name: value for name, value in ends.items() if math.isfinite(value)}


def objectives(config: Config, metrics: Mapping[str, float]) -> list[float]:
    """Return the values of `hpo.metric`, in its order; NaN for one that is not defined for this run."""
    return [metrics.get(objective.metric, math.nan) for objective in objectives_of(config.hpo)]


def forecast_of(job: Job, inputs: NDArray[Any]) -> NDArray[np.float64]:
    """Forecast in the target's unit; a probability where the network gives logits."""
    from tradingbot_exp.training.predict import predict

    return _in_unit(job, predict(job.model, inputs))


def _in_unit(job: Job, output: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-output)) if LOSSES[job.config.training.loss].logits else output
