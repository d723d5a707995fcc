"""The run of a study in MLflow: opened, or found again, and told once what all trials share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.data.identity import market_returns
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.evaluation.leakage.gate import check_leaks
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.experiment.job import build
from tradingbot_exp.experiment.recording import identifying_tags, record_run_context
from tradingbot_exp.runtime.process import identity
from tradingbot_exp.tracking.reading.openings import tell_of_openings
from tradingbot_exp.tracking.run_names import SAMPLER_TAG, study_run_name
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.writing.outbox.delivery import Delivery
from tradingbot_exp.tracking.writing.outbox.unsent import unsent_folder
from tradingbot_exp.tracking.writing.run import TrackedRun

if TYPE_CHECKING:
    from tradingbot_exp.hpo.study import Study
    from tradingbot_exp.tracking.store.types import Run
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

# What an earlier start's end left on the parent run, and a new start makes untrue.
_STALE_TAGS = {"error", "study.stopped_early"}


def open_parent(study: Study, organizer: ExperimentOrganizer) -> TrackedRun:
    """Open the study's run, or the one that an earlier start opened, and see that it is complete.

    Raises
    ------
    TrackingError
        The run that the study was recorded in is not there any more.
    DataError
        A feature knows its future.
    """
    known = study.optuna.user_attrs
    parent_id = None if study.is_new else study.wait_for("parent_run_id") or _lost_parent(study, organizer)
    found: Run | None = None
    if parent_id is None:
        run = organizer.open_study(study.name)
    else:
        found, run = _find_parent(study.name, parent_id, organizer)
    try:
        if found is not None:
            _reopen(found, organizer)
        if known.get("parent_run_id") is None:
            study.optuna.set_user_attr("parent_run_id", run.run_id)
        check_leaks(load_data(study.config))
        if study.is_new or not study.wait_for("recorded"):
            _record_once(study, run, organizer)
            study.optuna.set_user_attr("recorded", True)
    except BaseException as error:
        organizer.close_run(run, error)
        raise
    return run


def _lost_parent(study: Study, organizer: ExperimentOrganizer) -> str | None:
    """Find the run of a process that died before it could tell the study about it."""
    client, experiment_id = organizer.connect()
    query = f"tags.`run.kind` = 'study' and tags.`study.name` = '{study.name}'"
    with wrapped("The study's run cannot be looked for"):
        for run in client.search_runs([experiment_id], query):
            if run.data.tags.get("study.storage", study.shown_address) == study.shown_address:
                return str(run.info.run_id)
    return None


def _find_parent(name: str, parent_id: str, organizer: ExperimentOrganizer) -> tuple[Run, TrackedRun]:
    client, _ = organizer.connect()
    uri = organizer.config.tracking.uri
    try:
        found = client.get_run(parent_id)
    except Exception as error:
        raise TrackingError(
            f"The run {parent_id} of the study {name} is not in {redact(uri)}. Use the store that the study "
            "was started with, or start afresh with hpo.resume=false."
        ) from error
    if found.info.lifecycle_stage != "active":
        raise TrackingError(
            f"The run {parent_id} of the study {name} was deleted. Restore it with `mlflow runs restore "
            f"--run-id {parent_id}`, or start afresh with hpo.resume=false."
        )
    delivery = Delivery.attach(client, parent_id, unsent_folder(), uri)
    return found, TrackedRun(delivery, study_run_name(name))


def _reopen(parent: Run, organizer: ExperimentOrganizer) -> None:
    """Let the study's run go on, in the name of this process."""
    client, run_id = organizer.connect()[0], parent.info.run_id
    client.update_run(run_id, status="RUNNING")
    for name in _STALE_TAGS & set(parent.data.tags):
        client.delete_tag(run_id, name)
    for name, value in identity().items():
        client.set_tag(run_id, name, value)


def _record_once(study: Study, run: TrackedRun, organizer: ExperimentOrganizer) -> None:
    """Record what all trials share, unless an earlier start got that far."""
    client, _ = organizer.connect()
    if "study.recorded" in client.get_run(run.run_id).data.tags:
        return
    job = build(study.config, run)
    tags = identifying_tags(job.config, job.data)
    run.set_tags({**tags, **identity()})
    tell_of_openings(run, tags, market_returns(job.data))
    job.logger.log_config(job.config, study.overrides)
    record_run_context(job)
    run.log_text(json.dumps(study.space.describe(), indent=2) + "\n", "study/search_space.json")
    sampler, storage = study.config.hpo.sampler, study.shown_address
    run.set_tags({SAMPLER_TAG: sampler, "study.storage": storage, "study.recorded": True})
