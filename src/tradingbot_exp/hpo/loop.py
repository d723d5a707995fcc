"""The study's loop: ask, launch, tell; resumed after any kill, shared by any number of processes.

Optuna's storage says which trials there are, MLflow's runs say how each went. A trial counts once it is
complete, pruned or failed; one whose process died is told as failed with the attribute ``interrupted``, does
not count, and its point is tried again as a new trial. Trial numbers are given out by the storage, so the
trials that count are the first `num_trials` of those not interrupted: no further agreement among processes is
needed to end with exactly that many.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from tradingbot_exp.hpo.samplers import INTERRUPTED, ExhaustiveSampler, make_pruner, make_sampler, most_steps
from tradingbot_exp.hpo.storage import transaction
from tradingbot_exp.hpo.trial import Lost, Pruned, Ticket, TrialJob
from tradingbot_exp.runtime.interrupt import signals_held
from tradingbot_exp.runtime.process import is_alive, signature
from tradingbot_exp.tracking.writing.trial_runs import KNOWN, Child, Children

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.hpo.space.space import SearchSpace

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# Why a trial was interrupted, where its point is to be tried again.
KILLED = "killed"
# A trial that nobody has signed yet was asked for just now, or its process died in that moment.
UNSIGNED_SECONDS = 3.0
# A point at which so many processes died is not tried again, or it might never let the study go on.
MAX_DEATHS = 5

# Runs jobs, gives for each its objective, `Pruned`, or the exception that it raised.
Launch = Callable[[Sequence[TrialJob]], Sequence[Any]]


class StudyLoop:
    """Brings a study to `hpo.num_trials` finished trials.

    Parameters
    ----------
    config : Config
        Its `hpo` block.
    space : SearchSpace
    study : optuna.Study
        Created or loaded; sampler and pruner are set here.
    children : Children
        The trials' MLflow runs.
    storage : str
        The storage's address, for jobs that report to it.
    launch : callable
        Runs a batch of jobs.
    report : callable, optional
        Told after each change: the study's finished trials and those running.
    watched : bool
        Whether jobs write their progress down for a terminal.
    batch : int, optional
        Trials to ask for at once; else `hpo.n_jobs`.
    salvage : callable, optional
        Called before trials of dead processes are settled: what those had written down is sent.
    """

    def __init__(
        self,
        config: Config,
        space: SearchSpace,
        study: Study,
        children: Children,
        *,
        storage: str,
        launch: Launch,
        report: Callable[[Sequence[FrozenTrial]], object] = lambda trials: None,
        watched: bool = False,
        batch: int | None = None,
        salvage: Callable[[], object] = lambda: None,
    ) -> None:
        self.config, self.space, self.study, self.children = config, space, study, children
        self._storage, self._launch, self._report, self._watched = storage, launch, report, watched
        self._salvage = salvage
        self.batch = config.hpo.n_jobs if batch is None else batch
        self._mine: dict[int, str] = {}
        # When this process first saw a trial that nobody had signed; other machines' clocks may differ.
        self._unsigned: dict[int, float] = {}
        # The trial whose point was proposed again while it runs: until it ends, the sampler knows no better.
        self._awaited: int | None = None
        self.stopped_early: str | None = None
        self.gave_up = False
        study.sampler = make_sampler(config.hpo, space, config.seed)
        study.pruner = make_pruner(config.hpo.pruner, most_steps(study.user_attrs["definition"]))

    def run(self) -> None:
        """Ask, launch and tell until the study is complete, its grid exhausted, or too many trials failed.

        Raises
        ------
        KeyboardInterrupt
            After the trials under way were closed as KILLED.
        """
        with self._closing_what_is_under_way():
            while not self._finished():
                self.recover()
                with transaction(self.study._storage):
                    jobs = self._ask_batch()
                self._report(self.trials())  # those at known points have ended already
                if not jobs:
                    if not self.running():
                        if self._is_exhausted():
                            break
                        continue
                    time.sleep(POLL_SECONDS)
                    continue
                with self.children.beating([job.ticket.run_id for job in jobs]):
                    outcomes = self._launch(jobs)
                with transaction(self.study._storage):
                    for job, outcome in zip(jobs, outcomes, strict=True):
                        self._tell(job, outcome)
                self._report(self.trials())

    def trials(self) -> list[FrozenTrial]:
        """Give the trials that count or may come to count, by number."""
        found = self.study.get_trials(deepcopy=False)
        return [trial for trial in found if not trial.user_attrs.get(INTERRUPTED) and trial.state != TrialState.WAITING]

    def done(self) -> list[FrozenTrial]:
        """Give the trials that count."""
        return [trial for trial in self.trials() if trial.state.is_finished()]

    def _finished(self) -> bool:
        hpo, done = self.config.hpo, self.done()
        failed = len(self.failed())
        # A study that has more trials than are asked for now does not fail by that.
        if failed > hpo.max_failure_rate * max(hpo.num_trials, len(done)):
            self.stopped_early = (
                f"{failed} of {len(done)} trials failed, more than hpo.max_failure_rate={hpo.max_failure_rate:g} "
                f"of hpo.num_trials={hpo.num_trials} allows"
            )
            self.gave_up = True
            return True
        return len(done) >= hpo.num_trials

    def _is_exhausted(self) -> bool:
        sampler = self.study.sampler
        if isinstance(sampler, ExhaustiveSampler) and not sampler.free(self.study):
            self.stopped_early = f"the grid is exhausted after its {len(sampler.points)} points"
            return True
        return False

    def running(self) -> list[FrozenTrial]:
        """Give the trials that are under way, here or elsewhere."""
        return [trial for trial in self.trials() if trial.state == TrialState.RUNNING]

    def failed(self) -> list[FrozenTrial]:
        """Give the trials that count as failed."""
        return [trial for trial in self.trials() if trial.state == TrialState.FAIL]

    # Asking.

    def _ask_batch(self) -> list[TrialJob]:
        jobs: list[TrialJob] = []
        if self._awaited is not None and self._frozen(self._awaited).state == TrialState.RUNNING:
            return jobs
        self._awaited = None
        free = self.config.hpo.num_trials - len(self.trials())
        for _ in range(min(free, self.batch)):
            if isinstance(self.study.sampler, ExhaustiveSampler) and not self.study.sampler.free(self.study):
                break
            if self._awaited is not None:
                break
            job = self._ask()
            if job is not None:
                jobs.append(job)
        return jobs

    def _ask(self) -> TrialJob | None:
        """Ask for a trial, sign it, and open its run; None if it needs no training or is one too many."""
        trial = self.study.ask()
        self._mine[trial.number] = ""
        try:
            return self._prepare(trial)
        except optuna.exceptions.UpdateFinishedTrialError:
            # Another process took this one for dead, and has seen to the point.
            run_id = self._mine.pop(trial.number, "")
            if run_id:
                self.children.kill(run_id)
            return None

    def _prepare(self, trial: optuna.Trial) -> TrialJob | None:
        trial.set_user_attr("owner", signature())
        encoded = self.space.suggest(trial)
        # A waiting trial is one that another process may be about to start.
        lower = self.study.get_trials(deepcopy=False)[: trial.number]
        if sum(not other.user_attrs.get(INTERRUPTED) for other in lower) >= self.config.hpo.num_trials:
            self._interrupt(trial.number, "surplus")
            return None
        twin = self._twin(trial.number, encoded)
        if twin is not None and isinstance(self.study.sampler, ExhaustiveSampler):
            self._interrupt(trial.number, f"the grid was exhausted meanwhile: the same point as trial {twin.number}")
            return None
        if twin is not None and twin.state == TrialState.RUNNING:
            self._interrupt(trial.number, f"the same point as trial {twin.number}, which is running")
            self._awaited = twin.number
            return None
        run_id = self.children.create(trial.number)
        self._mine[trial.number] = run_id
        trial.set_user_attr("run_id", run_id)
        if twin is not None:
            values = list(twin.values or [])
            self.children.copy_result(run_id, twin.user_attrs["run_id"], twin.number, values)
            trial.set_user_attr("duplicate_of", twin.number)
            self._finish(trial.number, TrialState.COMPLETE, values)
            return None
        ticket = Ticket(
            self.study.study_name,
            trial.number,
            run_id,
            self.children.parent_id,
            self._storage if self.config.hpo.pruner != "none" else "",
            self.config.hpo.pruner,
            watched=self._watched,
            best=self._best_value(),
            front=self._front(),
        )
        return TrialJob(ticket, encoded, self.space.overrides(encoded))

    def _twin(self, number: int, encoded: dict[str, Any]) -> FrozenTrial | None:
        """Find an earlier trial at the same point whose value is, or will be, known."""
        for other in self.trials():
            if other.number >= number or other.params != encoded:
                continue
            if other.state in (TrialState.COMPLETE, TrialState.RUNNING):
                return other
        return None

    def _best_value(self) -> float | None:
        complete = [trial for trial in self.done() if trial.state == TrialState.COMPLETE]
        if not complete or len(self.study.directions) > 1:
            return None
        return float(self.study.best_value)

    def _front(self) -> list[list[float]]:
        """Give the values of the Pareto front so far; empty with one objective."""
        return [list(trial.values) for trial in best_trials(self.study)] if len(self.study.directions) > 1 else []

    # Telling.

    def _tell(self, job: TrialJob, outcome: Any) -> None:
        number = job.ticket.number
        if isinstance(outcome, Pruned):
            self._finish(number, TrialState.PRUNED, None)
            return
        if isinstance(outcome, Lost):
            log.warning("trial %d: its worker died: %s", number, outcome.why)
            self._settle(number)
            return
        if isinstance(outcome, BaseException):
            log.warning("trial %d failed: %s: %s", number, type(outcome).__name__, outcome)
            self.children.fail(job.ticket.run_id, outcome)
            self._finish(number, TrialState.FAIL, None)
            return
        values = [float(value) for value in (outcome if isinstance(outcome, list | tuple) else [outcome])]
        if all(math.isfinite(value) for value in values):
            self._finish(number, TrialState.COMPLETE, values)
        else:
            log.warning("trial %d failed: its objective is %s, not a finite number", number, outcome)
            self._finish(number, TrialState.FAIL, None)

    def _finish(self, number: int, state: TrialState, values: list[float] | None) -> None:
        self._mine.pop(number, None)
        # Another process may have adopted the result in this very moment, from the run that has ended.
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            self.study.tell(number, values, state, skip_if_finished=True)

    def _interrupt(self, number: int, why: str) -> None:
        """Take a trial out of the count. Its point is tried again, unless the sampler sees to that itself."""
        self._mine.pop(number, None)
        trial = self._frozen(number)
        if trial.state.is_finished():
            return
        with suppress(optuna.exceptions.UpdateFinishedTrialError):  # another process was first
            self.study._storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, why)
            again = not isinstance(self.study.sampler, ExhaustiveSampler) and why == KILLED
            if again and len(trial.params) == len(self.space.distributions):
                if self._deaths(trial) < MAX_DEATHS:
                    self.study.enqueue_trial(trial.params)
                else:
                    log.warning("%d processes died at the point of trial %d: it is given up", MAX_DEATHS, number)
            self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def _deaths(self, trial: FrozenTrial) -> int:
        """Count the trials at the same point whose processes died, this one included."""
        found = self.study.get_trials(deepcopy=False)
        return sum(other.user_attrs.get(INTERRUPTED) == KILLED and other.params == trial.params for other in found)

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    # Recovering.

    def recover(self) -> None:
        """Find trials whose processes are gone: adopt the results that MLflow has, close and retry the others."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.user_attrs.get(INTERRUPTED):  # whoever took it out of the count died before it could say so
                with suppress(optuna.exceptions.UpdateFinishedTrialError):
                    self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        orphans = [trial for trial in self.running() if trial.number not in self._mine]
        if orphans:
            self._salvage()
        for trial in orphans:
            owner = trial.user_attrs.get("owner")
            if owner is None:
                seen = self._unsigned.setdefault(trial.number, time.monotonic())
                if time.monotonic() - seen > UNSIGNED_SECONDS:
                    self._interrupt(trial.number, KILLED)
                continue
            child = self.children.find(trial.user_attrs.get("run_id"), trial.number)
            if child is not None and child.has_ended:
                self._adopt(trial, child.state, child.values)
            elif not is_alive(child.owner if child is not None else owner):
                self._bury(trial, child)
        if orphans:
            self._report(self.trials())

    def _bury(self, trial: FrozenTrial, child: Child | None) -> None:
        """Settle a trial whose process died: by its result, if that was written in time."""
        if child is not None and child.state in KNOWN:
            self.children.close(child)
            self._adopt(trial, child.state, child.values)
            return
        if child is not None:
            self.children.kill(child.run_id)
        self._interrupt(trial.number, KILLED)

    def _adopt(self, trial: FrozenTrial, state: str, values: list[float] | None) -> None:
        """Tell Optuna what MLflow knows already."""
        if state == "complete" and values and all(math.isfinite(value) for value in values):
            self._finish(trial.number, TrialState.COMPLETE, values)
        elif state == "pruned":
            self._finish(trial.number, TrialState.PRUNED, None)
        elif state in {"failed", "complete"}:  # complete without a finite value
            self._finish(trial.number, TrialState.FAIL, None)
        else:  # closed by somebody before it had a result
            self._interrupt(trial.number, KILLED)

    def _settle(self, number: int) -> None:
        """Take the result of a trial whose job is over, if its run has one; else close it as interrupted."""
        trial = self._frozen(number)
        child = self.children.find(self._mine.get(number) or trial.user_attrs.get("run_id"), number)
        if child is not None and child.has_ended:
            self._adopt(trial, child.state, child.values)
        else:
            self._bury(trial, child)

    def others_at_work(self) -> bool:
        """Tell whether another process is working on a trial of this study."""
        return any(
            trial.number not in self._mine and is_alive(trial.user_attrs.get("owner") or {}) for trial in self.running()
        )

    @contextmanager
    def _closing_what_is_under_way(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with signals_held():
                for number in list(self._mine):
                    try:
                        self._settle(number)
                    except Exception as error:  # of MLflow or of the storage; the next start settles it
                        log.error("trial %d is left open: %s", number, error)
            raise


def best_trials(study: Study) -> list[FrozenTrial]:
    """Give the complete trials, best first; of several objectives, the Pareto front."""
    if len(study.directions) > 1:
        return list(study.best_trials)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = 1.0 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1.0
    return sorted(complete, key=lambda trial: (sign * float(trial.value or 0.0), trial.number))
