"""Samplers by name, seeded for each trial apart, the points of a grid, and pruners by name."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from tradingbot_exp.config.registries import USER_SAMPLERS
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.runtime.text import qualified_name
from tradingbot_exp.tracking.run_names import INTERRUPTED

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.study import Study
    from optuna.trial import FrozenTrial

# Values of the user attribute INTERRUPTED of a trial that ended without a result of its own, and so does not count:
# one whose point is tried again; one that died before it had a point; one too many, of which only the point of a grid
# is tried again.
KILLED, UNDRAWN, SURPLUS = "killed", "killed before it had a point", "surplus"
# User attributes of a trial that was enqueued: its place among the points of a grid, or in `hpo.start`, from 0; the
# trial whose point it tries again.
POINT, START, RETRY_OF = "point", "start", "retry_of"
# Random trials before TPE, or a Gaussian process, models anything: half of Optuna's ten, so that a study of ten is
# searched and not only drawn. No share of `hpo.num_trials`, which may grow when a study is resumed.
STARTUP_TRIALS = 5
# Finished trials before the median and percentile pruners compare, and the epoch of a trial from which they do.
PRUNER_STARTUP_TRIALS = 5
PRUNER_WARMUP_EPOCHS = 5


def is_drawn(trial: FrozenTrial) -> bool:
    """Tell whether a trial's point was drawn for it, and stands: it tries none again, and was not too late or early."""
    return RETRY_OF not in trial.user_attrs and trial.user_attrs.get(INTERRUPTED) not in (UNDRAWN, SURPLUS)


def draws(trials: Sequence[FrozenTrial]) -> list[int]:
    """Return of each trial, in the order of their numbers, how many points were drawn before its own.

    Without a kill that is its number. A trial that tries a point again has the place of the first that had it.
    """
    found: list[int] = []
    drawn = 0
    for trial in trials:
        first = trial.user_attrs.get(RETRY_OF)
        found.append(drawn if first is None else found[first])
        drawn += is_drawn(trial)
    return found


class _Undisturbed(optuna.Study):
    """A study as if no process had died: its trials are numbered by the order in which their points were drawn."""

    def __init__(self, study: Study, numbers: Sequence[int]) -> None:
        self.__dict__.update(object.__getattribute__(study, "__dict__"))  # that of a bracket of Hyperband's is hidden
        self._disturbed, self._numbers = study, numbers

    def _get_trials(self, *args: Any, **options: Any) -> list[FrozenTrial]:
        trials = self._disturbed._get_trials(*args, **options)
        counting = (trial for trial in trials if not trial.user_attrs.get(INTERRUPTED))
        return sorted((self.numbered(trial) for trial in counting), key=lambda trial: trial.number)

    def numbered(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial under the number that it would have."""
        trial, number = copy.copy(trial), trial.number
        trial.number = self._numbers[number] if number < len(self._numbers) else number
        return trial


class PerTrialSampler(BaseSampler):
    """Draws each point with a sampler seeded by the study's seed and the number of points drawn before.

    A sampler seeded once proposes the same points after each restart of a study. This one proposes what it would have
    proposed without the restart, if it has seen the same results: trials that were killed, and the numbers that they
    took, are hidden from it. The space that trials have in common is inferred once: all trials of a study draw the same
    parameters, and a new sampler would look through all of them again.

    Parameters
    ----------
    make : callable
        Builds the sampler of one trial from its seed.
    seed : int
        The study's.
    common : mapping, optional
        The space that trials have in common, where it is not to be inferred.
    """

    def __init__(
        self,
        make: Callable[[int], BaseSampler],
        seed: int,
        common: Mapping[str, BaseDistribution] = MappingProxyType({}),
    ) -> None:
        self._make = make
        self._seed = seed
        self._number = -1  # of the trial that draws
        self._draws: list[int] = []
        self._sampler: BaseSampler = make(seed)
        self._common = dict(common)

    def _view(self, study: Study, trial: FrozenTrial) -> tuple[Study, FrozenTrial]:
        """Seed for a trial, and return study and trial as its sampler is to see them."""
        if trial.number != self._number:
            self._number = trial.number
            self._draws = draws(study._storage.get_all_trials(study._study_id, deepcopy=False))
            mixed = np.random.SeedSequence([self._seed, self._draws[trial.number]]).generate_state(1)[0]
            self._sampler = self._make(int(mixed))
        if self._draws[-1] == len(self._draws) - 1:
            return study, trial
        seen = _Undisturbed(study, self._draws)
        return seen, seen.numbered(trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Ask the trial's own sampler, until there is a trial to infer it from."""
        seen = self._view(study, trial)
        if not self._common:
            self._common = self._sampler.infer_relative_search_space(*seen)
        return dict(self._common)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the trial's own sampler."""
        seen = self._view(study, trial)
        return self._sampler.sample_relative(*seen, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Ask the trial's own sampler."""
        seen = self._view(study, trial)
        return self._sampler.sample_independent(*seen, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Let the trial's own sampler prepare."""
        seen = self._view(study, trial)
        self._sampler.before_trial(*seen)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """Let a sampler of this trial take note of the result."""
        seen = self._view(study, trial)
        self._sampler.after_trial(*seen, state, values)


class Grid:
    """The points of a grid, enqueued in Optuna in order; whichever process asks next is given the next.

    Parameters
    ----------
    points : sequence of dict
        Encoded values by parameter name, see `SearchSpace.grid`.
    """

    def __init__(self, points: Sequence[dict[str, Any]]) -> None:
        self.points = points

    def enqueue(self, study: Study, wanted: int) -> bool:
        """Let at least `wanted` points wait to be asked for, or all that are left; tell whether any does.

        Two processes may enqueue a point at once: of its trials the first counts, see `refusal`.
        """
        trials = study.get_trials(deepcopy=False)
        waiting = sum(trial.state == TrialState.WAITING for trial in trials)
        first = 1 + max((trial.user_attrs.get(POINT, -1) for trial in trials), default=-1)
        added = range(first, min(first + wanted - waiting, len(self.points)))
        for place in added:
            study.enqueue_trial(self.points[place], user_attrs={POINT: place})
        return waiting + len(added) > 0

    @staticmethod
    def refusal(study: Study, number: int) -> str:
        """Say why a trial that was asked for is not to be run: another process was faster; empty if it is."""
        trials = study.get_trials(deepcopy=False)
        point = trials[number].user_attrs.get(POINT)
        if point is None:
            return "no point of the grid was left for it"
        same = [trial for trial in trials[:number] if trial.user_attrs.get(POINT) == point]
        first = next((trial.number for trial in same if not trial.user_attrs.get(INTERRUPTED)), None)
        return "" if first is None else f"the same point of the grid as trial {first}"


def make_sampler(name: str, seed: int, space: Mapping[str, BaseDistribution]) -> BaseSampler:
    """Build the sampler that `hpo.sampler` names, for a space; the points of a grid are enqueued, and none is drawn."""
    makers: dict[str, Callable[[int], BaseSampler]] = {
        # Trials that run beside each other must not be drawn as if the others were not there.
        "tpe": lambda seed: optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, seed=seed, constant_liar=True),
        "random": lambda seed: RandomSampler(seed=seed),
        "grid": lambda seed: RandomSampler(seed=seed),
        "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
        "nsgaii": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
        "gp": lambda seed: optuna.samplers.GPSampler(
            n_startup_trials=STARTUP_TRIALS, seed=seed, warn_independent_sampling=False
        ),
        # One sequence, of which each trial takes the next point: scrambled anew for each it would be random.
        "qmc": lambda _: _sobol(seed),
    }
    # A sequence has to know its axes from the first point on.
    return PerTrialSampler(makers.get(name) or partial(_own, name), seed, space if name == "qmc" else {})


def _sobol(seed: int) -> BaseSampler:
    """Build the sampler of a scrambled Sobol sequence, which Optuna calls experimental each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)


def _own(name: str, seed: int) -> BaseSampler:
    """Build a sampler of a user's own; refuse what is none."""
    made = USER_SAMPLERS[name](seed)
    if not isinstance(made, BaseSampler):
        function = qualified_name(USER_SAMPLERS[name])
        raise ConfigError(f"hpo.sampler={name}: {function} gave {made!r}; expected one of Optuna's samplers.")
    return made


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
    """Return the most epochs that a trial of a study can report, over all its networks and folds.

    Parameters
    ----------
    definition : mapping
        See `tradingbot_exp.hpo.definition.define`.
    """

    def most(key: str) -> int:
        searched = definition.get(f"hpo.param_space.{key}")
        if searched is None:
            return int(definition.get(key, 1))  # older studies do not say how many networks
        return int(max(searched["choices"]) if "choices" in searched else searched["high"])

    several = definition.get("evaluation.scheme", "chronological") != "chronological"
    folds = int(definition["evaluation.folds"]) if several else 1
    return most("training.epochs") * most("training.ensemble") * int(definition["hpo.repeats"]) * folds
