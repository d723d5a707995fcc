"""Of a panel, what a verdict needs of the symbols of each date: means of outcomes, forecasts, and their products.

A series that is judged has one value a date: the mean over its symbols. That of (y − ȳ)(f − f̄) follows from the means
of y, f and y·f, so that these are kept, and not the forecast of each symbol. All means over dates count each date once,
however many symbols it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.config.choices import is_across
from tradingbot_exp.evaluation._arrays import Floats, vectors
from tradingbot_exp.evaluation.significance.block_length import block_length

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.data.panel import Layout


class DateMeans(NamedTuple):
    """Means over the symbols of each date, shape (D,) each."""

    actual: Floats
    forecast: Floats
    squares: Floats
    """Of the outcomes' squares."""
    product: Floats
    square: Floats
    """Of the forecasts' squares."""


class Across(NamedTuple):
    """The second moments of D dates and K trials.

    Attributes
    ----------
    squares : ndarray, shape (D,)
        Mean of the outcomes' squares.
    products, forecasts : ndarray, shape (D, K)
        Mean of the products of outcome and forecast, and of the forecasts' squares.
    """

    squares: Floats
    products: Floats
    forecasts: Floats

    def take(self, dates: ArrayLike, trials: ArrayLike) -> Across:
        """Return those of some dates and trials."""
        pick = np.ix_(np.asarray(dates), np.asarray(trials))
        return Across(self.squares[np.asarray(dates)], self.products[pick], self.forecasts[pick])


def by_own_means(config: Config) -> bool:
    """Tell whether outcomes and forecasts are held against the means of their own date.

    So they are where symbols are compared with each other: by the target, the scaling, or what is searched for.
    """
    metrics = config.hpo.metric if isinstance(config.hpo.metric, list) else [config.hpo.metric]
    across = any(str(metric).startswith("val_cs_") for metric in metrics)
    return across or is_across(config.data.source, config.data.target) or config.data.scaling == "date"


def date_means(actual: ArrayLike, forecast: ArrayLike, layout: Layout, *, own: bool) -> DateMeans:
    """Average over the symbols of each date.

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
    layout : Layout
    own : bool
        Whether each is taken less its mean over the symbols of the date, which leaves means of 0.
    """
    y, f = vectors(actual=actual, forecast=forecast)
    mean = layout.means
    if own:
        y, f = y - mean(y)[layout.days], f - mean(f)[layout.days]
    found = DateMeans(mean(y), mean(f), mean(y * y), mean(y * f), mean(f * f))
    return found._replace(actual=np.zeros_like(found.actual), forecast=np.zeros_like(found.forecast)) if own else found


def memory_of(forecast: ArrayLike, layout: Layout, *, own: bool) -> float:
    """Return how many bars a block of the forecasts of one symbol takes, the median over symbols: see `block_length`.

    Means over a date, and most of all those that are 0, do not tell for how long a model holds on to what it forecasts.

    Parameters
    ----------
    forecast, layout, own
        See `date_means`.
    """
    (f,) = vectors(forecast=forecast)
    if own:
        f = f - layout.means(f)[layout.days]
    return float(np.median([block_length(f[layout.rows_of(code)]) for code in np.unique(layout.symbol)]))


def outcome_means(data: PreparedData, *, own: bool) -> tuple[Floats, Floats]:
    """Return the mean of the validated rows' outcomes, and of their squares, over each date: see `date_means`."""
    actual = data.targets(data.val)
    found = date_means(actual, actual, data.layout.take(data.val.rows), own=own)
    return found.actual, found.squares


def together(data: PreparedData, *, own: bool) -> float:
    """Return how much the train rows' outcomes move together, above 0 and at most 1.

    It is the standard deviation of their mean over the symbols of a date, as a share of that of all; where they are
    taken less that mean, 1 / √symbols, as of ones that move apart. Of one instrument it is 1.
    """
    layout, actual = data.layout.take(data.train.rows), data.targets(data.train)
    apart = float(1 / np.sqrt(layout.counts.mean()))
    if own or not np.ptp(actual):
        return apart
    means = layout.means(actual)
    return float(np.clip(means.std() / actual.std(), apart, 1.0))
