"""Opens the sealed test set for one run: its model's forecasts of the test rows, judged, recorded and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.identity import identity_tags, market_returns, stamp
from tradingbot_exp.evaluation.metrics.baselines import baseline_metrics, judge_linear
from tradingbot_exp.evaluation.metrics.evaluate import bar_columns, judge_rows
from tradingbot_exp.evaluation.metrics.intervals import metric_intervals
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.recorded.judgement import judgement_run, opening_tags
from tradingbot_exp.recorded.result import Opened
from tradingbot_exp.recorded.subject import configuration_of, data_of, forecasts_of
from tradingbot_exp.tracking.reading.artifacts import TEST_RETURNS
from tradingbot_exp.tracking.reading.looks import looks_at
from tradingbot_exp.tracking.reading.markets import MarketDates
from tradingbot_exp.tracking.reading.openings import overlapping_openings
from tradingbot_exp.tracking.reading.recorded_run import RecordedRun
from tradingbot_exp.tracking.store.kinds import EVALUATE
from tradingbot_exp.tracking.store.lookup import TEST_RUN

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
    run: str = "latest",
    tracking_uri: str | Path | None = None,
    confirm: Callable[[Opened], None] | None = None,
    *,
    trust: bool = False,
) -> Opened:
    """Judge a run's model on the test rows, which nothing has looked at before, and record that they were looked at.

    Parameters
    ----------
    run : str
        See `tradingbot_exp.tracking.store.lookup.find_run`. Of a study, its ensemble, or the best trial.
    tracking_uri : str or Path, optional
        See `tradingbot_exp.tracking.store.store.open_store`.
    confirm : callable, optional
        Asked before any of these dates is opened for the first time, with what is known so far; to prevent it, it
        raises.
    trust : bool
        See `tradingbot_exp.tracking.reading.recorded_run.RecordedRun`.

    Raises
    ------
    RunError
        The run is not there, has no model, was not logged by this package's training, or wants trust.
    DataError
        The data are gone, or are other ones than the run saw.
    TrackingError
        The store cannot be read or written.
    """
    loaded = RecordedRun.found(run, tracking_uri, EVALUATE, trust=trust)
    store, found = loaded._store, loaded._run
    config = configuration_of(loaded)
    data = data_of(loaded, config)
    forecast = forecasts_of(loaded, config, data)
    dates = data.days(data.test)
    identity = identity_tags(config.data, data)
    instrument, start, end = identity["data.instrument"], stamp(dates[0]), stamp(dates[-1])
    asked = MarketDates(instrument, (start, end), data.fingerprint, market_returns(data))
    earlier = overlapping_openings(store, asked)
    looked = looks_at(store, asked)
    opened = Opened(loaded.run_id, loaded.name, "", instrument, start, end, len(dates), tuple(earlier), looked)
    if data.symbols:
        opened = replace(opened, symbols=len(np.unique(data.layout.take(data.test.rows).symbol)))
    if confirm is not None and opened.is_first:
        confirm(opened)
    with _evaluation_run(store, found, opened, data) as record:
        opened = _numbered(store, asked, opened, record)
        judged = _judge(config, data, forecast, loaded.record.train_spread)
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


def _judge(config: Config, data: PreparedData, forecast: NDArray[np.float64], spread: Sequence[float] = ()) -> _Judged:
    """Judge the forecast of the test rows and its rivals there, which learn from the rows that the model learned from.

    Of several folds these, and the spread, are the last one's.
    """
    data, rules = fold_views(data, config.evaluation)[-1], Rules.of(config, data)
    block = data.test
    model = judge_rows(data, block, forecast, rules, spread[-1:] or np.nan)
    linear = judge_linear(data, block, rules)
    rivals, without = baseline_metrics(linear)
    found = metric_intervals({"": model, "linear_": linear}, seed=config.seed)
    metrics = {f"test_{name}": value for name, value in (model.metrics | rivals).items()}
    undefined = {f"test_{name}": reason for name, reason in (model.undefined | without).items()}
    if found.problem:
        undefined["test_intervals"] = found.problem
    intervals = {f"test_{name}": pair for name, pair in found.bounds.items() if f"test_{name}" in metrics}
    return _Judged(metrics, intervals, undefined, model)


def _evaluation_run(
    store: Store, evaluated: Run, opened: Opened, data: PreparedData
) -> AbstractContextManager[TrackedRun]:
    """Open the run that records the opening, before anything is seen."""
    tags = {
        **opening_tags((opened.start, opened.end)),
        "opened.number": opened.number,
        "opened.looks": "; ".join(map(str, opened.looked)) or None,
        "data.instrument": opened.instrument,
    }
    name = f"test-{opened.name}-{opened.number}"
    return judgement_run(store, evaluated, data, kind=TEST_RUN, name=name, tags=tags)


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
    text = pd.DataFrame(columns).to_csv(index=False, float_format="%.17g")
    run.log_text(text, TEST_RETURNS)


def _mark_evaluated(store: Store, evaluated: Run, judged: _Judged, earlier: tuple[Opening, ...]) -> None:
    """Count the opening on the run that was judged, and give it the metrics of its first one."""
    run_id = str(evaluated.info.run_id)
    own = 1 + sum(each.evaluated == run_id and not each.is_refit for each in earlier)
    is_first = not any(name.startswith("test_") for name in evaluated.data.metrics)
    store.annotate(run_id, {"test.openings": str(own)}, judged.all_metrics() if is_first else None)
