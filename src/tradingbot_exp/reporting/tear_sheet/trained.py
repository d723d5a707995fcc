"""A recorded run as its report takes it: its record, and what several sections compute from it, once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.reporting.backtest import Backtest, backtest_of, rules_of
from tradingbot_exp.reporting.tear_sheet.panel import PanelForecasts, panel_forecasts
from tradingbot_exp.tracking.reading.records import TrainingRecord
from tradingbot_exp.tracking.reading.run_record import RunRecord


@dataclass(frozen=True, eq=False)
class Trained:
    """One training run, or trial, to be told; whatever its status, and whatever is missing."""

    record: TrainingRecord

    @property
    def run(self) -> RunRecord:
        """Its run."""
        return self.record.run

    @cached_property
    def folds(self) -> int:
        """The number of folds that it was trained on; 1 for the plain split."""
        table, params = self.record.artifacts.predictions, self.run.params
        if table is not None and "fold" in table:
            return max(int(table["fold"].nunique()), 1)
        folds = params.get("evaluation.folds", "")
        plain = params.get("evaluation.scheme", "chronological") == "chronological"
        return int(folds) if folds.isdecimal() and not plain else 1

    @cached_property
    def rules(self) -> Rules:
        """How its forecasts become returns."""
        return rules_of(self.run, self.record.artifacts.predictions)

    @property
    def forecasts(self) -> pd.DataFrame | None:
        """Its validation bars with `actual` and `forecast`; None where it has none on record."""
        table = self.record.artifacts.predictions
        return None if table is None or not {"actual", "forecast"} <= set(table) else table

    @cached_property
    def panel(self) -> PanelForecasts | None:
        """The forecasts of several symbols by date; None of one instrument."""
        return None if self.forecasts is None else panel_forecasts(self.forecasts)

    @cached_property
    def backtest(self) -> Backtest | None:
        """What its validation forecasts earned; None where they, or the market's returns, are not on record."""
        return None if self.forecasts is None else backtest_of(self.forecasts, self.rules)
