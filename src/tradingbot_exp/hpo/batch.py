"""A batch of trials in one process: how many, and how they are built, trained as stacks, judged, and only then kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tradingbot_exp.errors import ConfigError, TrackingError
from tradingbot_exp.experiment.fitting import fit_all, why_alone
from tradingbot_exp.experiment.job import build
from tradingbot_exp.hpo.samplers import TPE_STARTUP_TRIALS
from tradingbot_exp.hpo.trial_run import Trial, worth_keeping
from tradingbot_exp.hpo.trial_spec import IN_BATCH, TrialSpec, ending_tags
from tradingbot_exp.tracking.run_names import trial_name
from tradingbot_exp.tracking.writing.batch import run_batch

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.hpo.space.space import SearchSpace
    from tradingbot_exp.hpo.study import Study
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)

# What the models of one stack share, of the keys that can be searched, and what each has for itself.
_SHARED = (
    *("data.", "model.", "training.batch_size", "training.loss", "training.precision"),
    *("training.optimizer", "training.momentum"),
)
_OWN = ("model.learning_rate", "model.dropout")
# Batches that a study is to have at the least, so that it learns from its values; scripts/bench_width.py has figures.
LEAST_BATCHES = 4
# Samplers that do not look at values.
_BLIND = ("random", "grid")


def batch_width(config: Config, space: SearchSpace, run: TrackedRun, widest: int) -> int:
    """Return how many trials to ask for at once: as many as are worth it, all before any of them has a value.

    One, where stacks would be of one model for the most part, and asking for more would be no faster. Else `widest`,
    but of a small study a quarter, or the random trials that TPE begins with if those are more.

    Parameters
    ----------
    config : Config
        The study's.
    space : SearchSpace
    run : TrackedRun
        Open; nothing is written into it.
    widest : int
        1 or more.
    """
    if widest == 1:
        return 1
    kinds = _kinds(space)
    reason = why_alone(build(config, run))
    if not reason and 2 * kinds > widest:
        number = f"{kinds:.0f}" if math.isfinite(kinds) else "any number of"
        reason = f"hpo.param_space makes {number} kinds of networks and batches, and a stack is of one kind"
    if reason:
        log.warning(
            "Trials are asked for and trained one by one: %s.", reason
        )  # Hydra shows a sweeper's warnings alone
        return 1
    if config.hpo.sampler in _BLIND:
        return widest
    return min(widest, max(TPE_STARTUP_TRIALS, config.hpo.num_trials // LEAST_BATCHES))


def _kinds(space: SearchSpace) -> float:
    """Count the combinations of what the models of one stack share; infinite for a continuous range."""
    count = 1.0
    for name, parameter in space.parameters.items():
        if name.startswith(_SHARED) and name not in _OWN:
            try:
                count *= len(parameter.points())
            except ConfigError:
                return math.inf
    return count


class Observer:
    """Told of each trial of a batch when it starts and when it has ended; this one keeps it to itself."""

    def start(self, spec: TrialSpec) -> None:
        """Take note that a trial's run is open and its models are about to be built."""

    def end(self, spec: TrialSpec, outcome: Any) -> None:
        """Take note how a trial ended; its run is closed."""


class _UnderWay:
    """A trial of a batch, from its spec to what came of it."""

    def __init__(self, spec: TrialSpec) -> None:
        self.spec = spec
        self.run: TrackedRun | None = None
        self.trial: Trial | None = None
        self.outcome: Any = None
        self.is_open = False

    def start(self, study: Study, organizer: ExperimentOrganizer, observer: Observer) -> None:
        """Open the trial's run and build its models; what keeps it from that is its outcome."""
        spec, self.is_open = self.spec, True
        folder = study.folder / trial_name(spec.number)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.run = organizer.take_over(spec.run_id, spec.number, spec.parent_id)
        except Exception as error:
            self.outcome = error
        observer.start(spec)
        try:
            if self.run is not None:
                self.trial = Trial(study.configure(spec.values), self.run, spec, folder, study.optuna)
        except Exception as error:
            self.outcome = error

    def end(self, organizer: ExperimentOrganizer, observer: Observer) -> None:
        """Write the outcome into the trial's run, close it, and tell the observer; once is enough."""
        if not self.is_open:
            return
        self.is_open = False
        error = self.outcome if isinstance(self.outcome, BaseException) else None
        if self.run is not None:
            self.run.flush(ending_tags(error, self.outcome))
            organizer.close_run(self.run, error)
        observer.end(self.spec, self.outcome)


def run_specs(
    study: Study, organizer: ExperimentOrganizer, specs: Sequence[TrialSpec], observer: Observer | None = None
) -> list[Any]:
    """Run a batch of a study's trials in this process, each recorded in its run.

    Returns
    -------
    list of (list of float, Pruned or Exception)
        How each ended; values that cannot be tried, and models that cannot be built, cost their trial alone.

    Raises
    ------
    TrackingError
        MLflow does not take how a trial ended; all of them are ended before.
    """
    told = observer or Observer()
    under_way = [_UnderWay(spec) for spec in specs]
    token = IN_BATCH.set(True)
    try:
        with run_batch() as batch:
            batch.fetch(*organizer.connect(), specs[0].parent_id)
            try:
                for each in under_way:
                    each.start(study, organizer, told)
                begun = [(each, each.trial) for each in under_way if each.trial is not None]
                outcomes = run_trials([trial for _, trial in begun])
                for (each, _), outcome in zip(begun, outcomes, strict=True):
                    each.outcome = outcome
            except BaseException as error:
                for each in under_way:
                    each.outcome = error
                    each.end(organizer, told)
                raise
            _end_all(under_way, organizer, told)
    finally:
        IN_BATCH.reset(token)
    return [each.outcome for each in under_way]


def _end_all(under_way: Sequence[_UnderWay], organizer: ExperimentOrganizer, observer: Observer) -> None:
    """End trials, all of them also where a store does not take what is recorded of one."""
    failure: TrackingError | None = None
    for each in under_way:
        try:
            each.end(organizer, observer)
        except TrackingError as error:
            failure = failure or error
    if failure is not None:
        raise failure


def run_trials(trials: Sequence[Trial], after_epoch: Callable[[], object] = lambda: None) -> list[Any]:
    """Bring trials to their ends together.

    Parameters
    ----------
    trials : sequence of Trial
        Just built.
    after_epoch : callable, optional
        Called after each epoch of each stack.

    Returns
    -------
    list of (list of float, Pruned or Exception)
        What `tradingbot_exp.hpo.trial_run.run_trial` would have returned or raised for each.
    """
    while going := [trial for trial in trials if trial.goes_on]:
        # A pruner is to see a trial's seeds one after the other.
        pruned = going[0].config.hpo.pruner != "none"
        waves = [[trial.next()] if pruned else trial.rest() for trial in going]
        outcomes = iter(fit_all([fitting for wave in waves for fitting in wave], after_epoch))
        for trial, wave in zip(going, waves, strict=True):
            for _ in wave:
                trial.fitted(next(outcomes))
    judged = []
    for trial in trials:
        if trial.outcome is None and _succeeds(trial, trial.judge):
            judged.append(trial)
    for trial in judged:
        # Of equals the first counts, as if the trials had ended one after another; of others, the best of all.
        others = [other.values for other in judged if other.values != trial.values]
        others += [other.values for other in judged[: judged.index(trial)] if other.values == trial.values]
        kept = worth_keeping(trial.config, trial.spec, trial.values, others)
        _succeeds(trial, lambda trial=trial, kept=kept: trial.keep(kept))  # type: ignore[misc]
    return [trial.values if trial.outcome is None else trial.outcome for trial in trials]


def _succeeds(trial: Trial, step: Callable[[], object]) -> bool:
    try:
        step()
    except Exception as error:
        trial.outcome = error
    return trial.outcome is None
