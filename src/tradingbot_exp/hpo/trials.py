"""The trials of a study in Optuna's storage: which count, which are under way, and how one is brought to its end."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from tradingbot_exp.hpo.journal import transaction
from tradingbot_exp.hpo.samplers import KILLED, POINT, RETRY_OF, START, SURPLUS, UNDRAWN
from tradingbot_exp.runtime.process import is_alive
from tradingbot_exp.tracking.run_names import FINISHED_STATES, INTERRUPTED

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

STATES = dict(zip((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL), FINISHED_STATES, strict=True))
"""What the states of trials that count are called."""
# A point at which so many processes died is not tried again, or it might never let the study go on.
MAX_DEATHS = 5


class Trials:
    """The trials of one study.

    Parameters
    ----------
    study : optuna.Study
    parameters : int
        How many parameters a trial has once its point is drawn.

    Attributes
    ----------
    mine : dict of int to str
        Trials that this process is working on, by number, with the ids of their runs; empty until a run is open.
    """

    def __init__(self, study: Study, parameters: int) -> None:
        self.study, self._parameters = study, parameters
        self.mine: dict[int, str] = {}

    def counting(self) -> list[FrozenTrial]:
        """Return the trials that count or may come to count, by number."""
        return counting(self.study)

    def done(self) -> list[FrozenTrial]:
        """Return the trials that count."""
        return [trial for trial in self.counting() if trial.state.is_finished()]

    def running(self) -> list[FrozenTrial]:
        """Return the trials that are under way, here or elsewhere."""
        return [trial for trial in self.counting() if trial.state == TrialState.RUNNING]

    def failed(self) -> list[FrozenTrial]:
        """Return the trials that count as failed."""
        return [trial for trial in self.counting() if trial.state == TrialState.FAIL]

    def since_better(self) -> int:
        """Count the trials that ended since the best one, or since one came into the Pareto front."""
        first: dict[tuple[float, ...], int] = {}  # of each value that is in front
        for trial in best_or_front(self.study):
            values = tuple(trial.values)
            first[values] = min(trial.number, first.get(values, trial.number))
        best = max(first.values(), default=-1)
        return sum(trial.number > best for trial in self.done())

    def duplicate(self, number: int, encoded: dict[str, Any]) -> FrozenTrial | None:
        """Find an earlier trial at the same point whose value is, or will be, known."""
        for other in self.counting():
            if other.number >= number or other.params != encoded:
                continue
            if other.state in (TrialState.COMPLETE, TrialState.RUNNING):
                return other
        return None

    def finish(self, number: int, state: TrialState, values: list[float] | None) -> None:
        """Tell the study how a trial ended."""
        self.mine.pop(number, None)
        # Another process may have imported the result in this very moment, from the run that has ended.
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            self.study.tell(number, values, state, skip_if_finished=True)

    def interrupt(self, number: int, why: str) -> None:
        """Take a trial out of the count. The point of one that was killed is tried again, if it was drawn.

        One that is out of the count already, but is not told so, is brought to its end.
        """
        self.mine.pop(number, None)
        # Another process may be first.
        with transaction(self.study._storage), suppress(optuna.exceptions.UpdateFinishedTrialError):
            trial = self.frozen(number)
            if trial.state.is_finished():
                return
            point = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            if why == KILLED and len(point) < self._parameters:
                why = UNDRAWN
            self.study._storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, why)
            asked_for = bool({POINT, START} & trial.user_attrs.keys())
            if why == KILLED or (asked_for and why in (SURPLUS, UNDRAWN)):
                self._try_again(trial, point)
            self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def _try_again(self, trial: FrozenTrial, point: dict[str, Any]) -> None:
        """Enqueue a trial's point once more, unless that is done."""
        if any(other.user_attrs.get(RETRY_OF) == trial.number for other in self.study.get_trials(deepcopy=False)):
            return
        if self._deaths(trial) >= MAX_DEATHS:
            log.warning("%d processes died at the point of trial %d: it is given up", MAX_DEATHS, trial.number)
            return
        place = {name: trial.user_attrs[name] for name in (POINT, START) if name in trial.user_attrs}
        self.study.enqueue_trial(point, user_attrs={RETRY_OF: trial.number, **place})

    def _deaths(self, trial: FrozenTrial) -> int:
        """Count the trials at the same point whose processes died, this one included."""
        found = self.study.get_trials(deepcopy=False)
        return sum(other.user_attrs.get(INTERRUPTED) == KILLED and other.params == trial.params for other in found)

    def frozen(self, number: int) -> FrozenTrial:
        """Return a trial as it is now."""
        return self.study.get_trials(deepcopy=False)[number]

    def others_at_work(self) -> bool:
        """Tell whether another process is working on a trial of this study."""
        return any(
            trial.number not in self.mine and is_alive(trial.user_attrs.get("owner") or {}) for trial in self.running()
        )


def counting(study: Study) -> list[FrozenTrial]:
    """Return the trials that count or may come to count, by number."""
    found = study.get_trials(deepcopy=False)
    return [trial for trial in found if not trial.user_attrs.get(INTERRUPTED) and trial.state != TrialState.WAITING]


def best_or_front(study: Study, ensemble: int = 1) -> list[FrozenTrial]:
    """Return the trials whose artifacts are wanted: the best one or, of several objectives, the Pareto front.

    And, of an ensemble of several trials, its members.
    """
    best = best_trials(study)
    found = best if len(study.directions) > 1 else best[:1]
    if ensemble == 1:
        return found
    numbers = {trial.number for trial in found}
    return found + [trial for trial in best_distinct(study, ensemble) if trial.number not in numbers]


def best_distinct(study: Study, count: int) -> list[FrozenTrial]:
    """Return so many of the complete trials that differ: the winner, and those that are best in the first objective."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = 1.0 if study.directions[0] == optuna.study.StudyDirection.MINIMIZE else -1.0
    # Of trials at one point the first is meant, which has its artifacts.
    own = [trial for trial in complete if "duplicate_of" not in trial.user_attrs]
    winner = next((trial.user_attrs.get("duplicate_of", trial.number) for trial in best_trials(study)), None)

    def place(trial: FrozenTrial) -> tuple[bool, float, int]:
        return trial.number != winner, sign * float(trial.values[0]), trial.number

    return sorted(own, key=place)[:count]


def best_trials(study: Study) -> list[FrozenTrial]:
    """Return the complete trials, best first; of several objectives the Pareto front, by the first of them.

    The first of them is a study's winner: it is judged, tagged, kept, registered and evaluated.
    """
    several = len(study.directions) > 1
    trials = study.best_trials if several else study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    signs = [1.0 if way == optuna.study.StudyDirection.MINIMIZE else -1.0 for way in study.directions]

    def cost(trial: FrozenTrial) -> tuple[list[float], int]:
        return [sign * float(value) for sign, value in zip(signs, trial.values, strict=True)], trial.number

    return sorted(trials, key=cost)
