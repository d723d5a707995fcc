"""The plots that a run keeps among its artifacts: another is one file beside this one, and one line in `KEPT`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import plotly.graph_objects as go

from tradingbot_exp.plots.feature_distributions import histogram_figure
from tradingbot_exp.plots.feature_importance import feature_importance
from tradingbot_exp.plots.prediction_distribution import prediction_distribution
from tradingbot_exp.plots.prediction_vs_actual import prediction_vs_actual
from tradingbot_exp.plots.training_history import training_history


class Kept(NamedTuple):
    """A plot that a run keeps: from which source, under which path, its title, and what draws it of the source."""

    source: str
    artifact: str
    title: str
    draw: Callable[..., go.Figure]


KEPT = (
    Kept("losses", "plots/training_history.html", "Training history", training_history),
    Kept("forecasts", "plots/prediction_vs_actual.html", "Prediction against actual", prediction_vs_actual),
    Kept(
        "forecasts",
        "plots/prediction_distribution.html",
        "Distribution of predictions",
        lambda _dates, actual, forecast, unit, _symbols=None: prediction_distribution(actual, forecast, unit),
    ),
    Kept("features", "data/feature_distributions.html", "Feature distributions", histogram_figure),
    Kept("importance", "plots/feature_importance.html", "Feature importance", feature_importance),
)
"""Sources, and what is drawn of them: ``losses`` (train and validation, each as epochs and losses, the best epoch and
the loss's name), ``forecasts`` (dates, actual, forecast, unit, and of a panel the symbols), ``features`` (histograms),
``importance`` (features, means, standard deviations)."""
