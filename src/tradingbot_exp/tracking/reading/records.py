"""What MLflow holds of runs and studies, as frozen records: all that a report is made from.

`tradingbot_exp.tracking.reading.fetch` fills them in. Times are in UTC; params are text, as MLflow keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tradingbot_exp.tracking.reading.run_context import RunContext
from tradingbot_exp.tracking.reading.run_record import Curve, RunRecord

if TYPE_CHECKING:
    import pandas as pd

    from tradingbot_exp.tracking.reading.openings import Opening

VERDICT_FILE = "study/verdict.json"
"""Where a study's parent run has the verdict, among its artifacts."""


@dataclass(frozen=True, eq=False)
class TrainingRecord(RunContext):
    """A training run, or a trial, with what a report about it needs.

    Its `run` has the curves `train_loss`, `val_loss` and `learning_rate`, as far as there are any.

    Attributes
    ----------
    previous : RunRecord or None
        The training run of the same experiment that started last before this one.
    openings : tuple of RunRecord
        Runs of kind ``test_evaluation`` that opened the test set for this run, oldest first.
    refits : tuple of Opening
        Refits of this run that learned from its test set, oldest first.
    others_opened : tuple of Opening, or None
        Openings for other runs that share bars with this run's test set, oldest first; None if the data or the dates
        of this run are not recorded, so that it cannot be told.
    test_returns : DataFrame or None
        ``evaluation/test_returns.csv`` of the first opening: the test bars, as `artifacts.predictions` has validation.
    """

    previous: RunRecord | None = None
    openings: tuple[RunRecord, ...] = ()
    refits: tuple[Opening, ...] = ()
    others_opened: tuple[Opening, ...] | None = ()
    test_returns: pd.DataFrame | None = None


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a study.

    Attributes
    ----------
    number : int
    run_id : str
    state : str
        ``complete``, ``pruned``, ``failed``, ``interrupted`` or ``running``.
    values : tuple of float
        The study's metrics, in its order; empty if there are none.
    params : mapping of str to (float, int, str)
        Searched keys and their values: numbers where the text is one.
    started : datetime
    seconds : float or None
    error : str or None
    duplicate_of : int or None
        The trial that had been at the same point before, whose result this one took.
    curve : Curve
        `val_loss` of each epoch.
    metrics : mapping of str to float
    """

    number: int
    run_id: str
    state: str
    values: tuple[float, ...]
    params: Mapping[str, Any]
    started: datetime
    seconds: float | None
    error: str | None
    duplicate_of: int | None
    curve: Curve
    metrics: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class StudyRecord(RunContext):
    """A study with all its trials; its `run` is the parent.

    Attributes
    ----------
    metrics : tuple of str
        What was searched for, `hpo.metric`; one or several.
    directions : tuple of str
        ``minimize`` or ``maximize``, one a metric.
    space : mapping of str to Any
        ``study/search_space.json``: each searched key and how it is described there.
    trials : tuple of TrialRecord
        By number; of a number tried again after an interruption, each attempt.
    best : tuple of TrialRecord
        The best complete trial with finite values first, then by value; of several metrics, the Pareto front by the
        first of them.
    winner : TrainingRecord or None
        The best trial's own run, with its forecasts; None where it has no artifacts.
    winner_overrides : tuple of str or None
        ``config/overrides.yaml`` of the best trial's own run, as the job of a plain sweep has it.
    verdict : mapping or None
        ``study/verdict.json``: word, headline, reasons and numbers, see `tradingbot_exp.hpo.verdict.judge`.
    openings : tuple of RunRecord
        Runs of kind ``test_evaluation`` that opened the test set for the best trial, or for the ensemble.
    """

    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    space: Mapping[str, Any]
    trials: tuple[TrialRecord, ...]
    best: tuple[TrialRecord, ...]
    winner: TrainingRecord | None = None
    winner_overrides: tuple[str, ...] | None = None
    verdict: Mapping[str, Any] | None = None
    openings: tuple[RunRecord, ...] = ()
