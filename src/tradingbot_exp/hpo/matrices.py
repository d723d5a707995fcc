"""The matrices of a study's validation bars: a row a date, a column a trial, of net returns and of forecasts."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from optuna.trial import TrialState

from tradingbot_exp.experiment import load_data
from tradingbot_exp.hpo.job import FORECASTS_FILE, RETURNS_FILE
from tradingbot_exp.tracking.store import wrapped

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tradingbot_exp.hpo.session import StudySession

log = logging.getLogger(__name__)

MATRIX_FOLDER = "evaluation"
"""Where the matrices are among the parent run's artifacts."""


class Kept(NamedTuple):
    """What trials leave of each bar: a file in their folders, its field, and the name of the matrix."""

    file: str
    field: str
    name: str


RETURNS = Kept(RETURNS_FILE, "return", "trial_returns.parquet")
FORECASTS = Kept(FORECASTS_FILE, "forecast", "trial_forecasts.parquet")


def trial_matrix(session: StudySession, trials: Sequence[FrozenTrial], kept: Kept) -> pd.DataFrame:
    """Give a bars × trials matrix.

    Returns
    -------
    DataFrame of shape (bars, trials)
        Simple returns (float64), or forecasts in the target's unit (float32), a row a date on which any trial has
        one, and a column a configuration: a complete trial that is no duplicate, named by its number. NaN where a
        trial has no value. Trials whose folders are not on this machine are taken from what an earlier start, or
        another machine, has put on the parent run; those that left nothing that can be read have no column.
    """
    wanted = [
        trial.number
        for trial in trials
        if trial.state == TrialState.COMPLETE and "duplicate_of" not in trial.user_attrs
    ]
    columns: dict[str, pd.Series] = {}
    for number in wanted:
        saved = session.folder / f"trial-{number:04d}" / kept.file
        if saved.is_file():
            try:
                columns[str(number)] = dated(np.load(saved), load_data(session.config).index)
            except (ValueError, EOFError) as error:
                log.warning("What trial %d left of its bars cannot be read from %s: %s", number, saved, error)
    missing = [str(number) for number in wanted if str(number) not in columns]
    if missing:
        recorded = _recorded(session, kept)
        columns |= {name: recorded[name].dropna() for name in missing if name in recorded}
    matrix = pd.DataFrame(columns)
    return matrix[[str(number) for number in wanted if str(number) in columns]].sort_index()


def dated(saved: np.ndarray, index: pd.DatetimeIndex) -> pd.Series:
    """Give a trial's bars the dates that they were saved with, in the data's time zone."""
    date, field = saved.dtype.names or ("", "")
    dates = pd.DatetimeIndex(saved[date]).as_unit(index.unit)
    if index.tz is not None:
        dates = dates.tz_localize("UTC").tz_convert(index.tz)
    return pd.Series(saved[field], dates.rename(index.name))


def _recorded(session: StudySession, kept: Kept) -> pd.DataFrame:
    """Read the matrix that is on the parent run already; an empty one if there is none."""
    client, run_id = session.organizer.connect()[0], session.parent.run_id
    path = f"{MATRIX_FOLDER}/{kept.name}"
    with wrapped(f"The {kept.field}s of earlier trials cannot be read"):
        if path not in [found.path for found in client.list_artifacts(run_id, MATRIX_FOLDER)]:
            return pd.DataFrame()
        with tempfile.TemporaryDirectory() as scratch:
            return pd.read_parquet(client.download_artifacts(run_id, path, scratch))
