"""The run of a study in MLflow: opened, or found again, and told once what all trials share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tradingbot_exp.data.identity import market_returns
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.evaluation.leakage.gate import check_leaks
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.experiment.job import build
from tradingbot_exp.experiment.recording import identifying_tags, record_run_context
from tradingbot_exp.hpo.study import prior_of, wait_for
from tradingbot_exp.runtime.process import identity
from tradingbot_exp.tracking.reading.openings import tell_of_openings
from tradingbot_exp.tracking.run_names import SAMPLER_TAG, study_run_name
from tradingbot_exp.tracking.store.kinds import DELIVERED, MEMBERS
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.outbox.unsent import unsent_folder
from tradingbot_exp.tracking.writing.run import TrackedRun

if TYPE_CHECKING:
    from tradingbot_exp.hpo.study import Study
    from tradingbot_exp.tracking.store.store import Store
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

# What an earlier start's end left on the parent run, and a new start makes untrue.
_STALE_TAGS = {"error", "study.stopped_early", DELIVERED, MEMBERS}


def open_parent(study: Study, organizer: ExperimentOrganizer, store: Store, *, is_worker: bool = False) -> TrackedRun:
    """Open the study's run, or the one that an earlier start opened, and see that it is complete.

    To a worker it is open already, and is not its own.

    Raises
    ------
    TrackingError
        The run that the study was recorded in is not there any more.
    DataError
        A feature knows its future.
    """
    known = None if study.is_new else wait_for(study.optuna, "parent_run_id")
    parent_id = None if study.is_new else known or _lost_parent(study, organizer, store)
    run = organizer.open_study(study.name) if parent_id is None else _find_parent(study.name, parent_id, store)
    try:
        if run.delivery.found is not None and not is_worker:
            store.reopen(run.delivery.found, _STALE_TAGS)
            run.set_tags(identity())
        if known is None:
            study.optuna.set_user_attr("parent_run_id", run.run_id)
        check_leaks(load_data(study.config))
        if study.is_new or not wait_for(study.optuna, "recorded"):
            _record_once(study, run, store)
            study.optuna.set_user_attr("recorded", True)
    except BaseException as error:
        if not is_worker:
            organizer.close_run(run, error)
        raise
    return run


def _lost_parent(study: Study, organizer: ExperimentOrganizer, store: Store) -> str | None:
    """Find the run of a process that died before it could tell the study about it."""
    _, experiment_id = organizer.connect()
    # MLflow's language has no way to write an apostrophe; `_` stands for any letter.
    query = f"tags.`run.kind` = 'study' and tags.`study.name` LIKE '{study.name.replace(chr(39), '_')}'"
    for run in store.search(query, [experiment_id], newest_first=True):
        tags = run.data.tags
        here = tags.get("study.storage", study.shown_address) == study.shown_address
        if here and tags.get("study.name") == study.name:
            return str(run.info.run_id)
    return None


def _find_parent(name: str, parent_id: str, store: Store) -> TrackedRun:
    try:
        found = store.run(parent_id)
    except TrackingError as error:
        raise TrackingError(
            f"The run {parent_id} of the study {name} is not in {store.shown}. Use the store that the study "
            "was started with, or start afresh with hpo.resume=false."
        ) from error
    if found.info.lifecycle_stage != "active":
        raise TrackingError(
            f"The run {parent_id} of the study {name} was deleted. Restore it with `mlflow runs restore "
            f"--run-id {parent_id}`, or start afresh with hpo.resume=false."
        )
    return TrackedRun(Delivery.attach(store.client, found, unsent_folder(), store.uri), study_run_name(name))


def _record_once(study: Study, run: TrackedRun, store: Store) -> None:
    """Record what all trials share, unless an earlier start got that far."""
    if "study.recorded" in store.run(run.run_id).data.tags:
        return
    job = build(study.config, run)
    tags = identifying_tags(job.config, job.data)
    run.set_tags({**tags, **identity()})
    tell_of_openings(run, tags, market_returns(job.data))
    job.logger.log_config(job.config, study.overrides)
    record_run_context(job)
    run.log_text(json.dumps(study.space.describe(), indent=2) + "\n", "study/search_space.json")
    sampler, storage = study.config.hpo.sampler, study.shown_address
    prior = prior_of(study.optuna, study.space)
    tags = {SAMPLER_TAG: sampler, "study.storage": storage, "study.prior": prior and prior.run_id}
    run.set_tags({**tags, "study.recorded": True})
