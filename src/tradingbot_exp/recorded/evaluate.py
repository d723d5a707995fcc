"""Opens the sealed test set for one run: its model's forecasts of the test rows, judged, recorded and counted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.identity import identity_tags, joined, market_returns, stamp
from tradingbot_exp.evaluation.metrics.baselines import baseline_metrics, judge_linear
from tradingbot_exp.evaluation.metrics.evaluate import bar_columns, judge_rows
from tradingbot_exp.evaluation.metrics.intervals import metric_intervals
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.recorded.result import Opened
from tradingbot_exp.recorded.subject import configuration_of, data_of, forecasts_of
from tradingbot_exp.runtime.process import user_name
from tradingbot_exp.tracking.reading.fetch import run_record
from tradingbot_exp.tracking.reading.looks import looks_at
from tradingbot_exp.tracking.reading.markets import MarketDates
from tradingbot_exp.tracking.reading.openings import KIND, overlapping_openings
from tradingbot_exp.tracking.reading.recorded_run import RecordedRun
from tradingbot_exp.tracking.store.kinds import EVALUATE, require
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.store import open_store
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.evaluation.metrics.evaluate import Evaluation
    from tradingbot_exp.tracking.reading.openings import Opening
    from tradingbot_exp.tracking.store.store import Store
    from tradingbot_exp.tracking.store.types import Run
    from tradingbot_exp.tracking.writing.run import TrackedRun


def open_test_set(
    run: str = "latest", tracking_uri: str | Path | None = None, confirm: Callable[[Opened], None] | None = None
) -> Opened:
    """Judge a run's model on the test rows, which nothing has looked at before, and record that they were looked at.

    Parameters
    ----------
    run : str
        See `tradingbot_exp.tracking.store.lookup.find_run`. Of a study, the best trial is taken.
    tracking_uri : str or Path, optional
        See `tradingbot_exp.tracking.store.store.open_store`.
    confirm : callable, optional
        Asked before any of these dates is opened for the first time, with what is known so far; to prevent it, it
        raises.

    Raises
    ------
    RunError
        The run is not there, has no model, or was not logged by this package's training.
    DataError
        The data are gone, or are other ones than the run saw.
    TrackingError
        The store cannot be read or written.
    """
    store = open_store(tracking_uri)
    found = require(store, find_run(store, run), EVALUATE)
    loaded = RecordedRun(run_record(store, found), store, found)
    config = configuration_of(loaded)
    data = data_of(loaded, config)
    forecast = forecasts_of(loaded, config, data)
    dates = data.dates(data.test)
    identity = identity_tags(config.data, data)
    instrument, start, end = identity["data.instrument"], stamp(dates[0]), stamp(dates[-1])
    asked = MarketDates(instrument, (start, end), data.fingerprint, market_returns(data))
    earlier = overlapping_openings(store, asked)
    looked = looks_at(store, asked)
    opened = Opened(loaded.run_id, loaded.name, "", instrument, start, end, len(dates), tuple(earlier), looked)
    seen = joined((each.start, each.end) for each in earlier)
    if confirm is not None and not any(first <= start and end <= last for first, last in seen):
        confirm(opened)
    with _evaluation_run(store, found, opened, data) as record:
        opened = _numbered(store, asked, opened, record)
        judged = _judge(config, data, forecast)
        record.log_metrics(judged.all_metrics())
        record.set_tags({f"undefined.{name}": reason for name, reason in judged.undefined.items()})
        _record_returns(record, data, forecast, judged.model)
    _mark_evaluated(store, found, judged, opened.earlier)
    # Of several folds ``val_…`` are means, and the model is the last one's.
    fold = "" if config.evaluation.scheme == "chronological" else f"fold_{config.evaluation.folds}_"
    validation = {
        name.removeprefix(fold): value for name, value in loaded.metrics.items() if name.startswith(f"{fold}val_")
    }
    return replace(
        opened,
        evaluation_run_id=record.run_id,
        metrics=judged.metrics,
        intervals=judged.intervals,
        undefined=judged.undefined,
        validation=validation,
        naive=Rules.of(config, data).naive,
    )


@dataclass(frozen=True, eq=False)
class _Judged:
    """Metrics, 95 % intervals and what is not defined, named ``test_…``; and the model's evaluation."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    undefined: dict[str, str]
    model: Evaluation

    def all_metrics(self) -> dict[str, float]:
        """Return the metrics with the ends of their intervals, ``test_…_low`` and ``test_…_high``."""
        low = {f"{name}_low": pair[0] for name, pair in self.intervals.items()}
        return self.metrics | low | {f"{name}_high": pair[1] for name, pair in self.intervals.items()}


def _judge(config: Config, data: PreparedData, forecast: NDArray[np.float64]) -> _Judged:
    """Judge the forecast of the test rows and its rivals there, which learn from the rows that the model learned from.

    Of several folds these are the last one's.
    """
    data, rules = fold_views(data, config.evaluation)[-1], Rules.of(config, data)
    block = data.test
    model, linear = judge_rows(data, block, forecast, rules), judge_linear(data, block, rules)
    rivals, without = baseline_metrics(linear)
    found = metric_intervals({"": model, "linear_": linear}, seed=config.seed)
    metrics = {f"test_{name}": value for name, value in (model.metrics | rivals).items()}
    undefined = {f"test_{name}": reason for name, reason in (model.undefined | without).items()}
    if found.problem:
        undefined["test_intervals"] = found.problem
    intervals = {f"test_{name}": pair for name, pair in found.bounds.items() if f"test_{name}" in metrics}
    return _Judged(metrics, intervals, undefined, model)


@contextmanager
def _evaluation_run(store: Store, evaluated: Run, opened: Opened, data: PreparedData) -> Iterator[TrackedRun]:
    """Open the run that records the opening, before anything is seen, in the experiment of the run that is judged."""
    from tradingbot_exp.tracking.writing.logger import EnhancedMLflowLogger

    experiment = store.experiments()[str(evaluated.info.experiment_id)]
    organizer = ExperimentOrganizer(
        SimpleNamespace(
            experiment=SimpleNamespace(name=experiment, run_name=None, description=None, tags={}),
            tracking=SimpleNamespace(uri=store.uri, on_error="raise"),
        )
    )
    tags = {
        "evaluated.run_id": opened.run_id,
        "evaluated.study_id": evaluated.data.tags.get("mlflow.parentRunId"),
        "opened.by": user_name(),
        "opened.at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "opened.start": opened.start,
        "opened.end": opened.end,
        "opened.number": opened.number,
        "opened.looks": "; ".join(map(str, opened.looked)) or None,
        "data.name": data.name,
        "data.instrument": opened.instrument,
        "data.fingerprint": data.fingerprint,
        **{name: evaluated.data.tags.get(name) for name in ("model.name", "model.version", "config.sha256")},
    }
    name = f"test-{opened.name}-{opened.number}"
    with organizer.start_run(name, kind=KIND, **{key.replace(".", "__"): value for key, value in tags.items()}) as run:
        EnhancedMLflowLogger(run).log_environment_details()
        yield run


def _numbered(store: Store, asked: MarketDates, opened: Opened, record: TrackedRun) -> Opened:
    """Count those before this one, which is on record now: another may have been opened while a person was asked."""
    found = overlapping_openings(store, asked)
    earlier = tuple(takewhile(lambda each: each.run_id != record.run_id, found))
    if len(earlier) != len(opened.earlier):
        opened = replace(opened, earlier=earlier)
        record.set_tags({"opened.number": opened.number, "mlflow.runName": f"test-{opened.name}-{opened.number}"})
    return opened


def _record_returns(run: TrackedRun, data: PreparedData, forecast: NDArray[np.float64], model: Evaluation) -> None:
    """Log ``evaluation/test_returns.csv``, with the columns of ``validation_returns.csv``."""
    columns: dict[str, Any] = {"date": data.dates(data.test), "actual": data.targets(data.test), "forecast": forecast}
    columns |= bar_columns(model, data.returns(data.test))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "test_returns.csv"
        pd.DataFrame(columns).to_csv(file, index=False, float_format="%.17g")
        run.log_artifact(file, "evaluation")


def _mark_evaluated(store: Store, evaluated: Run, judged: _Judged, earlier: tuple[Opening, ...]) -> None:
    """Count the opening on the run that was judged, and give it the metrics of its first one."""
    run_id = str(evaluated.info.run_id)
    own = 1 + sum(each.evaluated == run_id for each in earlier)
    is_first = not any(name.startswith("test_") for name in evaluated.data.metrics)
    store.annotate(run_id, {"test.openings": str(own)}, judged.all_metrics() if is_first else None)
