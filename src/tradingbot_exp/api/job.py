"""What a job of Hydra's does: it trains one configuration, alone, in a sweep, or as the trial of a study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tradingbot_exp.config.finalize import finalize
from tradingbot_exp.experiment.handover import handed_over
from tradingbot_exp.experiment.resume import find_resume_point
from tradingbot_exp.experiment.steps import run_in
from tradingbot_exp.hpo.trial_run import run_trial
from tradingbot_exp.hpo.trial_spec import TRIAL_VARIABLE, TrialSpec
from tradingbot_exp.tracking.writing.active import current_run
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer


def run_job(composed: DictConfig, overrides: Sequence[str], folder: Path) -> Any:
    """Train, evaluate and record one configuration: the body of the Hydra task.

    Parameters
    ----------
    composed : DictConfig
        What Hydra composed.
    overrides : sequence of str
        The command line's.
    folder : Path
        The job's own.

    Returns
    -------
    float, list of float, or Pruned
        The value of `hpo.metric`; for a trial of a study, see `tradingbot_exp.hpo.trial_run.run_trial`.
    """
    config = handed_over() or finalize(composed, overrides)
    run = current_run()
    spec = os.environ.get(TRIAL_VARIABLE)
    if spec is not None and run is not None:
        return run_trial(config, run, TrialSpec.loads(spec), folder)
    if run is not None:
        return run_in(config, overrides, run)
    resume_point = find_resume_point(config, overrides)
    with ExperimentOrganizer(config).start_run(resume_point=resume_point) as own:
        return run_in(config, overrides, own)
