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
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from tradingbot_exp.hpo.journal import transaction
from tradingbot_exp.hpo.recovery import Recovery
from tradingbot_exp.hpo.samplers import SURPLUS, Grid, is_drawn, make_pruner, make_sampler, most_steps
from tradingbot_exp.hpo.study import Study
from tradingbot_exp.hpo.trial_spec import Lost, Pruned, TrialSpec
from tradingbot_exp.hpo.trials import Trials, best_or_front
from tradingbot_exp.runtime.interrupt import signals_held
from tradingbot_exp.runtime.process import signature
from tradingbot_exp.tracking.run_names import INTERRUPTED
from tradingbot_exp.tracking.writing.trial_runs import TrialRuns

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

# Seconds between two looks at trials that other processes are at work on.
_LOOK_AGAIN = 0.5
# Runs trials, returns for each its objectives, `Pruned`, `Lost`, or the exception that it raised.
Launch = Callable[[Sequence[TrialSpec]], Sequence[Any]]


class StudyLoop:
    """Brings a study to `hpo.num_trials` finished trials.

    Parameters
    ----------
    study : Study
        Sampler and pruner of its Optuna study are set here.
    trial_runs : TrialRuns
        The trials' MLflow runs.
    launch : callable
        Runs a batch of trials.
    report : callable
        Told after each change: the study's finished trials and those running.
    watched : bool
        Whether jobs write their progress down for a terminal.
    batch : int
        Trials to ask for at once.
    salvage : callable
        Called before trials of dead processes are reconciled: what those had written down is sent.
    until : float, optional
        The time by `time.monotonic` from which no more trials are asked for; else that of `hpo.timeout`, from now on.
    """

    def __init__(
        self,
        study: Study,
        trial_runs: TrialRuns,
        launch: Launch,
        *,
        report: Callable[[Sequence[FrozenTrial]], object],
        watched: bool,
        batch: int,
        salvage: Callable[[], object],
        until: float | None = None,
    ) -> None:
        config = study.config
        self.config, self.space, self._optuna, self.trial_runs = config, study.space, study.optuna, trial_runs
        self._address, self._launch, self._report, self._watched = study.address, launch, report, watched
        self.batch = batch
        self.trials = Trials(self._optuna, len(self.space.distributions))
        self._recovery = Recovery(self.trials, trial_runs, salvage)
        # The trial whose point was proposed again while it runs: until it ends, the sampler knows no better.
        self._awaited: int | None = None
        self.stopped_early: str | None = None
        self.gave_up = False
        self._until = until if until is not None else time.monotonic() + (config.hpo.timeout or math.inf)
        self._grid = Grid(self.space.grid()) if config.hpo.sampler == "grid" else None
        self._optuna.sampler = make_sampler(config.hpo.sampler, config.seed, study.space.distributions)
        self._optuna.pruner = make_pruner(config.hpo.pruner, most_steps(study.definition))

    def run(self) -> None:
        """Ask, launch and tell until the study is complete, its grid exhausted, or too many trials failed.

        Raises
        ------
        KeyboardInterrupt
            After the trials under way were closed as KILLED.
        """
        with self._closing_what_is_under_way():
            while not self.is_finished():
                self.recover()
                with transaction(self._optuna._storage):
                    specs = self._ask_batch()
                self._report(self.trials.counting())  # those at known points have ended already
                if not specs:
                    if not self.trials.running():
                        if self._is_exhausted():
                            break
                        continue
                    time.sleep(_LOOK_AGAIN)
                    continue
                with self.trial_runs.beating([spec.run_id for spec in specs]):
                    outcomes = self._launch(specs)
                with transaction(self._optuna._storage):
                    for spec, outcome in zip(specs, outcomes, strict=True):
                        self._tell(spec, outcome)
                self._report(self.trials.counting())

    def is_finished(self) -> bool:
        """Tell whether the study has enough trials, or is to stop for another reason."""
        hpo, done = self.config.hpo, self.trials.done()
        failed = len(self.trials.failed())
        # A study that has more trials than are asked for now does not fail by that.
        if failed > hpo.max_failure_rate * max(hpo.num_trials, len(done)):
            self.stopped_early = (
                f"{failed} of {len(done)} trials failed, more than hpo.max_failure_rate={hpo.max_failure_rate:g} "
                f"of hpo.num_trials={hpo.num_trials} allows"
            )
            self.gave_up = True
            return True
        if len(done) >= hpo.num_trials:
            return True
        if time.monotonic() >= self._until:
            self.stopped_early = f"the {hpo.timeout:g} s of hpo.timeout are over"
        elif hpo.patience is not None and (since := self.trials.since_better()) >= hpo.patience:
            self.stopped_early = f"the last {since} trials were no better (hpo.patience={hpo.patience})"
        return self.stopped_early is not None

    def _is_exhausted(self) -> bool:
        if self._grid is None or self._grid.enqueue(self._optuna, 1):
            return False
        self.stopped_early = f"the grid is exhausted after its {len(self._grid.points)} points"
        return True

    # Asking.

    def _ask_batch(self) -> list[TrialSpec]:
        specs: list[TrialSpec] = []
        if self._awaited is not None and self.trials.frozen(self._awaited).state == TrialState.RUNNING:
            return specs
        self._awaited = None
        free = min(self.config.hpo.num_trials - len(self.trials.counting()), self.batch)
        for left in range(free, 0, -1):
            if self._grid is not None and not self._grid.enqueue(self._optuna, left):
                break
            if self._awaited is not None:
                break
            if left < free and self._begins_a_batch():
                break
            spec = self._ask()
            if spec is not None:
                specs.append(spec)
        return specs

    def _begins_a_batch(self) -> bool:
        """Tell whether the next point to be drawn would, in a study that no kill disturbed, begin a batch.

        Then it is to be drawn knowing the values of all before it, those included that are tried again just now.
        """
        trials = self._optuna.get_trials(deepcopy=False)
        waits = any(trial.state == TrialState.WAITING for trial in trials)
        return not waits and sum(map(is_drawn, trials)) % self.batch == 0

    def _ask(self) -> TrialSpec | None:
        """Ask for a trial, sign it, and open its run; None if it needs no training or is one too many."""
        trial = self._optuna.ask()
        self.trials.mine[trial.number] = ""
        try:
            return self._prepare(trial)
        except optuna.exceptions.UpdateFinishedTrialError:
            # Another process took this one for dead, and has seen to the point.
            run_id = self.trials.mine.pop(trial.number, "")
            if run_id:
                self.trial_runs.kill(run_id)
            return None

    def _prepare(self, trial: optuna.Trial) -> TrialSpec | None:
        trial.set_user_attr("owner", signature())
        encoded = self.space.suggest(trial)
        # A waiting trial is one that another process may be about to start.
        lower = self._optuna.get_trials(deepcopy=False)[: trial.number]
        if sum(not other.user_attrs.get(INTERRUPTED) for other in lower) >= self.config.hpo.num_trials:
            self.trials.interrupt(trial.number, SURPLUS)
            return None
        refusal = "" if self._grid is None else self._grid.refusal(self._optuna, trial.number)
        if refusal:
            self.trials.interrupt(trial.number, refusal)
            return None
        duplicate = self.trials.duplicate(trial.number, encoded)
        if duplicate is not None and duplicate.state == TrialState.RUNNING:
            self.trials.interrupt(trial.number, f"the same point as trial {duplicate.number}, which is running")
            self._awaited = duplicate.number
            return None
        run_id = self.trial_runs.create(trial.number)
        self.trials.mine[trial.number] = run_id
        trial.set_user_attr("run_id", run_id)
        if duplicate is not None:
            values = list(duplicate.values or [])
            self.trial_runs.copy_result(run_id, duplicate.user_attrs["run_id"], duplicate.number, values)
            trial.set_user_attr("duplicate_of", duplicate.number)
            self.trials.finish(trial.number, TrialState.COMPLETE, values)
            return None
        return TrialSpec(
            self._optuna.study_name,
            trial.number,
            run_id,
            self.trial_runs.parent_id,
            self._address if self.config.hpo.pruner != "none" else "",
            self.config.hpo.pruner,
            watched=self._watched,
            rivals=[list(rival.values) for rival in best_or_front(self._optuna, self.config.hpo.ensemble)],
            values=self.space.decode(encoded),
        )

    # Telling.

    def _tell(self, spec: TrialSpec, outcome: Any) -> None:
        number = spec.number
        if isinstance(outcome, Pruned):
            self.trials.finish(number, TrialState.PRUNED, None)
            return
        if isinstance(outcome, Lost):
            log.warning("trial %d: its worker died: %s", number, outcome.why)
            self._recovery.reconcile(number)
            return
        if isinstance(outcome, BaseException):
            log.warning("trial %d failed: %s: %s", number, type(outcome).__name__, outcome)
            self.trial_runs.fail(spec.run_id, outcome)
            self.trials.finish(number, TrialState.FAIL, None)
            return
        values = [float(value) for value in (outcome if isinstance(outcome, list | tuple) else [outcome])]
        if all(math.isfinite(value) for value in values):
            self.trials.finish(number, TrialState.COMPLETE, values)
        else:
            log.warning("trial %d failed: its objective is %s, not a finite number", number, outcome)
            self.trials.finish(number, TrialState.FAIL, None)

    def recover(self) -> None:
        """See to the trials of processes that are gone: see `Recovery`."""
        if self._recovery.recover():
            self._report(self.trials.counting())

    @contextmanager
    def _closing_what_is_under_way(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with signals_held():
                for number in list(self.trials.mine):
                    try:
                        self._recovery.reconcile(number)
                    except Exception as error:  # of MLflow or of the storage; the next start reconciles it
                        log.error("trial %d is left open: %s", number, error)
            raise
