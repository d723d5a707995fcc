"""The probability of backtest overfitting: how often the best on one half of the bars is below the middle on the other.

Trials are ranked by a score that is made of sums over bars, so that the bars are summed in blocks once, and each
way to halve the blocks costs one row of a matrix product.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.evaluation._arrays import Estimate, Floats, undefined
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.statistic import Number, Statistic, WordTest

MIN_TRIALS = 20
"""Fewer distinct trials than these have no distribution of ranks to speak of."""
BLOCKS = 16
_BLOCK_BARS = 8
_CHUNK_VALUES = 2**20


@dataclass(frozen=True)
class Ranking:
    """A score of trials, from sums over bars.

    Attributes
    ----------
    terms : callable
        From the values, shape (n, K), to arrays of that shape whose sums over bars the score needs.
    score : callable
        From those sums, each of shape (m, K), and the number of bars of each row, shape (m, 1), to scores of
        shape (m, K); higher is better, and never NaN.
    """

    terms: Callable[[Floats], tuple[Floats, ...]]
    score: Callable[[tuple[Floats, ...], Floats], Floats]


def _ratio(above: Floats, squares: Floats) -> Floats:
    """Divide by a root, with 0 where there is no spread."""
    root = np.sqrt(np.maximum(squares, 0.0))
    return np.asarray(np.divide(above, root, out=np.zeros_like(above), where=root > 0))


def _sharpe(sums: tuple[Floats, ...], bars: Floats) -> Floats:
    mean = sums[0] / bars
    variance = sums[1] / bars - mean**2
    return _ratio(mean, np.where(variance > 1e-12 * sums[1] / bars, variance, 0.0))


RANKINGS: dict[str, Ranking] = {
    "mean": Ranking(lambda x: (x,), lambda sums, bars: sums[0] / bars),
    "sharpe": Ranking(lambda x: (x, x**2), _sharpe),
    "sortino": Ranking(
        lambda x: (x, np.minimum(x, 0.0) ** 2), lambda sums, bars: _ratio(sums[0] / bars, sums[1] / bars)
    ),
}
"""Mean of the series, Sharpe and Sortino ratio a bar; without spread, or a loss, the ratios are 0."""


@dataclass(frozen=True, eq=False)
class Overfitting(Statistic):
    """Result of the symmetric cross-validation.

    Attributes
    ----------
    pbo : Estimate
        Share of the ways to halve the bars in which the best trial of one half is in the lower half of the other
        (a logit of 0 or below).
    logits : ndarray, shape (ways,)
        ln(ω / (1 − ω)), where ω is the relative rank, on the other half, of the best on one half; empty if `pbo` is not
        defined.
    blocks, bars, trials : int
        Distinct trials.
    """

    SHOWN: ClassVar = {
        "pbo": Number(
            "Probability of backtest overfitting",
            "percent",
            "How often the best on half of the bars is below the median on the rest.",
        ),
    }

    pbo: Estimate
    logits: Floats
    blocks: int = 0
    bars: int = 0
    trials: int = 0

    @classmethod
    def of(cls, evidence: StudyEvidence) -> Overfitting:
        """Cross-validate the choice of the winner, ranking trials by what is nearest to the study's metric."""
        part = evidence.part
        if part is None:
            return Overfitting(undefined("there is no matrix of trials to test"), np.empty(0))
        if part.family == "forecast":
            return overfitting(part.series.within, evidence.ranking, horizon=evidence.rules.horizon)
        return overfitting(part.values, evidence.ranking)

    def sentences(self, evidence: StudyEvidence, test: WordTest) -> list[str]:
        """Return the probability, and say where it contradicts the verdict."""
        if evidence.part is None:
            return []
        if self.pbo.value is None:
            return [f"The probability of backtest overfitting is {self.pbo.problem}."]
        score = {"mean": "mean return", "sharpe": "Sharpe ratio", "sortino": "Sortino ratio"}[evidence.ranking]
        score = "how forecasts move with the outcome" if evidence.family == "forecast" else f"{score} after costs"
        sentence = (
            f"By {score}, the best on one half of the bars is in the lower half of the trials on the other half in "
            f"{100 * self.pbo.value:.0f} % of {self.logits.size:,} splits (probability of backtest overfitting)"
        )
        if test.word == "real" and self.pbo.value > 0.5:
            return [f"{sentence}: this contradicts the verdict; the trials may be too alike to be ranked."]
        return [f"{sentence}."]


def overfitting(
    values: ArrayLike, ranking: Ranking | str = "mean", *, blocks: int = BLOCKS, horizon: int = 1
) -> Overfitting:
    """Estimate the probability of backtest overfitting by combinatorially symmetric cross-validation.

    Parameters
    ----------
    values : array_like, shape (n, K)
        Net returns, or gains in loss (higher is better), one column a trial; finite. Columns that are the same count
        once.
    ranking : Ranking or str
        By what trials are ranked, as the study did: one of `RANKINGS`, or one of your own.
    blocks : int
        Even; fewer are taken for short samples, so that each has at least 8 bars and twice the horizon.
    horizon : int
        Bars over which one value overlaps the next ones.

    Returns
    -------
    Overfitting
        Not defined for fewer than `MIN_TRIALS` distinct trials, or fewer bars than 4 blocks need. Ties on the other
        half share the mean of their ranks; ties for the best on one half count with the mean of theirs.

    References
    ----------
    Bailey, Borwein, López de Prado & Zhu (2015), "The probability of backtest overfitting", Journal of Computational
    Finance 20(4), section 3 and definition 2.2.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ValueError(f"values has the shape {x.shape}; expected finite numbers of the shape (bars, trials).")
    if blocks < 4 or blocks % 2:
        raise ValueError(f"blocks is {blocks}; expected an even number, at least 4.")
    bars = len(x)
    x = np.unique(x, axis=1)
    trials = x.shape[1]
    least = max(_BLOCK_BARS, 2 * horizon)
    count = min(blocks, bars // least // 2 * 2)
    if trials < MIN_TRIALS:
        few = undefined(f"{trials} distinct trials are too few: it takes at least {MIN_TRIALS}")
        return Overfitting(few, np.empty(0), 0, bars, trials)
    if count < 4:
        short = undefined(f"there are {bars} bars, and 4 blocks of {least} take {4 * least}")
        return Overfitting(short, np.empty(0), 0, bars, trials)
    rule = RANKINGS[ranking] if isinstance(ranking, str) else ranking
    starts = np.linspace(0, bars, count + 1).astype(int)
    sums = tuple(np.add.reduceat(term, starts[:-1], axis=0) for term in rule.terms(x))
    sizes = np.diff(starts)[:, None].astype(np.float64)
    halves = _halves(count)
    at_once = max(1, _CHUNK_VALUES // trials)
    ranks = []
    for start in range(0, len(halves), at_once):
        inside = halves[start : start + at_once]
        one, other = (
            rule.score(tuple(side @ total for total in sums), side @ sizes) for side in (inside, 1.0 - inside)
        )
        ranks.append(_rank_of_best(one, other))
    relative = np.concatenate(ranks) / (trials + 1)
    logits = np.log(relative / (1 - relative))
    return Overfitting(Estimate(float(np.mean(logits <= 1e-12))), logits, count, bars, trials)


@cache
def _halves(blocks: int) -> Floats:
    """Return every way to take half of the blocks, a row each: 1 where a block is taken."""
    chosen = np.array(list(itertools.combinations(range(blocks), blocks // 2)))
    halves = np.zeros((len(chosen), blocks))
    np.put_along_axis(halves, chosen, 1.0, axis=1)
    halves.setflags(write=False)
    return halves


def _rank_of_best(one: Floats, other: Floats) -> Floats:
    """Rank, from 1, on the other half of each row's best on the one half."""
    best = one.max(axis=1, keepdims=True)
    place = one.argmax(axis=1)
    rank = _rank(other, other[np.arange(len(other)), place])
    for row in np.flatnonzero((one == best).sum(axis=1) > 1):
        tied = np.flatnonzero(one[row] == best[row])
        rank[row] = _rank(np.broadcast_to(other[row], (tied.size, other.shape[1])), other[row, tied]).mean()
    return rank


def _rank(rows: Floats, values: Floats) -> Floats:
    """Rank a value of each row in it, from 1 for the lowest; ties share the mean."""
    below = (rows < values[:, None]).sum(axis=1)
    same = (rows == values[:, None]).sum(axis=1)
    return np.asarray(below + (same + 1) / 2)
