"""One run as a record, with its curves and what its artifacts say. Times are in UTC; params are text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


TRAIN_SPREAD = "forecast.train_std"
"""Tag: the standard deviation of the forecasts that the model of each fold makes of its train rows."""


@dataclass(frozen=True)
class Curve:
    """A metric over its steps, in their order.

    Attributes
    ----------
    steps : tuple of int
        Epochs, counted from 1, of a metric of each epoch.
    values : tuple of float
        NaN where the metric was; as long as `steps`.
    """

    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def points(self) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Steps and values, as plots take them."""
        return self.steps, self.values


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes
    ----------
    run_id, name, experiment_id, experiment : str
    kind : str
        Tag ``run.kind``; empty for a run that something else logged.
    status : str
        ``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``.
    started : datetime
    ended : datetime or None
    params, tags : mapping of str to str
    metrics : mapping of str to float
        The newest value of each.
    curves : mapping of str to Curve
        Metrics with more than one step; those that the reader asked for.
    store : str
        The address that it was read from, without credentials; no part of what the run is.
    """

    run_id: str
    name: str
    experiment_id: str
    experiment: str
    kind: str
    status: str
    started: datetime
    ended: datetime | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    store: str = field(default="", compare=False)

    @property
    def seconds(self) -> float | None:
        """How long it ran; None while it does."""
        return None if self.ended is None else (self.ended - self.started).total_seconds()

    @property
    def parent_id(self) -> str | None:
        """The parent run's id, if there is one."""
        return self.tags.get("mlflow.parentRunId")

    @property
    def train_spread(self) -> tuple[float, ...]:
        """Of each fold the standard deviation of its model's forecasts of the train rows; empty if not on record."""
        return tuple(float(each) for each in self.tags.get(TRAIN_SPREAD, "").split(",") if each)


@dataclass(frozen=True, eq=False)
class Artifacts:
    """What a run's artifacts say; None for each that is not there, cannot be read or was not asked for.

    What the trials of a study share, the study keeps: see `tradingbot_exp.tracking.reading.artifacts`.

    Attributes
    ----------
    predictions : DataFrame or None
        ``evaluation/validation_returns.csv``: columns `date`, `actual`, `forecast`, `position` and, where the data
        have returns, `next_log_return`, `strategy_return` (net of costs), `buy_hold_return`.
    card : mapping or None
        ``data/data_card.json``: source, period, split, fingerprint, statistics.
    environment : mapping or None
        ``environment/environment.json``: machine, packages, git.
    overrides : tuple of str or None
        ``config/overrides.yaml``.
    importance : DataFrame or None
        ``evaluation/feature_importance.csv``: columns `feature`, `mean`, `std`.
    histograms : list of mappings or None
        ``data/feature_histograms.json``: a feature: `name`, `edges`, densities `train` and `val`, and `ks`.
    traceback : str or None
        ``error/traceback.txt``.
    problems : tuple of str
        Artifacts that are there and cannot be read, each with the reason.
    patch : bytes or None
        ``code/uncommitted.patch``, which tells whether two runs had the same changes.
    requirements : mapping of str to str, or None
        ``environment/requirements.txt``: version by package.
    """

    predictions: pd.DataFrame | None = None
    card: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] | None = None
    overrides: tuple[str, ...] | None = None
    importance: pd.DataFrame | None = None
    histograms: list[Mapping[str, Any]] | None = None
    traceback: str | None = None
    problems: tuple[str, ...] = ()
    patch: bytes | None = None
    requirements: Mapping[str, str] | None = None
