"""The record of a run on a panel, its forecasts judged as a run judges them."""

import numpy as np
import pandas as pd
from comparison_records import made, with_artifacts

from tradingbot_exp.data.panel import layout_of
from tradingbot_exp.evaluation.metrics.evaluate import bar_columns, validation_metrics
from tradingbot_exp.evaluation.rules import Rules

PANEL_RULES = Rules(periods=252.0)
PANEL_PARAMS = {"data.source": "bundled", "data.target": "return", "evaluation.periods_per_year": "252"}


def panel_forecasts_of(symbols=8, dates=120, rules=PANEL_RULES, seed=0, *, gaps=True):
    """Return what a run on a panel records: the table of its forecasts, and its metrics without ``val_``.

    With gaps the first symbol starts late, the second ends early, and the third misses every tenth date.
    """
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2019-10-01", periods=dates)
    names = np.array([f"S{each:03}" for each in range(symbols)])
    place = np.arange(dates * symbols)
    day, symbol = place // symbols, place % symbols
    if gaps:
        gone = (symbol == 0) & (day < 20) | (symbol == 1) & (day > 90) | (symbol == 2) & (day % 10 == 5)
        day, symbol = day[~gone], symbol[~gone]
    when, who = pd.Series(days[day]), pd.Series(names[symbol])
    layout, order = layout_of(when, who)
    assert (order == np.arange(len(order))).all()
    forecast = rng.normal(0, 0.002, len(day))
    actual = 0.7 * forecast + rng.normal(0, 0.01, dates)[day] + rng.normal(0, 0.01, len(day))
    judged = validation_metrics(actual, forecast, actual, 0.0, rules, layout=layout)
    table = pd.DataFrame({"date": when, "actual": actual, "forecast": forecast, **bar_columns(judged, actual)})
    return table, judged.metrics


def panel_record(table, metrics, **params):
    """Return the record of a finished run with that table of forecasts and these metrics."""
    named = {f"val_{name}": value for name, value in metrics.items()}
    return with_artifacts(made("mlp-panel", None, params=PANEL_PARAMS | params, metrics=named), predictions=table)
