"""Reads the history of a metric out of MLflow, of one run or of many, in as few queries as the store allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradingbot_exp.tracking.reading.run_record import Curve

if TYPE_CHECKING:
    from tradingbot_exp.tracking.store.store import Store

_INFINITE = 1.7976931348623157e308  # what MLflow makes of an infinity


def read_curves(store: Store, run_ids: Sequence[str], name: str) -> dict[str, Curve]:
    """Read one metric's history of many runs.

    Returns
    -------
    dict of str to Curve
        By run id; runs that do not have the metric are left out.
    """
    by_run: dict[str, dict[int, tuple[int, float]]] = {}
    for run_id, point in store.points(run_ids, name):
        steps = by_run.setdefault(run_id, {})
        if point.step not in steps or steps[point.step][0] <= point.timestamp:  # logged again: the newest counts
            steps[point.step] = point.timestamp, as_number(point.value)
    return {
        run_id: Curve(tuple(sorted(by_run[run_id])), tuple(value for _, (_, value) in sorted(by_run[run_id].items())))
        for run_id in filter(by_run.__contains__, run_ids)
    }


def as_number(value: float) -> float:
    """Return a metric's value, with the infinities that MLflow does not hold."""
    return math.copysign(math.inf, value) if abs(value) >= _INFINITE else float(value)
