"""Reads runs and studies out of MLflow into `tradingbot_exp.tracking.reading.records`, in few queries."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tradingbot_exp.runtime.collector import uncollected
from tradingbot_exp.tracking.reading.artifacts import (
    OVERRIDES,
    TEST_RETURNS,
    mapping_file,
    predictions_file,
    read_artifacts,
    read_or_note,
    space_file,
    words_file,
)
from tradingbot_exp.tracking.reading.curves import as_number, read_curves
from tradingbot_exp.tracking.reading.records import VERDICT_FILE, StudyRecord, TrainingRecord, TrialRecord
from tradingbot_exp.tracking.reading.run_context import RunContext
from tradingbot_exp.tracking.reading.run_record import Curve, RunRecord
from tradingbot_exp.tracking.run_names import INTERRUPTED
from tradingbot_exp.tracking.store.kinds import DELIVERED
from tradingbot_exp.tracking.store.lookup import ENSEMBLE, TEST_RUN

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tradingbot_exp.tracking.store.store import Store

SPACE = "study/search_space.json"
LOSSES = ("train_loss", "val_loss", "learning_rate")
# What says how a run was made; results and figures do not.
_CONTEXT = ("card", "environment", "overrides", "patch", "requirements")


def training_record(store: Store, run: Run) -> TrainingRecord:
    """Read all that a report about one run needs."""
    from tradingbot_exp.tracking.reading.openings import opening_runs, others_opened, own_refits

    record, parent = run_record(store, run, LOSSES), read_parent(store, run)
    artifacts, experiments = read_artifacts(store, run, parent), [record.experiment_id]
    query = f"tags.`run.kind` = 'training' and attributes.start_time < {run.info.start_time}"
    before = store.search(query, experiments, newest_first=True, most=1) if record.kind == "training" else ()
    looked = opening_runs(store, store.experiments(deleted=True), record.run_id)
    opened = [each for each in looked if each.data.tags.get("run.kind") == TEST_RUN]
    problems: list[str] = []
    test_returns = read_or_note(store, TEST_RETURNS, predictions_file, problems, *opened[:1])
    return TrainingRecord(
        run=record,
        artifacts=replace(artifacts, problems=(*artifacts.problems, *problems)),
        previous=next((run_record(store, each, experiment=record.experiment) for each in before), None),
        openings=tuple(run_record(store, each, experiment=record.experiment) for each in opened),
        test_returns=test_returns,
        refits=own_refits(looked),
        others_opened=others_opened(store, record, artifacts.card),
        parent=None if parent is None else run_record(store, parent, experiment=record.experiment),
    )


@uncollected()
def study_record(store: Store, run: Run) -> StudyRecord:
    """Read a study and all its trials: the runs in pages, their curves in one query a page of runs.

    The parent of a plain sweep says neither what was searched nor for what: there the params that differ among its
    children are the trials' params, and the children say which metric counts.
    """
    from tradingbot_exp.tracking.reading.openings import opening_runs

    parent = run_record(store, run)
    problems: list[str] = []
    space = read_or_note(store, SPACE, space_file, problems, run) or {}
    verdict = read_or_note(store, VERDICT_FILE, mapping_file, problems, run)
    artifacts = read_artifacts(store, run)
    artifacts = replace(artifacts, problems=(*problems, *artifacts.problems))
    found = store.search(f"tags.`mlflow.parentRunId` = '{parent.run_id}'", [parent.experiment_id])
    children = [child for child in found if child.data.tags.get("run.kind") != ENSEMBLE]
    saying = next((child.data.params for child in children if "hpo.metric" in child.data.params), parent.params)
    metrics, directions = searched_for(parent.params if "hpo.metric" in parent.params else saying)
    keys = list(space) or _varying([child.data.params for child in children])
    curves = read_curves(store, [child.info.run_id for child in children], "val_loss")
    trials = sorted(
        (trial_record(child, keys, metrics, curves.get(child.info.run_id, Curve())) for child in children),
        key=lambda trial: (trial.number, trial.started),
    )
    best = rank_trials(trials, directions)
    own = next((child for child in children if best and child.info.run_id == best[0].run_id), None)
    return StudyRecord(
        parent,
        artifacts,
        metrics,
        directions,
        space,
        tuple(trials),
        best,
        winner_overrides=read_or_note(store, OVERRIDES, words_file, [], own),
        verdict=verdict,
        winner=_winner(store, own, parent),
        openings=tuple(
            run_record(store, each, experiment=parent.experiment)
            for own_id in ([] if own is None else [str(own.info.run_id), *parent.tags.get(DELIVERED, "").split()])
            for each in opening_runs(store, store.experiments(deleted=True), own_id)
        ),
    )


def _winner(store: Store, own: Run | None, parent: RunRecord) -> TrainingRecord | None:
    """Read what a report says of the best trial's forecasts."""
    if own is None:
        return None
    artifacts = read_artifacts(store, own, names=("predictions",))
    if artifacts.predictions is None:
        return None
    return TrainingRecord(run=run_record(store, own, experiment=parent.experiment), artifacts=artifacts)


def trial_record(run: Run, keys: Iterable[str], metrics: Sequence[str], curve: Curve) -> TrialRecord:
    """Turn the run of a trial into a record: of the params `keys`, and of the `metrics` that are searched for."""
    tags, params = run.data.tags, run.data.params
    state = tags.get("trial.state", "")
    if not state:  # of a plain sweep, or of something else
        state = {"FINISHED": "complete", "FAILED": "failed", "KILLED": INTERRUPTED}.get(run.info.status, "running")
    values = _values(tags.get("trial.values", ""))
    if not values and state == "complete" and all(name in run.data.metrics for name in metrics):
        values = tuple(as_number(run.data.metrics[name]) for name in metrics)
    started, ended = _moment(run.info.start_time), _moment(run.info.end_time)
    number = tags.get("trial.number", "")
    duplicate = tags.get("trial.duplicate_of", "")
    return TrialRecord(
        number=int(number) if number.isdecimal() else -1,
        run_id=run.info.run_id,
        state=state,
        values=values,
        params={key: _plain(params[key]) for key in keys if key in params},
        started=started or datetime.fromtimestamp(0, UTC),
        seconds=(ended - started).total_seconds() if started and ended else None,
        error=tags.get("error"),
        duplicate_of=int(duplicate) if duplicate.isdecimal() else None,
        curve=curve,
        metrics={name: as_number(value) for name, value in run.data.metrics.items()},
    )


def _values(text: str) -> tuple[float, ...]:
    """Read the tag of a trial's values: a list of numbers; nothing where it is another thing."""
    try:
        found = json.loads(text)
        return tuple(float(each) for each in found) if isinstance(found, list) else ()
    except (ValueError, TypeError, OverflowError):
        return ()


def _varying(params: Sequence[Mapping[str, str]]) -> list[str]:
    """Name the params that do not have one value throughout, in their order."""
    found: dict[str, set[str]] = {}
    for each in params:
        for key, value in each.items():
            found.setdefault(key, set()).add(value)
    return [key for key, values in found.items() if len(values) > 1]


def searched_for(params: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the study's metrics and directions from its params."""
    metrics = _several(params.get("hpo.metric", "val_loss"))
    directions = _several(params.get("hpo.direction", "minimize"))
    return metrics, directions if len(directions) == len(metrics) else directions[:1] * len(metrics)


def _several(text: str) -> tuple[str, ...]:
    return tuple(part.strip(" '\"") for part in text.strip("[]").split(","))


def has_values(trial: TrialRecord, number: int) -> bool:
    """Tell whether a trial is complete, with a finite value of each of so many objectives."""
    return trial.state == "complete" and len(trial.values) == number and all(map(math.isfinite, trial.values))


def rank_trials(trials: Sequence[TrialRecord], directions: Sequence[str]) -> tuple[TrialRecord, ...]:
    """Rank complete trials with finite values, the best first; of equals, the one with the lowest number.

    Of several objectives those are kept that no other dominates, ranked by the first objective.
    """
    import numpy as np

    valued = [trial for trial in trials if has_values(trial, len(directions))]
    if not valued:
        return ()
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    costs = np.array([trial.values for trial in valued]) * signs
    order = list(np.lexsort((np.array([trial.number for trial in valued]), costs[:, 0])))
    if len(signs) > 1:
        order = [i for i in order if not np.any((costs <= costs[i]).all(axis=1) & (costs < costs[i]).any(axis=1))]
    return tuple(valued[i] for i in order)


def _plain(text: str) -> float | int | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def run_record(store: Store, run: Run, curves: Sequence[str] = (), experiment: str | None = None) -> RunRecord:
    """Turn MLflow's run into a record, with the curves that are named, as far as it has them.

    The store is asked for the name of the experiment, unless it is given.
    """
    info, data = run.info, run.data
    found = {name: read_curves(store, [info.run_id], name) for name in curves if name in data.metrics}
    return RunRecord(
        run_id=info.run_id,
        name=info.run_name or info.run_id[:8],
        experiment_id=str(info.experiment_id),
        experiment=store.experiments().get(str(info.experiment_id), "") if experiment is None else experiment,
        kind=data.tags.get("run.kind", ""),
        status=str(info.status),
        started=_moment(info.start_time) or datetime.fromtimestamp(0, UTC),
        ended=_moment(info.end_time),
        params=dict(data.params),
        tags=dict(data.tags),
        metrics={name: as_number(value) for name, value in data.metrics.items()},
        curves={name: each[info.run_id] for name, each in found.items() if info.run_id in each},
        store=store.shown,
    )


def read_parent(store: Store, run: Run) -> Run | None:
    """Read the run that a run belongs to, its study's or its sweep's; None if there is none."""
    parent_id = run.data.tags.get("mlflow.parentRunId")
    return None if parent_id is None else store.run(parent_id)


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def read_context(store: Store, run: Run, curves: Sequence[str] = ()) -> RunContext:
    """Read a run with what it was made of, and the metrics `curves` with all their steps.

    Raises
    ------
    TrackingError
        The store cannot be read.
    """
    parent = read_parent(store, run)
    record = run_record(store, run, curves)
    above = None if parent is None else run_record(store, parent, experiment=record.experiment)
    return RunContext(record, read_artifacts(store, run, parent, _CONTEXT), parent=above)
