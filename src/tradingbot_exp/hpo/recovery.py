"""Trials whose processes are gone: their results are taken from MLflow, or their points are tried again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from tradingbot_exp.hpo.samplers import KILLED
from tradingbot_exp.hpo.study import UNSIGNED_SECONDS
from tradingbot_exp.hpo.trials import Trials
from tradingbot_exp.runtime.process import is_alive
from tradingbot_exp.tracking.run_names import FINISHED_STATES, INTERRUPTED
from tradingbot_exp.tracking.writing.trial_runs import Child, TrialRuns

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Recovery:
    """Reconciles the trials of dead processes in Optuna with their runs in MLflow.

    Parameters
    ----------
    trials : Trials
    trial_runs : TrialRuns
        The trials' MLflow runs.
    salvage : callable
        Called before any is reconciled: what dead processes had written down is sent.
    """

    def __init__(self, trials: Trials, trial_runs: TrialRuns, salvage: Callable[[], object]) -> None:
        self._trials, self._trial_runs, self._salvage = trials, trial_runs, salvage
        # When this process first saw a trial that nobody had signed; other machines' clocks may differ.
        self._unsigned: dict[int, float] = {}

    def recover(self) -> bool:
        """Import results that MLflow has of stale trials, try the others again; tell if there were any."""
        for trial in self._trials.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.user_attrs.get(INTERRUPTED):  # whoever took it out of the count died before it could say so
                self._trials.interrupt(trial.number, trial.user_attrs[INTERRUPTED])
        stale = [trial for trial in self._trials.running() if trial.number not in self._trials.mine]
        if stale:
            self._salvage()
        for trial in stale:
            owner = trial.user_attrs.get("owner")
            if owner is None:
                seen = self._unsigned.setdefault(trial.number, time.monotonic())
                if time.monotonic() - seen > UNSIGNED_SECONDS:
                    self._trials.interrupt(trial.number, KILLED)
                continue
            child = self._trial_runs.find(trial.user_attrs.get("run_id"), trial.number)
            if child is not None and child.has_ended:
                self._import_result(trial, child.state, child.values)
            elif not is_alive(child.owner if child is not None else owner):
                self._close(trial, child)
        return bool(stale)

    def _close(self, trial: FrozenTrial, child: Child | None) -> None:
        """Close a trial whose process died: by its result, if that was written in time."""
        if child is not None and child.state in FINISHED_STATES:
            self._trial_runs.close(child)
            self._import_result(trial, child.state, child.values)
            return
        if child is not None:
            self._trial_runs.kill(child.run_id)
        self._trials.interrupt(trial.number, KILLED)

    def _import_result(self, trial: FrozenTrial, state: str, values: list[float] | None) -> None:
        """Tell Optuna what MLflow knows already."""
        if state == "complete" and values and all(math.isfinite(value) for value in values):
            self._trials.finish(trial.number, TrialState.COMPLETE, values)
        elif state == "pruned":
            self._trials.finish(trial.number, TrialState.PRUNED, None)
        elif state in {"failed", "complete"}:  # complete without a finite value
            self._trials.finish(trial.number, TrialState.FAIL, None)
        else:  # closed by somebody before it had a result
            self._trials.interrupt(trial.number, KILLED)

    def reconcile(self, number: int) -> None:
        """Take the result of a trial whose job is over, if its run has one; else close it as interrupted."""
        trial = self._trials.frozen(number)
        child = self._trial_runs.find(self._trials.mine.get(number) or trial.user_attrs.get("run_id"), number)
        if child is not None and child.has_ended:
            self._import_result(trial, child.state, child.values)
        else:
            self._close(trial, child)
