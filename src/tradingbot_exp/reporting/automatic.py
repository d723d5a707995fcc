"""The report at the end of a run or a study, which is never a reason to fail."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TradingBotError
from tradingbot_exp.reporting.reporter import ExperimentReporter
from tradingbot_exp.runtime.text import own_command
from tradingbot_exp.tracking.store.places import is_same_store
from tradingbot_exp.tracking.store.store import default_uri

if TYPE_CHECKING:
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)


def report_at_end(kind: str, run: TrackedRun) -> Path | None:
    """Report on a run that has just been closed, or warn why not and how to make the report later.

    Parameters
    ----------
    kind : {"training", "hpo"}
    run : TrackedRun
        One whose records wait on disk, since MLflow did not take them, has no report yet.

    Returns
    -------
    Path or None
        Where the report is.
    """
    if run.delivery.failure is not None:
        return None
    try:
        reporter = ExperimentReporter(run.uri)
        make = reporter.generate_training_report if kind == "training" else reporter.generate_hpo_report
        return make(run.run_id)
    except Exception as error:
        why = str(error) if isinstance(error, TradingBotError) else f"{type(error).__name__}: {error}"
        store = () if is_same_store(run.uri, default_uri()) else ("--tracking-uri", redact(run.uri))
        log.warning(
            "The report could not be made: %s. To make it again: %s",
            redact(why.rstrip(".")),
            own_command("report", kind, run.run_id, *store),
        )
        return None
