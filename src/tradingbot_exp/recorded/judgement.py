"""The run that records a judgement of another run: an opening of its test set, or its forecasts under other rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tradingbot_exp.runtime.process import user_name
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.data.identity import Span
    from tradingbot_exp.tracking.store.store import Store
    from tradingbot_exp.tracking.store.types import Run
    from tradingbot_exp.tracking.writing.run import TrackedRun


def judged_tags(judged: Run) -> dict[str, object]:
    """Return the tags that say which run is judged, and of which study it is."""
    study = judged.data.tags.get("mlflow.parentRunId")
    return {"evaluated.run_id": str(judged.info.run_id), "evaluated.study_id": study}


def opening_tags(dates: Span) -> dict[str, object]:
    """Return the tags that say who opens which dates of a test set, and when."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {"opened.by": user_name(), "opened.at": now, "opened.start": dates[0], "opened.end": dates[1]}


@contextmanager
def judgement_run(
    store: Store, judged: Run, data: PreparedData, *, kind: str, name: str, tags: Mapping[str, object]
) -> Iterator[TrackedRun]:
    """Open the run of a judgement in the experiment of the run that is judged, for the length of a ``with`` block.

    Parameters
    ----------
    store : Store
    judged : Run
    data : PreparedData
        Of the run that is judged.
    kind, name : str
    tags : mapping of str to object
        Beside those that say which run, model and data are meant.
    """
    from tradingbot_exp.tracking.writing.logger import EnhancedMLflowLogger

    experiment = store.experiments()[str(judged.info.experiment_id)]
    organizer = ExperimentOrganizer(
        SimpleNamespace(
            experiment=SimpleNamespace(name=experiment, run_name=None, description=None, tags={}),
            tracking=SimpleNamespace(uri=store.uri, on_error="raise"),
        )
    )
    known = judged.data.tags
    given = {
        **judged_tags(judged),
        "data.name": data.name,
        "data.fingerprint": data.fingerprint,
        **{each: known.get(each) for each in ("model.name", "model.version", "config.sha256")},
        **tags,
    }
    named = {key.replace(".", "__"): value for key, value in given.items()}
    with organizer.start_run(name, kind=kind, **named) as run:
        EnhancedMLflowLogger(run).log_environment_details()
        yield run
