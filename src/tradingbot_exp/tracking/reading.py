"""Reads runs and studies out of MLflow into `tradingbot_exp.tracking.records`, in few queries."""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.tracking.lookup import Store
from tradingbot_exp.tracking.records import Artifacts, Curve, RunRecord, StudyRecord, TrainingRecord, TrialRecord
from tradingbot_exp.tracking.store import local_artifacts, reason, uncollected, wrapped

if TYPE_CHECKING:
    from mlflow.entities import Run

log = logging.getLogger(__name__)

LOSSES = ("train_loss", "val_loss", "learning_rate")
PATCH = "code/uncommitted.patch"
_INFINITE = 1.7976931348623157e308  # what MLflow makes of an infinity
_PAGE = 1000
# What a server gives in one answer about the histories of several runs.
_SERVER_RUNS, _SERVER_POINTS = 100, 25_000


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
        metrics={name: _number(value) for name, value in data.metrics.items()},
        curves={name: each[info.run_id] for name, each in found.items() if info.run_id in each},
        store=store.shown,
    )


def training_record(store: Store, run: Run) -> TrainingRecord:
    """Read all that a report about one run needs."""
    from tradingbot_exp.tracking.openings import others_opened

    record, parent = run_record(store, run, LOSSES), read_parent(store, run)
    artifacts = read_artifacts(store, run, parent)
    own = _openings(store, run)
    return TrainingRecord(
        run=record,
        artifacts=artifacts,
        previous=_previous(store, run) if record.kind == "training" else None,
        openings=tuple(run_record(store, each, experiment=record.experiment) for each in own),
        others_opened=others_opened(store, record, artifacts.card),
        parent=None if parent is None else run_record(store, parent, experiment=record.experiment),
    )


def read_parent(store: Store, run: Run) -> Run | None:
    """Read the run that a run belongs to, its study's or its sweep's; None if there is none."""
    parent_id = run.data.tags.get("mlflow.parentRunId")
    if parent_id is None:
        return None
    with wrapped(f"The run {parent_id}, to which {run.info.run_id} belongs, cannot be read"):
        return store.client.get_run(parent_id)


@uncollected()
def study_record(store: Store, run: Run) -> StudyRecord:
    """Read a study and all its trials: the runs in pages, their curves in one query a page of runs.

    The parent of a plain sweep says neither what was searched nor for what: there the params that differ among its
    children are the trials' params, and the children say which metric counts.
    """
    parent = run_record(store, run)
    problems: list[str] = []
    read = reader(store, [run], problems)
    space = read("study/search_space.json", _space) or {}
    verdict = read("study/verdict.json", mapping_file)
    artifacts = read_artifacts(store, run)
    artifacts = replace(artifacts, problems=(*problems, *artifacts.problems))
    children = search_runs(store, [parent.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.run_id}'")
    saying = next((child.data.params for child in children if "hpo.metric" in child.data.params), parent.params)
    metrics, directions = searched_for(parent.params if "hpo.metric" in parent.params else saying)
    keys = list(space) or _varying([child.data.params for child in children])
    curves = read_curves(store, [child.info.run_id for child in children], "val_loss")
    trials = sorted(
        (trial_record(child, keys, metrics, curves.get(child.info.run_id, Curve())) for child in children),
        key=lambda trial: (trial.number, trial.started),
    )
    best = rank_trials(trials, directions)
    by_id = {child.info.run_id: child for child in children}
    own = by_id[best[0].run_id] if best else None
    words = reader(store, [own], [])("config/overrides.yaml", words_file)
    openings = [] if own is None else [run_record(store, each) for each in _openings(store, own)]
    return StudyRecord(
        parent, artifacts, metrics, directions, space, tuple(trials), best, words, verdict, tuple(openings)
    )


def read_curves(store: Store, run_ids: Sequence[str], name: str) -> dict[str, Curve]:
    """Read one metric's history of many runs, in as few queries as the store allows.

    Returns
    -------
    dict of str to Curve
        By run id; runs that do not have the metric are left out.
    """
    with wrapped(f"The metric {name} cannot be read from {store.shown}"):
        points = _bulk_points(store, run_ids, name)
    by_run: dict[str, dict[int, tuple[int, float]]] = {}
    for run_id, step, time, value in points:
        steps = by_run.setdefault(run_id, {})
        if step not in steps or steps[step][0] <= time:  # logged again: the newest counts
            steps[step] = (time, _number(value))
    curves = {}
    for run_id in filter(by_run.__contains__, run_ids):
        steps = by_run[run_id]
        order = sorted(steps)
        curves[run_id] = Curve(tuple(order), tuple(steps[step][1] for step in order))
    return curves


def _bulk_points(store: Store, run_ids: Sequence[str], name: str) -> Iterable[tuple[str, int, int, float]]:
    if not run_ids:
        return []
    backend: Any = getattr(getattr(store.client, "_tracking_client", None), "store", None)
    if len(run_ids) > 1 and hasattr(backend, "get_metric_history_bulk"):  # MLflow's SQL store
        found = []
        for start in range(0, len(run_ids), _PAGE):
            ids = list(run_ids[start : start + _PAGE])
            found += backend.get_metric_history_bulk(ids, name, 10**9)
        return [(each.run_id, each.step, each.timestamp, each.value) for each in found]
    if len(run_ids) > 1 and hasattr(backend, "get_host_creds"):  # a server
        return _server_points(store, backend, run_ids, name)
    if len(run_ids) > 1 and not store.uri.startswith("file:"):
        log.warning("This version of MLflow gives %s one run at a time: reading %d runs is slow.", name, len(run_ids))
    return [point for run_id in run_ids for point in _single_points(store, run_id, name)]


def _single_points(store: Store, run_id: str, name: str) -> list[tuple[str, int, int, float]]:
    """Ask for the whole history of one run, however long it is."""
    return [(run_id, each.step, each.timestamp, each.value) for each in store.client.get_metric_history(run_id, name)]


def _server_points(store: Store, backend: Any, run_ids: Sequence[str], name: str) -> list[tuple[str, int, int, float]]:
    """Ask a server for the histories of many runs at once, as its own pages do.

    An answer that is as long as a server's answers may be is asked for again in halves, and the history of a single run
    in whole, so that nothing is cut.
    """
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    endpoint = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
    found: list[tuple[str, int, int, float]] = []
    waiting = [list(run_ids[start : start + _SERVER_RUNS]) for start in range(0, len(run_ids), _SERVER_RUNS)]
    while waiting:
        ids = waiting.pop()
        query = {"run_id": ids, "metric_key": name, "max_results": _SERVER_POINTS}
        answer = verify_rest_response(http_request(backend.get_host_creds(), endpoint, "GET", params=query), endpoint)
        points = answer.json()["metrics"]
        if len(points) >= _SERVER_POINTS and len(ids) == 1:
            found += _single_points(store, ids[0], name)
            continue
        if len(points) >= _SERVER_POINTS:
            waiting += [ids[: len(ids) // 2], ids[len(ids) // 2 :]]
            continue
        found += [(each["run_id"], int(each["step"]), int(each["timestamp"]), float(each["value"])) for each in points]
    return found


def read_artifacts(store: Store, run: Run, parent: Run | None = None) -> Artifacts:
    """Read what the artifacts of a run say, and of a trial what its study keeps for all.

    What is not there is None, what cannot be read is named in `problems`.
    """
    problems: list[str] = []
    own, shared = reader(store, [run], problems), reader(store, [run, parent], problems)
    return Artifacts(
        predictions=own("evaluation/validation_returns.csv", predictions_file),
        card=shared("data/data_card.json", _card),
        environment=shared("environment/environment.json", _environment),
        overrides=shared("config/overrides.yaml", words_file),
        importance=own("evaluation/feature_importance.csv", _csv),
        histograms=shared("data/feature_histograms.json", lambda file: _checked(json_file(file), list)),
        traceback=own("error/traceback.txt", lambda file: file.read_text(encoding="utf-8")),
        patch=shared(PATCH, Path.read_bytes),
        problems=tuple(problems),
    )


def reader(
    store: Store, runs: Sequence[Run | None], problems: list[str]
) -> Callable[[str, Callable[[Path], Any]], Any]:
    """Give a function that reads an artifact of the first run that has it; None if none has.

    Where it cannot be read the reason is added to `problems`.
    """

    def read(path: str, parse: Callable[[Path], Any]) -> Any:
        try:
            found = (read_artifact(store, run, path, parse) for run in runs if run is not None)
            return next((each for each in found if each is not None), None)
        except Exception as error:
            problems.append(f"{path}: {reason(error)}")
            return None

    return read


def read_artifact(store: Store, run: Run, path: str, parse: Callable[[Path], Any]) -> Any:
    """Read one artifact; None if it is not there."""
    artifacts = local_artifacts(run.info.artifact_uri)
    if artifacts is not None:
        file = artifacts / path
        return parse(file) if file.is_file() else None
    import tempfile

    folder = str(Path(path).parent)
    listed = store.client.list_artifacts(run.info.run_id, "" if folder == "." else folder)
    if path not in {each.path for each in listed}:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return parse(Path(store.client.download_artifacts(run.info.run_id, path, scratch)))


def search_runs(store: Store, experiments: Sequence[str], query: str) -> list[Run]:
    """Give all runs of some experiments that a query of MLflow's finds, oldest first, page by page."""
    found: list[Run] = []
    with wrapped(f"The runs in {store.shown} cannot be read"):
        token = None
        while True:
            page = store.client.search_runs(
                list(experiments), query, max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found


def _previous(store: Store, run: Run) -> RunRecord | None:
    """Give the training run of the same experiment that started last before `run`."""
    query = f"tags.`run.kind` = 'training' and attributes.start_time < {run.info.start_time}"
    with wrapped(f"The runs in {store.shown} cannot be read"):
        found = store.client.search_runs(
            [run.info.experiment_id], query, max_results=1, order_by=["attributes.start_time DESC"]
        )
    return run_record(store, found[0]) if found else None


def _openings(store: Store, run: Run) -> list[Run]:
    """Give the openings for a run, deleted ones too: what was seen was seen."""
    from tradingbot_exp.tracking.ledger import search_all

    query = f"tags.`run.kind` = 'test_evaluation' and tags.`evaluated.run_id` = '{run.info.run_id}'"
    with wrapped(f"The runs in {store.shown} cannot be read"):
        return list(search_all(store.client, [str(run.info.experiment_id)], query))


def trial_record(run: Run, keys: Iterable[str], metrics: Sequence[str], curve: Curve) -> TrialRecord:
    """Turn the run of a trial into a record: of the params `keys`, and of the `metrics` that are searched for."""
    tags, params = run.data.tags, run.data.params
    state = tags.get("trial.state", "")
    if not state:  # of a plain sweep, or of something else
        state = {"FINISHED": "complete", "FAILED": "failed", "KILLED": "interrupted"}.get(run.info.status, "running")
    values = _values(tags.get("trial.values", ""))
    if not values and state == "complete" and all(name in run.data.metrics for name in metrics):
        values = tuple(_number(run.data.metrics[name]) for name in metrics)
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
        metrics={name: _number(value) for name, value in run.data.metrics.items()},
    )


def _values(text: str) -> tuple[float, ...]:
    """Read the tag of a trial's values: a list of numbers; nothing where it is another thing."""
    try:
        found = json.loads(text)
        return tuple(float(each) for each in _checked(found, list))
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
    """Give the study's metrics and directions from its params."""
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


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _number(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= _INFINITE else float(value)


def _plain(text: str) -> float | int | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def json_file(file: Path) -> Any:
    """Parse a JSON file."""
    return json.loads(file.read_text(encoding="utf-8"))


def mapping_file(file: Path) -> Mapping[str, Any]:
    """Parse a JSON file that holds an object.

    Raises
    ------
    ValueError
        It holds something else, or is no JSON.
    """
    found: Mapping[str, Any] = _checked(json_file(file), dict)
    return found


def words_file(file: Path) -> tuple[str, ...]:
    """Parse a YAML file that holds a list, as words; see `mapping_file`."""
    return tuple(map(str, _checked(yaml_file(file), list)))


def _checked(found: Any, kind: type[dict[Any, Any]] | type[list[Any]], what: str = "it") -> Any:
    """Refuse what a file holds in place of a mapping or a list."""
    if not isinstance(found, kind):
        wanted = "a list" if kind is list else "a mapping"
        raise ValueError(f"{what} should be {wanted}, and is {json.dumps(found, default=str)[:40]}")
    return found


def _card(file: Path) -> Any:
    """Parse a data card, whose parts are mappings."""
    card = _checked(json_file(file), dict)
    for name, part in _checked(card.get("split") or {}, dict, "split").items():
        _checked(part or {}, dict, f"split.{name}")
    for fold in _checked(card.get("folds") or [], list, "folds"):
        for name in ("train", "val"):
            _checked(_checked(fold, dict, "a fold").get(name) or {}, dict, f"{name} of a fold")
    return card


def _environment(file: Path) -> Any:
    """Parse ``environment.json``, whose known blocks are mappings."""
    found = _checked(json_file(file), dict)
    for name in ("python", "torch", "platform", "hardware", "git"):
        _checked(found.get(name) or {}, dict, name)
    _checked((found.get("hardware") or {}).get("gpus") or [], list, "hardware.gpus")
    return found


def _space(file: Path) -> Any:
    """Parse a search space: by key, choices or the ends of a range."""
    space = _checked(json_file(file), dict)
    for key, entry in space.items():
        if "choices" in _checked(entry, dict, key):
            _checked(entry["choices"], list, f"{key}.choices")
            continue
        for end in ("low", "high"):
            value = entry.get(end)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{key}.{end} should be a number, and is {json.dumps(value)[:40]}")
    return space


def yaml_file(file: Path) -> Any:
    """Parse a YAML file of plain values."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.load(file))


def _csv(file: Path) -> Any:
    import pandas as pd

    return pd.read_csv(file)


def predictions_file(file: Path) -> Any:
    """Parse ``evaluation/validation_returns.csv``; times with a zone become UTC."""
    import pandas as pd

    table = pd.read_csv(file)
    if "date" in table and not pd.api.types.is_numeric_dtype(table["date"]):
        table["date"] = pd.to_datetime(
            table["date"], utc=bool(table["date"].astype(str).str.contains(r"[+-]\d\d:\d\d$").any())
        )
    return table
