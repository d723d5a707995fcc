"""Why a run forecasts as it does: which features matter, and how each is spread in train and in validation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from tradingbot_exp.plots.feature_distributions import histogram_figure, histograms_from
from tradingbot_exp.plots.feature_importance import feature_importance
from tradingbot_exp.reporting.page.blocks import numbers_of
from tradingbot_exp.reporting.page.page import Block, Figure, Notice
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.runtime.text import at_most


def feature_blocks(trained: Trained) -> list[Block]:
    """Draw the importance and the distributions of the features."""
    folds = trained.folds
    text = (
        f"Of the last of {folds} folds: its model, which is the one that was kept, and its train and validation rows."
    )
    blocks: list[Block] = [Notice(text, "muted")] if folds > 1 else []
    return [*blocks, _importance(trained.record.artifacts.importance), _spread(trained.record.artifacts.histograms)]


def _importance(importance: pd.DataFrame | None) -> Block:
    """Draw how much each feature matters, and name those that do by more than two standard deviations of shuffles."""
    if importance is None or not {"feature", "mean", "std"} <= set(importance):
        return Notice("The importance of the features is not on record.", "muted")
    names = [str(name) for name in importance["feature"]]
    mean, std = (numbers_of(importance[name]) for name in ("mean", "std"))
    figure = feature_importance(names, mean, std)
    if figure.layout.height is None:
        figure.update_layout(height=400)
    order = [int(i) for i in np.argsort(-mean, kind="stable") if np.isfinite(mean[i])]
    sure = [names[i] for i in order if mean[i] > 2 * np.nan_to_num(std[i])]
    if not sure:
        text = "No feature makes the forecast clearly worse when it is shuffled: the model leans on none of them."
        return Figure(figure, text)
    text = f"Shuffling these makes the forecast clearly worse, the first the most: {at_most(sure, 3)}."
    return Figure(figure, text)


def _spread(record: object) -> Block:
    """Draw the distributions; say so if they are not there, or are of another form."""
    try:
        found = histograms_from(record) if isinstance(record, list) else None
    except (KeyError, TypeError, ValueError):
        found = None
    if found is None:
        return Notice("The distributions of the features are not on record.", "muted")
    far = max((each for each in found if math.isfinite(each.ks)), key=lambda each: each.ks, default=None)
    words = f" The furthest apart is {far.name}, by {far.ks:.2f}." if far else ""
    return Figure(histogram_figure(found), f"Each feature in train and in validation.{words}")
