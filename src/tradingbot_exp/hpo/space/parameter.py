"""One parameter of a search space: what Optuna draws, what it stands for, and which keys get it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import BaseTrial

from tradingbot_exp.config.overrides import quote
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.hpo.space.ranges import Distribution

MAX_GRID = 1_000_000


@dataclass(frozen=True)
class Parameter:
    """One thing that is searched.

    Attributes
    ----------
    distribution : CategoricalDistribution, IntDistribution or FloatDistribution
        What Optuna draws from, encoded.
    targets : tuple of str
        Dotted configuration keys that get the value; the first is the parameter's name.
    choices : tuple
        What each category of a choice stands for, in the categories' order; empty for a range.
    label : str
        What error messages call it: where the user wrote it.
    """

    distribution: Distribution
    targets: tuple[str, ...]
    choices: tuple[Any, ...] = ()
    label: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The canonical name."""
        return self.targets[0]

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that stand for all: those of a choice, the ends of a range."""
        drawn = self.distribution
        return self.choices if isinstance(drawn, CategoricalDistribution) else (drawn.low, drawn.high)

    def suggest(self, trial: BaseTrial) -> Any:
        """Draw an encoded value."""
        drawn = self.distribution
        if isinstance(drawn, CategoricalDistribution):
            return trial.suggest_categorical(self.name, drawn.choices)
        if isinstance(drawn, IntDistribution):
            return trial.suggest_int(self.name, drawn.low, drawn.high, step=drawn.step, log=drawn.log)
        return trial.suggest_float(self.name, drawn.low, drawn.high, step=drawn.step, log=drawn.log)

    def decode(self, encoded: Any) -> Any:
        """Turn an encoded value into the configuration's.

        Raises
        ------
        ConfigError
            The value is not in the space.
        """
        drawn = self.distribution
        if isinstance(drawn, CategoricalDistribution):
            for category, value in zip(drawn.choices, self.choices, strict=True):
                if category == encoded:
                    return copy.deepcopy(value)
        else:
            number = isinstance(encoded, int | float) and not isinstance(encoded, bool)
            if number and drawn.low <= encoded <= drawn.high:
                return int(encoded) if isinstance(drawn, IntDistribution) else float(encoded)
        raise ConfigError(f"{self.name}={quote(encoded)} is not in the search space: {self.describe()}.")

    def encode(self, value: Any, label: str) -> Any:
        """Turn a configuration's value into the encoded one.

        Raises
        ------
        ConfigError
            The value is not in the space; `label` says where it is written.
        """
        drawn = self.distribution
        if isinstance(drawn, CategoricalDistribution):
            for category, choice in zip(drawn.choices, self.choices, strict=True):
                if _alike(choice, value):
                    return category
        elif isinstance(value, int | float) and not isinstance(value, bool) and drawn.low <= value <= drawn.high:
            number = float(value)
            if drawn._contains(number):
                return int(number) if isinstance(drawn, IntDistribution) else number
        raise ConfigError(f"{label}={quote(value)} is not in the search space: {self.describe()}.")

    def points(self) -> Sequence[Any]:
        """List every encoded value, in order.

        Raises
        ------
        ConfigError
            It is a continuous range.
        """
        drawn = self.distribution
        if isinstance(drawn, CategoricalDistribution):
            return drawn.choices
        if isinstance(drawn, IntDistribution):
            return range(drawn.low, drawn.high + 1, drawn.step)
        if drawn.step is None:
            raise ConfigError(
                f"{self.label} is a continuous range from {drawn.low} to {drawn.high}, which a grid cannot enumerate. "
                "Give it a step, {low: ..., high: ..., step: ...}, or a list of values."
            )
        # In decimals, since 0.1 + 2 * 0.1 is not 0.3 in floats.
        low, high, step = (Decimal(str(number)) for number in (drawn.low, drawn.high, drawn.step))
        count = round((high - low) / step) + 1
        if count > MAX_GRID:
            raise too_many(count)
        return [float(low + index * step) for index in range(count)]

    def describe(self) -> dict[str, Any]:
        """Describe the values in plain JSON."""
        drawn = self.distribution
        if isinstance(drawn, CategoricalDistribution):
            return {"choices": copy.deepcopy(list(self.choices))}
        return {"low": drawn.low, "high": drawn.high, "log": drawn.log, "step": drawn.step}


def _alike(choice: Any, value: Any) -> bool:
    """Whether a value is meant for a choice: of numbers 0 is 0.0, but not False."""
    same = type(choice) is type(value) or {type(choice), type(value)} <= {int, float}
    return bool(same and choice == value)


def too_many(size: int) -> ConfigError:
    """Say that a grid has more points than can be listed."""
    return ConfigError(
        f"hpo.param_space makes a grid of {size} points; at most {MAX_GRID} can be enumerated. Give larger steps or "
        "shorter lists, or use another hpo.sampler."
    )
