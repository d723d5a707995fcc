"""Samplers by name, seeded for each trial apart, and pruners by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from tradingbot_exp.config.schema import HpoConfig
    from tradingbot_exp.hpo.space.space import SearchSpace

# User attribute of a trial that ended without a result of its own: killed, or surplus. It does not count.
INTERRUPTED = "interrupted"
# How long a trial of a grid waits for an earlier one to take its point, in seconds.
DRAWING_SECONDS = 5.0
_NOT_DRAWN = object()
# Random trials before TPE models anything: half of Optuna's ten, so that a study of ten is searched and not only
# drawn. No share of `hpo.num_trials`, which may grow when a study is resumed.
TPE_STARTUP_TRIALS = 5
# Finished trials before the median and percentile pruners compare, and the epoch of a trial from which they do.
PRUNER_STARTUP_TRIALS = 5
PRUNER_WARMUP_EPOCHS = 5


class PerTrialSampler(BaseSampler):
    """Draws each trial with a sampler seeded by the study's seed and the trial's number.

    A sampler seeded once proposes the same points after each restart of a study. This one proposes for trial
    n what it would have proposed without the restart, as far as it has seen the same results. The space that
    trials have in common is inferred once: all trials of a study draw the same parameters, and a new sampler would
    look through all of them again.

    Parameters
    ----------
    make : callable
        Builds the sampler of one trial from its seed.
    seed : int
        The study's.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._number = -1
        self._sampler: BaseSampler = make(seed)
        self._common: dict[str, BaseDistribution] = {}

    def _for(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number = trial.number
            mixed = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)[0]
            self._sampler = self._make(int(mixed))
        return self._sampler

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Ask the trial's own sampler, until there is a trial to infer it from."""
        if not self._common:
            self._common = self._for(trial).infer_relative_search_space(study, trial)
        return dict(self._common)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the trial's own sampler."""
        return self._for(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Ask the trial's own sampler."""
        return self._for(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Let the trial's own sampler prepare."""
        self._for(trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """Let a sampler of this trial take note of the result."""
        self._for(trial).after_trial(study, trial, state, values)


class ExhaustiveSampler(BaseSampler):
    """Takes the points of a grid in order, each once; a point whose trial was interrupted is free again.

    Parameters
    ----------
    points : list of dict
        Encoded values by parameter name, see `SearchSpace.grid`.
    """

    def __init__(self, points: list[dict[str, Any]]) -> None:
        self.points = points

    def free(self, study: Study, before: int | None = None) -> list[dict[str, Any]]:
        """Give the points that no counting trial, or none numbered below `before`, has taken."""
        taken = {
            self._key(trial.params)
            for trial in _all_trials(study)
            if not trial.user_attrs.get(INTERRUPTED) and (before is None or trial.number < before)
        }
        return [point for point in self.points if self._key(point) not in taken]

    def _key(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(params.get(name, _NOT_DRAWN) for name in self.points[0])

    def _drawing(self, study: Study, before: int) -> bool:
        """Tell whether a trial numbered below `before` has yet to take its point, in this process or another."""
        return any(
            trial.number < before
            and trial.state == TrialState.RUNNING
            and not trial.user_attrs.get(INTERRUPTED)
            and len(trial.params) < len(self.points[0])
            for trial in _all_trials(study)
        )

    def _wait(self, study: Study, trial: FrozenTrial) -> None:
        """Wait until all earlier trials have taken their points, but not long for a process that died over it."""
        deadline = time.monotonic() + DRAWING_SECONDS
        while self._drawing(study, trial.number) and time.monotonic() < deadline:
            time.sleep(0.02)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Give none: points are whole."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Give none: points are whole."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Give the parameter's value at the first free point that agrees with those already drawn."""
        if not trial.params:
            self._wait(study, trial)
        left = self.free(study, before=trial.number) or self._under_way(study, trial.number) or self.points
        fitting = [point for point in left if all(point[name] == value for name, value in trial.params.items())]
        return (fitting or self.points)[0][param_name]

    def _under_way(self, study: Study, before: int) -> list[dict[str, Any]]:
        """Give the points of running trials: a trial that comes too late for a grid is better known as a repetition."""
        running = [trial for trial in _all_trials(study) if trial.state == TrialState.RUNNING and trial.number < before]
        keys = {self._key(trial.params) for trial in running if not trial.user_attrs.get(INTERRUPTED)}
        return [point for point in self.points if self._key(point) in keys]


def _all_trials(study: Study) -> list[FrozenTrial]:
    """Give all trials of a study; of one that Hyperband shows to a sampler, `get_trials` gives a bracket's only."""
    return study._storage.get_all_trials(study._study_id, deepcopy=False)


def make_sampler(hpo: HpoConfig, space: SearchSpace, seed: int) -> BaseSampler:
    """Build the sampler that `hpo.sampler` names.

    Raises
    ------
    ConfigError
        A grid over a range without a step.
    """
    if hpo.sampler == "grid":
        return ExhaustiveSampler(space.grid())
    makers: dict[str, Callable[[int], BaseSampler]] = {
        # Trials that run beside each other must not be drawn as if the others were not there.
        "tpe": lambda seed: optuna.samplers.TPESampler(
            n_startup_trials=TPE_STARTUP_TRIALS, seed=seed, constant_liar=True
        ),
        "random": lambda seed: RandomSampler(seed=seed),
        "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
        "nsgaii": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    }
    return PerTrialSampler(makers[hpo.sampler], seed)


def make_pruner(name: str, most_steps: int | None = None) -> BasePruner:
    """Build the pruner that `hpo.pruner` names; ``percentile`` keeps the better quarter.

    Parameters
    ----------
    name : str
    most_steps : int, optional
        See `most_steps`; Hyperband divides them among its brackets, and else guesses at them from the trial that
        happens to finish first.
    """
    late = {"n_startup_trials": PRUNER_STARTUP_TRIALS, "n_warmup_steps": PRUNER_WARMUP_EPOCHS}
    makers: Mapping[str, Callable[[], BasePruner]] = {
        "none": optuna.pruners.NopPruner,
        "median": lambda: optuna.pruners.MedianPruner(**late),
        "hyperband": lambda: optuna.pruners.HyperbandPruner(max_resource=most_steps or "auto"),
        "percentile": lambda: optuna.pruners.PercentilePruner(25.0, **late),
    }
    return makers[name]()


def most_steps(definition: Mapping[str, Any]) -> int:
    """Give the most epochs that a trial of a study can report, over all its seeds and folds.

    Parameters
    ----------
    definition : mapping
        See `tradingbot_exp.hpo.definition.define`.
    """
    searched = definition.get("hpo.param_space.training.epochs")
    epochs = definition["training.epochs"]
    if searched is not None:
        epochs = max(searched["choices"]) if "choices" in searched else searched["high"]
    several = definition.get("evaluation.scheme", "chronological") != "chronological"
    folds = int(definition["evaluation.folds"]) if several else 1
    return int(epochs) * int(definition["hpo.repeats"]) * folds
