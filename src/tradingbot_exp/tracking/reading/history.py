"""Every configuration that an experiment has used, out of its runs: when, by which code, and what came of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from tradingbot_exp.config.keys import facts_of
from tradingbot_exp.tracking.reading.artifacts import mapping_file
from tradingbot_exp.tracking.reading.differences import Row, config_rows, described, differing, is_harmless
from tradingbot_exp.tracking.reading.fetch import rank_trials, run_record, searched_for, trial_record
from tradingbot_exp.tracking.reading.run_record import Curve, RunRecord
from tradingbot_exp.tracking.run_names import FINISHED_STATES
from tradingbot_exp.tracking.store.kinds import JUDGEMENTS, STUDIES
from tradingbot_exp.tracking.store.lookup import ENSEMBLE, REFIT

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tradingbot_exp.tracking.store.store import Store


@dataclass(frozen=True)
class Commit:
    """A state of the code: a commit, with uncommitted changes or without."""

    commit: str
    dirty: bool


@dataclass(frozen=True)
class Result:
    """The best result of a configuration.

    Attributes
    ----------
    metric : str
        What `hpo.metric` names; the first of several.
    value : float
    run_id, run_name : str
        The run that has it; of a study, the best trial.
    """

    metric: str
    value: float
    run_id: str
    run_name: str


@dataclass(frozen=True)
class ConfigurationUse:
    """One configuration and the runs that used it; a study is one, with all its trials.

    Attributes
    ----------
    kind : str
        ``single``, ``study``, ``sweep`` (a job of a plain sweep) or ``other`` (a run of another program).
    config_sha256 : str
        The hash of all that decides a result; of a study, of what its trials share. Of runs that have no such tag,
        the hash of their params.
    first, last : datetime
        When the first and the last of its runs started, UTC.
    run_ids : tuple of str
        Newest first; of a study, the study's own.
    code : tuple of Commit
        The commits that were used, newest first; empty outside git.
    params : mapping of str to str
        Of the newest run.
    changes : tuple of Row
        Keys whose values are not those of the configuration used before: its value, and the one here. Empty for the
        oldest.
    result : Result or None
        None where no run has any yet.
    study : str or None
        The study's name.
    trials : mapping of str to int
        Of a study, the number of its trials by state.
    searched : tuple of str
        Of a study, the keys that were searched.
    """

    kind: str
    config_sha256: str
    first: datetime
    last: datetime
    run_ids: tuple[str, ...]
    code: tuple[Commit, ...]
    params: Mapping[str, str]
    changes: tuple[Row, ...] = ()
    result: Result | None = None
    study: str | None = None
    trials: Mapping[str, int] | None = None
    searched: tuple[str, ...] = ()

    @property
    def finished_trials(self) -> int:
        """The trials of a study that count."""
        return sum(count for state, count in (self.trials or {}).items() if state in FINISHED_STATES)


@dataclass(frozen=True)
class ExperimentHistory:
    """What an experiment has used.

    Attributes
    ----------
    experiment : str
    uses : tuple of ConfigurationUse
        By last use, newest first.
    without_config : tuple of RunRecord
        Runs that recorded no configuration: they failed before, or are another program's.
    """

    experiment: str
    uses: tuple[ConfigurationUse, ...]
    without_config: tuple[RunRecord, ...] = ()


def experiment_history(store: Store, experiment: str) -> ExperimentHistory:
    """Read the configurations that an experiment has used.

    Raises
    ------
    RunError
        There is no experiment of that name.
    TrackingError
        The store cannot be read.
    """
    (number,) = store.experiments(experiment)
    found = list(store.search("", [number]))
    studies = {run.info.run_id: run for run in found if run.data.tags.get("run.kind") == "study"}
    children: dict[str, list[Run]] = {run_id: [] for run_id in studies}
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    bare: list[RunRecord] = []
    for run in found:
        kind, parent = run.data.tags.get("run.kind", ""), run.data.tags.get("mlflow.parentRunId", "")
        if kind == "trial" and parent in children:
            children[parent].append(run)
        elif kind not in (*STUDIES, *JUDGEMENTS, REFIT, ENSEMBLE):
            record = run_record(store, run, experiment=experiment)
            if record.params:
                label = {"training": "single", "trial": "sweep"}.get(kind, "other")
                groups.setdefault((label, _hash(record)), []).append(record)
            else:
                bare.append(record)
    uses = [_use(label, digest, records) for (label, digest), records in groups.items()]
    uses += [_study(store, run, children[run_id]) for run_id, run in studies.items()]
    ordered = sorted(uses, key=lambda use: use.last, reverse=True)
    return ExperimentHistory(experiment, tuple(_with_changes(ordered)), tuple(bare))


def newest_experiment(store: Store) -> str | None:
    """Return the experiment whose newest run is the newest of all; None if there are no runs."""
    names = store.experiments()
    newest = next(store.search("", names, newest_first=True, most=1), None)
    return None if newest is None else names[str(newest.info.experiment_id)]


def _hash(record: RunRecord) -> str:
    """Return what tells configurations apart: the tag, or, of runs without one, a hash of the params that decide."""
    known = record.tags.get("config.sha256")
    if known:
        return known
    deciding = {key: text for key, text in record.params.items() if not is_harmless(key)}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def _use(kind: str, digest: str, records: Sequence[RunRecord]) -> ConfigurationUse:
    """Put the runs of one configuration together; `records` are in the order of their start."""
    newest = records[-1]
    return ConfigurationUse(
        kind=kind,
        config_sha256=digest,
        first=records[0].started,
        last=newest.started,
        run_ids=tuple(record.run_id for record in reversed(records)),
        code=_code(reversed(records)),
        params=described(newest),
        result=_best_run(records),
    )


def _study(store: Store, run: Run, children: Sequence[Run]) -> ConfigurationUse:
    record = run_record(store, run)
    space = store.artifact(run, "study/search_space.json", mapping_file) or {}
    metrics, directions = searched_for(record.params)
    trials = [trial_record(child, space, metrics, Curve()) for child in children]
    states: dict[str, int] = {}
    for trial in trials:
        states[trial.state] = states.get(trial.state, 0) + 1
    best = rank_trials(trials, directions)
    started = [record.started, *(trial.started for trial in trials)]
    result = Result(metrics[0], best[0].values[0], best[0].run_id, f"trial {best[0].number}") if best else None
    return ConfigurationUse(
        kind="study",
        config_sha256=_hash(record),
        first=record.started,
        last=max(started),
        run_ids=(record.run_id,),
        code=_code([record]),
        params=described(record),
        result=result,
        study=record.tags.get("study.name", record.name),
        trials=states,
        searched=tuple(space),
    )


def _code(records: Iterable[RunRecord]) -> tuple[Commit, ...]:
    found: dict[Commit, None] = {}
    for record in records:
        commit = record.tags.get("mlflow.source.git.commit")
        if commit:
            found[Commit(commit, record.tags.get("git.dirty") == "true")] = None
    return tuple(found)


def _best_run(records: Sequence[RunRecord]) -> Result | None:
    """Return the best value among runs of one configuration; of equal ones, the newest run's."""
    names, directions = searched_for(records[-1].params)
    sign = -1.0 if directions[0] == "maximize" else 1.0
    found = []
    for record in reversed(records):
        number = _value(record, names[0])
        if number is not None and not math.isnan(number):
            found.append((sign * number, record, number))
    if not found:
        return None
    _, record, number = min(found, key=lambda each: each[0])
    return Result(names[0], number, record.run_id, record.name)


def _value(record: RunRecord, metric: str) -> float | None:
    """Return what a run is worth by `metric`; ``val_loss`` is that of the model as it was kept."""
    if metric == "val_loss":
        stops = record.params.get("training.early_stopping", "None") != "None"
        metric = "best_val_loss" if stops and "best_val_loss" in record.metrics else "final_loss"
        return record.metrics.get(metric, record.metrics.get("val_loss"))
    return record.metrics.get(metric)


def _with_changes(uses: Sequence[ConfigurationUse]) -> list[ConfigurationUse]:
    """Add to each use what changed from the one before it in time; `uses` are newest first."""
    changed = [replace(use, changes=_changes(before, use)) for use, before in pairwise(uses)]
    return [*changed, *uses[-1:]]


def _changes(before: ConfigurationUse, use: ConfigurationUse) -> tuple[Row, ...]:
    pair = [before.params, use.params]
    rows, harmless = config_rows(pair, [each.kind != "other" for each in (before, use)])
    if any(row.name == "data.fingerprint" for row in rows):
        rows += [row for row in harmless if facts_of(row.name).decides == "data"]
    if before.kind == use.kind == "study":
        rows += [row for row in harmless if facts_of(row.name).decides == "study"]
    elif not rows and before.kind != use.kind:
        rows += differing([{"kind": each.kind} for each in (before, use)])
    return tuple(rows)
