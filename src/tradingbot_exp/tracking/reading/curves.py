"""Reads the history of a metric out of MLflow, of one run or of many, in as few queries as the store allows."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tradingbot_exp.tracking.reading.run_record import Curve
from tradingbot_exp.tracking.store.errors import wrapped

if TYPE_CHECKING:
    from tradingbot_exp.tracking.store.store import Store

log = logging.getLogger(__name__)

_INFINITE = 1.7976931348623157e308  # what MLflow makes of an infinity
_PAGE = 1000
# What a server gives in one answer about the histories of several runs.
_SERVER_RUNS, _SERVER_POINTS = 100, 25_000


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
            steps[step] = (time, as_number(value))
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


def as_number(value: float) -> float:
    """Give a metric's value, with the infinities that MLflow does not hold."""
    return math.copysign(math.inf, value) if abs(value) >= _INFINITE else float(value)
