"""The matrices of a study's validation bars: a row a date, a column a trial, of net returns and of forecasts.

A third has what each trial knew before these bars: a row a fold and sum.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from optuna.trial import TrialState

from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.hpo.results.bars import BARS_FILE, BEFORE, FORECASTS, RETURNS, Kept, load_bars
from tradingbot_exp.tracking.run_names import trial_name
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.store.store import Store

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tradingbot_exp.hpo.study import StudySession

log = logging.getLogger(__name__)

MATRIX_FOLDER = "evaluation"
"""Where the matrices are among the parent run's artifacts."""


def trial_matrices(session: StudySession, trials: Sequence[FrozenTrial]) -> dict[Kept, pd.DataFrame]:
    """Give the bars × trials matrices.

    Returns
    -------
    dict of Kept to DataFrame of shape (bars, trials)
        Simple returns (float64), and forecasts in the target's unit (float32), a row a date on which any trial has
        one, and a column a configuration: a complete trial that is no duplicate, named by its number. NaN where a
        trial has no value. Trials whose folders are not on this machine are taken from what an earlier start, or
        another machine, has put on the parent run; those that left nothing that can be read have no column.
    """
    wanted = [
        trial.number
        for trial in trials
        if trial.state == TrialState.COMPLETE and "duplicate_of" not in trial.user_attrs
    ]
    index = load_data(session.config).index
    found: dict[str, dict[str, pd.Series]] = {}
    for number in wanted:
        folder = session.folder / trial_name(number)
        try:
            found[str(number)] = load_bars(folder, index)
        except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            saved = folder / BARS_FILE
            log.warning("What trial %d left of its bars cannot be read from %s: %s", number, saved, error)
    return {
        kept: _matrix(session, [str(number) for number in wanted], found, kept) for kept in (RETURNS, FORECASTS, BEFORE)
    }


def _matrix(
    session: StudySession, wanted: Sequence[str], found: Mapping[str, Mapping[str, pd.Series]], kept: Kept
) -> pd.DataFrame:
    columns = {name: bars[kept.field] for name, bars in found.items() if kept.field in bars}
    missing = [name for name in wanted if name not in columns]
    if missing:
        recorded = _recorded(session, kept)
        columns |= {name: recorded[name].dropna() for name in missing if name in recorded}
    return pd.DataFrame(columns)[[name for name in wanted if name in columns]].sort_index()


def _recorded(session: StudySession, kept: Kept) -> pd.DataFrame:
    """Read the matrix that is on the parent run already; an empty one if there is none."""
    store = Store(session.organizer.connect()[0], session.organizer.config.tracking.uri)
    with wrapped(f"The {kept.field}s of earlier trials cannot be read"):
        run = store.run(session.parent.run_id)
        found = store.artifact(run, f"{MATRIX_FOLDER}/{kept.name}", pd.read_parquet)
    return pd.DataFrame() if found is None else found
