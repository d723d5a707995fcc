"""What the runs of a study and of its trials are called, and how a trial's run says what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

ENDED = ("FINISHED", "FAILED", "KILLED")
"""MLflow's statuses of runs that are closed."""
FINISHED_STATES = ("complete", "pruned", "failed")
"""States of trials that a study counts: the job wrote them after all its metrics. Interrupted attempts do not count."""
# The tag that says how a study searched, and its value where that is a program's own affair.
SAMPLER_TAG, OWN_LOOP = "study.sampler", "own loop"
# The state of an attempt that was interrupted, in its run; in Optuna the attribute of the trial that says why.
INTERRUPTED = "interrupted"


def study_run_name(study: str) -> str:
    """Return the name of a study's parent run."""
    return f"hpo-{study}"


def trial_name(number: int) -> str:
    """Return the name of a trial's run, and of its folder."""
    return f"trial-{number:04d}"


def state_of(error: BaseException | None) -> str:
    """Return the state of a trial that ended, by what it raised."""
    if error is None:
        return "complete"
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else "failed"


def is_pruning(error: BaseException | None) -> bool:
    """Tell whether what a loop raised is Optuna's `TrialPruned`, which is no failure."""
    optuna = sys.modules.get("optuna")
    return optuna is not None and isinstance(error, optuna.TrialPruned)


def result_tags(state: str, values: Sequence[float] | None = None) -> dict[str, str]:
    """Return the tags that a job writes when its trial has ended, after all its metrics."""
    tags = {"trial.state": state}
    if values is not None:
        tags["trial.values"] = json.dumps([float(value) for value in values])
    return tags


def status_of(error: BaseException | None) -> str:
    """Return the MLflow status of a run that ended with `error`: FINISHED, FAILED or KILLED."""
    if error is None:
        return "FINISHED"
    return "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
