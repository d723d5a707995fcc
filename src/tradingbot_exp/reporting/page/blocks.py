"""Parts that several reports share: cells, the line below the title, links, and the best epoch of a curve."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradingbot_exp.plots.numbers import MISSING, duration, moment
from tradingbot_exp.reporting.page.page import Cell, Notice, Tone
from tradingbot_exp.tracking.reading.run_record import Artifacts, Curve, RunRecord
from tradingbot_exp.tracking.store.lookup import ENSEMBLE
from tradingbot_exp.tracking.store.places import run_page

OWN_KINDS = ("training", "trial", "study", ENSEMBLE)
"""Of ``run.kind``: runs that record their code, data and command."""
_STATUS: dict[str, tuple[str, Tone]] = {
    "FINISHED": ("finished", "good"),
    "RUNNING": ("running", "warning"),
    "SCHEDULED": ("waiting", "warning"),
    "FAILED": ("failed", "bad"),
    "KILLED": ("interrupted", "bad"),
}


def number_cell(value: float | None, form: Callable[[float | None], str], tone: Tone = "plain") -> Cell:
    """Show a number in a form, and sort by the number itself; one that is missing or NaN is muted and sorts last."""
    if value is None or math.isnan(value):
        return Cell(MISSING, tone="muted")
    return Cell(form(value), sort=value, tone=tone)


def count_cell(number: int | None) -> Cell:
    """Show a count, and sort by it; one that is missing is muted and sorts last."""
    return Cell(MISSING, tone="muted") if number is None else Cell(f"{number:,}", sort=number)


def text_cell(text: object, missing: str = MISSING) -> Cell:
    """Show a text; what stands for one that is missing or empty is muted."""
    return Cell(str(text)) if text else Cell(missing, tone="muted")


def numbers_of(column: pd.Series[Any]) -> NDArray[np.float64]:
    """Read a column of a table as numbers; what is none becomes NaN."""
    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


def header_facts(run: RunRecord) -> list[tuple[str, Cell]]:
    """Return the line below the title: status, experiment, start, duration."""
    took = Cell("still running", tone="warning") if run.status == "RUNNING" else number_cell(run.seconds, duration)
    return [
        ("Status", _ending_cell(run)),
        ("Experiment", Cell(run.experiment or MISSING)),
        ("Started", Cell(moment(run.started), sort=run.started.timestamp())),
        ("Took", took),
    ]


def _ending_cell(run: RunRecord) -> Cell:
    """Show a run's status, and of a trial how it ended for its study, where that says more."""
    state = run.tags.get("trial.state")
    if run.status != "FINISHED" or state in (None, "complete"):
        return status_cell(run.status)
    return Cell(f"{state} by its study" if state == "pruned" else str(state), tone="warning")


def status_cell(status: str) -> Cell:
    """Show a run's status in a word."""
    word, tone = _STATUS.get(status, (status.lower() or "unknown", "plain"))
    return Cell(word, tone=tone)


def run_link(run: RunRecord, other_id: str) -> str | None:
    """Return the address of a run's page, in the experiment of `run`; None where the store is no server."""
    served = run.store.startswith(("http://", "https://"))
    return run_page(run.store, run.experiment_id, other_id) if served else None


def problem_notices(artifacts: Artifacts) -> list[Notice]:
    """Name the artifacts that are there and cannot be read."""
    return [Notice(f"Not readable, and so left out: {problem}") for problem in artifacts.problems]


def best_epoch(curve: Curve) -> int | None:
    """Return the first epoch with the lowest finite value; None without one."""
    finite = [(value, step) for step, value in zip(curve.steps, curve.values, strict=True) if math.isfinite(value)]
    return min(finite)[1] if finite else None
