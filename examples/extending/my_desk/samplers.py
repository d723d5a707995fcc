"""A search that stays near the best so far."""

from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from tradingbot_exp.plugins import sampler


class Near(optuna.samplers.BaseSampler):
    """Draws ranges around the best trial so far, ever closer, and all else at random."""

    def __init__(self, seed: int) -> None:
        self._rng, self._random = np.random.default_rng(seed), optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: Any) -> dict[str, BaseDistribution]:
        """Take the ranges of the best trial, once there is one."""
        done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        known = study.best_trial.distributions if done else {}
        return {name: each for name, each in known.items() if isinstance(each, FloatDistribution | IntDistribution)}

    def sample_relative(self, study: optuna.Study, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
        """Draw from a normal distribution, in logarithms where the range is."""
        found = {}
        for name, drawn in search_space.items():
            scale = np.log if drawn.log else np.asarray
            low, high, best = (float(scale(v)) for v in (drawn.low, drawn.high, study.best_trial.params[name]))
            value = np.clip(self._rng.normal(best, (high - low) / np.sqrt(4.0 + trial.number)), low, high)
            value = float(np.exp(value) if drawn.log else value)
            found[name] = min(max(value, drawn.low), drawn.high) if drawn.step is None else None
        return {name: value for name, value in found.items() if value is not None}

    def sample_independent(self, study: optuna.Study, trial: Any, name: str, drawn: BaseDistribution) -> Any:
        """Draw at random."""
        return self._random.sample_independent(study, trial, name, drawn)


@sampler("near")
def near(seed: int) -> Near:
    """Build the sampler of one trial."""
    return Near(seed)
