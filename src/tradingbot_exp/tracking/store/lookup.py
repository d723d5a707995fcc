"""Finding what is there: the store that a person means, and the run behind an id, ``latest`` or a registered model."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tradingbot_exp.errors import RunError
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.store.registry import CHAMPION, is_model, run_of_model
from tradingbot_exp.tracking.store.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

LATEST = "latest"
# Never what somebody means by "the latest run".
HIDDEN_KINDS = ("trial", "null_study", "test_evaluation")
_STUDY_KINDS = ("study", "sweep", "null_study")
_PAGE = 1000


def find_run(
    store: Store,
    text: str,
    kinds: Sequence[str] | None = None,
    experiment: str | None = None,
) -> Run:
    """Find the run that `text` means.

    Parameters
    ----------
    store : Store
    text : str
        A run id, the beginning of one, or ``latest``: the one that started last; or a registered model,
        ``models:/NAME@champion`` or ``models:/NAME/3``, for the run that it is of.
    kinds : sequence of str, optional
        Of which kinds ``latest`` may be; any that is not hidden by default. An id is found whatever its kind.
    experiment : str, optional
        Where to look; else `MLFLOW_EXPERIMENT_NAME` for ``latest``, else everywhere.

    Raises
    ------
    RunError
        None, or several, or a deleted one.
    """
    word = str(text).strip()
    if is_model(word):
        word = run_of_model(store, word)
    if word == LATEST:
        return _latest(store, kinds, experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME"))
    if not re.fullmatch(r"[0-9a-zA-Z_-]{1,64}", word):
        raise RunError(
            f"'{text}' is no run id: expected an id, the first letters of one, '{LATEST}', or a registered model, "
            f"models:/NAME@{CHAMPION}."
        )
    found = _by_prefix(store, word, experiment)
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


def _by_prefix(store: Store, word: str, experiment: str | None) -> list[Run]:
    from mlflow.entities import ViewType

    with wrapped(f"The runs in {store.shown} cannot be read"):
        where = list(store.experiments(experiment))
        literal = word.replace("_", "\\_")
        found = store.client.search_runs(where, f"attributes.run_id LIKE '{literal}%'", ViewType.ALL, max_results=50)
        return [run for run in found if run.info.run_id.startswith(word)]


def _latest(store: Store, kinds: Sequence[str] | None, experiment: str | None) -> Run:
    """Give the run that started last among those that may be meant, page by page."""
    where = list(store.experiments(experiment))
    filters = " and ".join(f"tags.`run.kind` != '{kind}'" for kind in HIDDEN_KINDS)
    if kinds and len(kinds) == 1:
        filters = f"tags.`run.kind` = '{kinds[0]}'"
    found = _newest(store, where, filters, lambda run: kinds is None or run.data.tags["run.kind"] in kinds)
    if kinds and "" in kinds:
        # A comparison with a tag passes over runs that do not have it. Nested ones are parts of another run.
        top = _newest(store, where, "tags.`run.kind` IS NULL", lambda run: "mlflow.parentRunId" not in run.data.tags)
        there = [run for run in (found, top) if run is not None]
        found = max(there, key=lambda run: run.info.start_time or 0, default=None)
    if found is not None:
        return found
    what = (" or ".join(kind for kind in kinds if kind) + " run" * ("training" in kinds)) if kinds else "run"
    raise RunError(f"There is no {what} in {store.shown} yet{f', experiment {experiment}' if experiment else ''}.")


def _newest(store: Store, where: Sequence[str], query: str, wanted: Callable[[Run], bool]) -> Run | None:
    """Give the run that started last among those of a query that are wanted."""
    with wrapped(f"The runs in {store.shown} cannot be read"):
        token = None
        while where:
            page = store.client.search_runs(
                list(where), query, max_results=_PAGE, order_by=["attributes.start_time DESC"], page_token=token
            )
            found = next((run for run in page if wanted(run)), None)
            token = page.token
            if found is not None or not token:
                return found
    return None


def require_kind(run: Run, kinds: Sequence[str], what: str) -> None:
    """Refuse a run of the wrong kind, and say which one is right.

    Parameters
    ----------
    run : Run
    kinds : sequence of str
        Of ``run.kind``; a run without that tag, which something else logged, counts as ``training``.
    what : str
        The command's word for what it needs, such as ``a study``.

    Raises
    ------
    RunError
        It is of another kind.
    """
    kind = run.data.tags.get("run.kind") or "training"
    if kind in kinds:
        return
    parent = run.data.tags.get("mlflow.parentRunId")
    named = f"The run {run.info.run_id} ({run.info.run_name}) is a {kind.replace('_', ' ')}, not {what}."
    if kind == "trial" and parent:
        named += f" The study that it belongs to is {parent}."
    elif kind in _STUDY_KINDS and "training" in kinds:
        best = run.data.tags.get("best.run_id")
        named += f" `report hpo {run.info.run_id[:12]}` reports on it" + (
            f"; its best trial is {best}." if best else "."
        )
    elif kind == "training":
        named += f" `report training {run.info.run_id[:12]}` reports on it."
    raise RunError(named)
