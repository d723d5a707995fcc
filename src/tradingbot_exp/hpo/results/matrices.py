"""The matrices of a study's validation bars: a row a date, a column a trial, of net returns and of forecasts.

A third has what each trial knew before these bars: a row a fold and sum.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from optuna.trial import TrialState

from tradingbot_exp.hpo.results.bars import ALL, BARS_FILE, Kept, load_bars
from tradingbot_exp.tracking.run_names import trial_name
from tradingbot_exp.tracking.store.store import Store

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

MATRIX_FOLDER = "evaluation"
"""Where the matrices are among the parent run's artifacts."""


def trial_matrices(
    trials: Sequence[FrozenTrial], folder: Path, index: pd.DatetimeIndex, store: Store, run_id: str
) -> dict[Kept, pd.DataFrame]:
    """Return the bars × trials matrices.

    Parameters
    ----------
    trials : sequence of FrozenTrial
    folder : Path
        The study's.
    index : DatetimeIndex
        Of the data.
    store : Store
    run_id : str
        The study's run, which may have matrices already.

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
    found: dict[str, dict[str, pd.Series]] = {}
    for number in wanted:
        place = folder / trial_name(number)
        try:
            found[str(number)] = load_bars(place, index)
        except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            saved = place / BARS_FILE
            log.warning("What trial %d left of its bars cannot be read from %s: %s", number, saved, error)
    matrices = {}
    for kept in ALL:
        columns = {name: bars[kept.field] for name, bars in found.items() if kept.field in bars}
        missing = [str(number) for number in wanted if str(number) not in columns]
        if missing:
            recorded = _recorded(store, run_id, kept)
            columns |= {name: recorded[name].dropna() for name in missing if name in recorded}
        matrices[kept] = pd.DataFrame(columns)[[name for name in map(str, wanted) if name in columns]].sort_index()
    return matrices


def _recorded(store: Store, run_id: str, kept: Kept) -> pd.DataFrame:
    """Read the matrix that is on the study's run already; an empty one if there is none."""
    found = store.artifact(store.run(run_id), f"{MATRIX_FOLDER}/{kept.name}", pd.read_parquet)
    return pd.DataFrame() if found is None else found
