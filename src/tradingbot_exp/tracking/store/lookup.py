"""Finding the run that a person means: by an id, the beginning of one, ``latest``, or a registered model."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradingbot_exp.errors import RunError
from tradingbot_exp.tracking.store.registry import CHAMPION, is_model, run_of_model
from tradingbot_exp.tracking.store.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

LATEST = "latest"
TEST_RUN, BACKTEST_RUN = "test_evaluation", "backtest"
"""Values of the tag ``run.kind`` of runs that judge the forecasts of another run."""
REFIT, ENSEMBLE = "refit", "ensemble"
"""Those of runs that train a configuration on all bars, and that have the mean of a study's best trials."""
# What somebody may mean by "the latest run"; a comparison with a tag passes over runs that do not have it.
_HIDDEN = ("trial", "null_study", TEST_RUN, BACKTEST_RUN, REFIT, ENSEMBLE)
_SHOWN = " and ".join(f"tags.`run.kind` != '{kind}'" for kind in _HIDDEN)
# Nested runs are parts of another one.
_FOREIGN = "tags.`run.kind` IS NULL and tags.`mlflow.parentRunId` IS NULL"


def find_run(store: Store, text: str, kinds: Sequence[str] | None = None) -> Run:
    """Find the run that `text` means.

    Parameters
    ----------
    store : Store
    text : str
        A run id, the beginning of one, or ``latest``: the one that started last, in the experiment
        `MLFLOW_EXPERIMENT_NAME` if that is set; or a registered model, ``models:/NAME@champion`` or
        ``models:/NAME/3``, for the run that it is of.
    kinds : sequence of str, optional
        Of which kinds ``latest`` may be; any that is not hidden by default. An id is found whatever its kind.

    Raises
    ------
    RunError
        None, or several, or a deleted one.
    """
    word = str(text).strip()
    if is_model(word):
        word = run_of_model(store, word)
    if word == LATEST:
        return _latest(store, kinds)
    if not re.fullmatch(r"[0-9a-zA-Z_-]{1,64}", word):
        raise RunError(
            f"'{text}' is not a run id: expected an id, the first letters of one, '{LATEST}', or a registered model, "
            f"models:/NAME@{CHAMPION}."
        )
    found = _by_prefix(store, word)
    exact = [run for run in found if run.info.run_id == word]
    alive = exact or [run for run in found if run.info.lifecycle_stage == "active"]
    if len(alive) > 1:
        ids = ", ".join(f"{run.info.run_id[:12]} ({run.info.run_name})" for run in alive[:4])
        raise RunError(f"'{word}' is the beginning of {len(alive)} run ids: {ids}, … Give more of its letters.")
    if not alive and not found:
        raise RunError(
            f"There is no run '{word}' in {store.shown}. Give the id of one that is there, the first letters of it, or "
            f"'{LATEST}'."
        )
    run = (alive or found)[0]
    if run.info.lifecycle_stage != "active":
        raise RunError(
            f"The run {run.info.run_id} ({run.info.run_name}) was deleted. Restore it with `mlflow runs restore "
            f"--run-id {run.info.run_id}`."
        )
    return run


def _by_prefix(store: Store, word: str) -> list[Run]:
    literal = word.replace("_", "\\_")
    found = store.search(f"attributes.run_id LIKE '{literal}%'", store.experiments(), deleted=True, most=50)
    return [run for run in found if run.info.run_id.startswith(word)]


def _latest(store: Store, kinds: Sequence[str] | None) -> Run:
    """Return the run that started last among those that may be meant."""
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME")
    queries = [_SHOWN] if kinds is None else [f"tags.`run.kind` = '{kind}'" if kind else _FOREIGN for kind in kinds]
    where = store.experiments(experiment)
    newest = [run for query in queries for run in store.search(query, where, newest_first=True, most=1)]
    if newest:
        return max(newest, key=lambda run: run.info.start_time or 0)
    what = (" or ".join(kind for kind in kinds if kind) + " run" * ("training" in kinds)) if kinds else "run"
    raise RunError(f"There is no {what} in {store.shown} yet{f', experiment {experiment}' if experiment else ''}.")
