"""A batch of trials in one process: how many, and how they are built, trained as stacks, judged, and only then kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.choices import BLIND_SAMPLERS
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.experiment.fitting import fit_all
from tradingbot_exp.experiment.job import build
from tradingbot_exp.experiment.stacks import why_alone
from tradingbot_exp.hpo.samplers import STARTUP_TRIALS
from tradingbot_exp.hpo.trial_run import Trial, worth_keeping
from tradingbot_exp.hpo.trial_spec import TrialSpec, ending_tags
from tradingbot_exp.runtime.interrupt import signals_held
from tradingbot_exp.tracking.run_names import trial_name
from tradingbot_exp.tracking.store.places import inside
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


def batch_width(config: Config, space: SearchSpace, run: TrackedRun, widest: int) -> int:
    """Return how many trials to ask for at once: as many as are worth it, all before any of them has a value.

    One, where stacks would be of one model for the most part, and asking for more would be no faster. Else `widest`,
    divided by the networks of an ensemble, but of a small study a quarter, or the random trials that TPE begins with if
    those are more.

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
    networks = build(config, run).networks
    reason = why_alone(networks[0])
    if not reason and 2 * kinds > widest:
        number = f"{kinds:.0f}" if math.isfinite(kinds) else "any number of"
        reason = f"hpo.param_space makes {number} kinds of networks and batches, and a stack is of one kind"
    if reason:
        log.warning(
            "Trials are asked for and trained one by one: %s.", reason
        )  # Hydra shows a sweeper's warnings alone
        return 1
    widest = max(widest // len(networks), 1)
    if config.hpo.sampler in BLIND_SAMPLERS:
        return widest
    return min(widest, max(STARTUP_TRIALS, config.hpo.num_trials // LEAST_BATCHES))


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
        self.has_begun = False
        self._failure: BaseException | None = None

    @property
    def outcome(self) -> Any:
        """How it ended, or what kept it from that; None while it is under way."""
        return self._failure if self.trial is None or self._failure is not None else self.trial.outcome

    def start(self, study: Study, organizer: ExperimentOrganizer, observer: Observer) -> None:
        """Open the trial's run and build its models; what keeps it from that is its outcome."""
        spec, self.has_begun = self.spec, True
        folder = inside(study.folder, trial_name(spec.number))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.run = organizer.take_over(spec.run_id, spec.number, spec.parent_id)
        except Exception as error:
            self._failure = error
        observer.start(spec)
        try:
            if self.run is not None:
                self.trial = Trial(study.configure(spec.values), self.run, spec, folder, study.optuna)
        except Exception as error:
            self._failure = error

    def end(self, organizer: ExperimentOrganizer, observer: Observer, cause: BaseException | None) -> None:
        """Write the outcome into the trial's run, close it, and tell the observer; `cause` ends what has none."""
        if not self.has_begun:
            return
        if self.outcome is None:
            self._failure = cause
        error = self.outcome if isinstance(self.outcome, BaseException) else None
        if self.run is not None:
            with signals_held():
                self.run.set_tags(ending_tags(error, self.outcome))
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
    BaseException
        What ended the batch, or what came while one of its trials was ended: a `TrackingError`, or what the observer
        raised. Before, each trial is ended by its own outcome, if it has one.
    """
    told = observer or Observer()
    under_way = [_UnderWay(spec) for spec in specs]
    with run_batch() as batch:
        batch.fetch(*organizer.connect(), specs[0].parent_id)
        try:
            for each in under_way:
                each.start(study, organizer, told)
            run_trials([each.trial for each in under_way if each.trial is not None])
        except BaseException as cause:
            for each, error in _end_all(under_way, organizer, told, cause):
                log.error("trial %d is not ended as it should be: %s", each.spec.number, error)
            raise
        if failed := _end_all(under_way, organizer, told):
            raise failed[0][1]
    return [each.outcome for each in under_way]


def _end_all(
    under_way: Sequence[_UnderWay],
    organizer: ExperimentOrganizer,
    observer: Observer,
    cause: BaseException | None = None,
) -> list[tuple[_UnderWay, BaseException]]:
    """End trials, all of them whatever happens to one; return those to which something did."""
    failed: list[tuple[_UnderWay, BaseException]] = []
    for each in under_way:
        try:
            each.end(organizer, observer, cause)
        except BaseException as error:  # a callback's `Refusal`, or Ctrl-C: the others have their results all the same
            failed.append((each, error))
    return failed


def run_trials(trials: Sequence[Trial]) -> None:
    """Bring trials, just built, to their ends together: each has the outcome that it would have had alone."""
    while going := [trial for trial in trials if trial.goes_on]:
        # A pruner is to see a trial's seeds one after the other.
        pruned = going[0].config.hpo.pruner != "none"
        waves = [[trial.next()] if pruned else trial.rest() for trial in going]
        outcomes = iter(fit_all([fitting for wave in waves for fitting in wave]))
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


def _succeeds(trial: Trial, step: Callable[[], object]) -> bool:
    try:
        step()
    except Exception as error:
        trial.outcome = error
        return False
    return True
