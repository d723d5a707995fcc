"""Confidence intervals of all metrics of one evaluation, from one set of resamples that they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.config.metrics import LINEAR, TABLE
from tradingbot_exp.evaluation._arrays import Floats, vectors
from tradingbot_exp.evaluation.metrics import backtest
from tradingbot_exp.evaluation.metrics.evaluate import Evaluation
from tradingbot_exp.evaluation.metrics.functions import FUNCTIONS, Sample
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.evaluation.significance.block_length import block_length, block_lengths
from tradingbot_exp.evaluation.significance.bootstrap import (
    DRAWS,
    MIN_BARS,
    Interval,
    bootstrap_intervals,
    draws_for,
    stationary_indices,
)

LEVEL = 0.95
_AT_ONCE = 2**20
_MOSTLY = 0.9  # share of the resamples on which a metric has to be defined


@dataclass(frozen=True)
class Intervals:
    """Percentile intervals by metric.

    Attributes
    ----------
    bounds : dict of str to (float, float)
        Low and high, in the metric's unit.
    problem : str
        ``not defined, because …`` if there are none; else empty.
    block : float
        Mean block length of the resamples, in bars.
    draws : int
    """

    bounds: dict[str, tuple[float, float]]
    problem: str
    block: float
    draws: int


def metric_intervals(judged: Mapping[str, Evaluation], draws: int = DRAWS, seed: int = 0) -> Intervals:
    """Compute 95 % intervals of what `validation_metrics` computes, for several forecasts of the same bars.

    Bars are drawn in blocks, with their target, their forecasts and their returns after costs: positions are those
    that were held, and are not formed anew. The mean block length is the longest that squared errors, or any of the
    returns, ask for, and at least the horizon. All metrics share the resamples, so that model and rivals can be
    compared.

    Parameters
    ----------
    judged : mapping of str to Evaluation
        By the prefix of their metrics' names; that of the model, which is empty, comes first.
    draws, seed : int
        Resamples; fewer, but at least 500, of more than 10,000 bars.

    Returns
    -------
    Intervals
        Without the metrics that are not defined on the bars, or not on a tenth of the resamples. None at all for
        fewer than 30 bars.

    References
    ----------
    Politis & Romano (1994), "The stationary bootstrap", JASA 89(428); Efron & Tibshirani (1993), "An introduction to
    the bootstrap", chapter 13, for the percentile interval.
    """
    model = next(iter(judged.values())).own
    a, n = model.actual, model.bars
    if n < MIN_BARS:
        return Intervals(
            {}, f"not defined, because there are {n} bars, and a bootstrap takes at least {MIN_BARS}", 0, 0
        )
    samples: dict[str, tuple[str, Sample]] = {}
    guides = [model.market] if model.market.size else []
    for prefix, evaluation in judged.items():
        for name, sample in evaluation.samples.items():
            if name in evaluation.metrics and (not prefix or name in LINEAR):
                row = TABLE[name]
                samples[name if row.of == "naive" else f"{prefix}{name}"] = row.function, sample
        if evaluation.returns is not None:
            guides += {id(each.returns): each.returns for each in evaluation.samples.values()}.values()
        guides.append(model.layout.means((a - evaluation.own.forecast) ** 2))
    samples["train_mean_mse"] = ("mse", replace(model, forecast=np.full_like(a, model.train_mean)))
    block = min(max(float(block_lengths(np.stack(guides, axis=1)).max()), float(model.rules.horizon)), float(n))
    draws = min(draws, draws_for(n))
    return Intervals(_bounds(samples, n, block, draws, seed), "", block, draws)


def ic_interval(actual: ArrayLike, forecast: ArrayLike, horizon: int) -> Interval:
    """Return the information coefficient with its 95 % interval, of bars drawn in blocks.

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
    horizon : int
        Blocks are at least as long.
    """
    pair = np.stack(vectors(actual=actual, forecast=forecast))
    together = np.prod(pair - pair.mean(axis=1, keepdims=True), axis=0)
    return _interval(pair, _correlations, together, horizon)


def sharpe_interval(returns: ArrayLike, rules: Rules) -> Interval:
    """Return the Sharpe ratio a year with its 95 % interval; see `ic_interval`."""
    (r,) = vectors(returns=returns)
    return _interval(r, lambda values: backtest.sharpe_ratios(values, rules.annual), r, rules.horizon)


def alpha_interval(returns: ArrayLike, market: ArrayLike, rules: Rules) -> Interval:
    """Return alpha a year with its 95 % interval; see `ic_interval` and `backtest.alpha`."""
    r, m = vectors(returns=returns, market=market)
    slope = backtest.beta(r, m)
    rest = r - slope * m if math.isfinite(slope) else r
    return _interval(np.stack([r, m]), lambda pairs: rules.annual * _alphas(pairs), rest, rules.horizon)


def _interval(series: Floats, statistic: Callable[[Floats], Floats], guide: Floats, horizon: int) -> Interval:
    n = series.shape[-1]
    block = block_length(guide) if n >= MIN_BARS else None
    return bootstrap_intervals(series, [statistic], draws=draws_for(n), block=block, horizon=horizon)[0]


def _correlations(pairs: Floats) -> Floats:
    """Correlate pairs of shape (..., 2, n); NaN where one is constant."""
    moves = pairs - pairs.mean(axis=-1, keepdims=True)
    first, second = moves[..., 0, :], moves[..., 1, :]
    size = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    return np.asarray((first * second).sum(axis=-1) / np.where(size > 0, size, np.nan))


def _alphas(pairs: Floats) -> Floats:
    """Return alpha a bar, of returns and the market's of shape (..., 2, n); NaN where the market is constant."""
    means = pairs.mean(axis=-1)
    moves = pairs - means[..., None]
    spread = (moves[..., 1, :] ** 2).sum(axis=-1)
    slope = (moves[..., 0, :] * moves[..., 1, :]).sum(axis=-1) / np.where(spread > 0, spread, np.nan)
    return np.asarray(means[..., 0] - slope * means[..., 1])


def _bounds(
    samples: Mapping[str, tuple[str, Sample]], n: int, block: float, draws: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Resample each sample once for all metrics that are computed from it."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // n)
    drawn = np.empty((draws, len(samples)))
    distinct = {id(sample): sample for _, sample in samples.values()}
    for start in range(0, draws, at_once):
        part = stationary_indices(n, block, min(at_once, draws - start), rng)
        for row, index in enumerate(part, start):
            taken = {number: sample.take(index) for number, sample in distinct.items()}
            drawn[row] = [FUNCTIONS[name](taken[id(sample)]) for name, sample in samples.values()]
    bounds = {}
    for name, values in zip(samples, drawn.T, strict=True):
        finite = values[np.isfinite(values)]
        if finite.size >= _MOSTLY * draws:
            low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            if math.isfinite(low) and math.isfinite(high):
                bounds[name] = (float(low), float(high))
    return bounds
