"""The search space: from `hpo.param_space` and sweeps on the command line to Optuna's distributions, and back.

A parameter has one canonical name, the dotted key of its first target. Optuna sees *encoded* values
(a list among the choices becomes its JSON text); jobs see the values themselves, one override a target.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial

from tradingbot_exp.config.choices import RANGE_KEYS
from tradingbot_exp.config.explain import explain
from tradingbot_exp.config.keys import BLOCKS
from tradingbot_exp.config.overrides import GrammarError, quote, read_word
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.hpo.space import ranges
from tradingbot_exp.hpo.space.names import targets_of
from tradingbot_exp.hpo.space.parameter import MAX_GRID, Parameter, too_many
from tradingbot_exp.runtime.text import listed

_KEY = "hpo.param_space"


@dataclass(frozen=True)
class SearchSpace:
    """What a study searches.

    Attributes
    ----------
    parameters : mapping of str to Parameter
        By canonical name, in the order in which they were written.
    """

    parameters: Mapping[str, Parameter]

    @classmethod
    def parse(cls, param_space: Mapping[str, Any], overrides: Sequence[str] = ()) -> SearchSpace:
        """Read a search space.

        Parameters
        ----------
        param_space : mapping
            Name to a list (a choice), to ``{low, high, log, step}`` (a range: of whole numbers if `low`, `high`
            and `step` are) or to a Hydra sweep string. Names are dotted keys, or bare ones of `model` and
            `training`. A `high` that steps do not reach is lowered to the last value that they do.
        overrides : sequence of str
            Sweeps of the command line, such as ``training.batch_size=16,32``; one replaces an entry of
            `param_space` for the same key.

        Raises
        ------
        ConfigError
            Nothing can be searched so; the message names the entry, what was given, what would be right.
        """
        plain = OmegaConf.to_container(param_space, resolve=True) if OmegaConf.is_config(param_space) else param_space
        if not isinstance(plain, Mapping):
            raise ConfigError(f"{_KEY}={quote(plain)} is not a mapping; expected {{batch_size: [16, 32]}}.")
        parameters = _unique(_entry(name, given) for name, given in _flat(plain))
        parameters |= _unique(_swept(override) for override in overrides)
        if not parameters:
            raise ConfigError(
                f"{_KEY} is empty: there is nothing to search. Add a key, such as '+{_KEY}.batch_size=[16,32,64]'."
            )
        return cls(parameters)

    def without(self, keys: Iterable[str]) -> SearchSpace:
        """Take out what the command line fixes.

        Raises
        ------
        ConfigError
            Nothing is left.
        """
        fixed = set(keys)
        left = {name: p for name, p in self.parameters.items() if not fixed.intersection(p.targets)}
        if not left:
            raise ConfigError(
                f"Every key of {_KEY} is given one value on the command line, so there is nothing to search: "
                f"{', '.join(self.parameters)}. Leave one of them out, or train once without --multirun."
            )
        return SearchSpace(left)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distributions by canonical name, in order."""
        return {name: parameter.distribution for name, parameter in self.parameters.items()}

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """Draw encoded values by canonical name from an Optuna trial."""
        return {name: parameter.suggest(trial) for name, parameter in self.parameters.items()}

    def decode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Turn encoded values by canonical name into values by configuration key, both learning rates included.

        Raises
        ------
        ConfigError
            A parameter is missing, is not in the space, or has a value that is not.
        """
        for name in (*params, *self.parameters):
            if name not in self.parameters:
                raise ConfigError(f"{name} is not searched. The space has: {', '.join(self.parameters)}.")
            if name not in params:
                raise ConfigError(f"{name} has no value, but the space has: {', '.join(self.parameters)}.")
        return {
            target: parameter.decode(params[name])
            for name, parameter in self.parameters.items()
            for target in parameter.targets
        }

    def encode(self, point: Mapping[str, Any], label: str) -> dict[str, Any]:
        """Turn values by name, as a user writes them, into encoded ones by canonical name; some may be left out.

        Raises
        ------
        ConfigError
            A name is not searched, or a value is not in the space; `label` says where it is written.
        """
        found: dict[str, Any] = {}
        for name, value in point.items():
            where = f"{label}.{name}"
            parameter = self.parameters.get(targets_of(str(name), where)[0])
            if parameter is None:
                raise ConfigError(f"{where} is not searched. The space has: {', '.join(self.parameters)}.")
            if parameter.name in found:
                raise ConfigError(f"{where}: {parameter.name} is given twice. Keep one.")
            found[parameter.name] = parameter.encode(value, where)
        return found

    def holds(self, name: str, encoded: Any) -> bool:
        """Tell whether a parameter of a canonical name is searched, and has an encoded value."""
        try:
            self.parameters[name].decode(encoded)
        except (KeyError, ConfigError):
            return False
        return True

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Write encoded values as Hydra overrides, one a target, which Hydra reads back bit for bit."""
        return [f"{target}={quote(value)}" for target, value in self.decode(params).items()]

    def grid(self) -> list[dict[str, Any]]:
        """List every point, encoded; the last parameter changes fastest.

        Raises
        ------
        ConfigError
            A range is continuous, or there are more than `MAX_GRID` points.
        """
        axes = [parameter.points() for parameter in self.parameters.values()]
        size = math.prod(len(axis) for axis in axes)
        if size > MAX_GRID:
            raise too_many(size)
        return [dict(zip(self.parameters, point, strict=True)) for point in itertools.product(*axes)]

    def describe(self) -> dict[str, Any]:
        """Describe the space in plain JSON, to be stored and compared.

        Returns
        -------
        dict
            Canonical name to ``{"choices": [...]}`` or ``{"low", "high", "log", "step"}``.
        """
        return {name: parameter.describe() for name, parameter in self.parameters.items()}


def _flat(param_space: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield names and values; ``+hpo.param_space.model.dropout=[0,0.1]`` arrives nested, and is meant dotted."""
    for key, given in param_space.items():
        name = f"{prefix}{key}"
        if isinstance(given, Mapping) and name in BLOCKS and not set(given) & set(RANGE_KEYS):
            yield from _flat(given, f"{name}.")
        else:
            yield name, given


def _entry(name: str, given: Any) -> Parameter:
    label = f"{_KEY}.{name}"
    targets = targets_of(name, label)
    distribution, choices = ranges.read(given, targets[0], label)
    return Parameter(distribution, targets, choices, label)


def _swept(text: str) -> Parameter:
    try:
        word = read_word(text)
    except GrammarError as error:
        raise ConfigError(f"'{text}' is not a sweep: {explain(error)}") from error
    if not word.is_plain:
        raise ConfigError(f"'{text}' is not a sweep; expected {word.key}=A,B.")
    targets = targets_of(word.key, word.key, bare=False)
    distribution, choices = ranges.read_sweep(word, targets[0], word.key)
    return Parameter(distribution, targets, choices, word.key)


def _unique(parameters: Iterator[Parameter]) -> dict[str, Parameter]:
    """Key parameters by canonical name, refusing two for one configuration key."""
    found: dict[str, Parameter] = {}
    for parameter in parameters:
        other = found.setdefault(parameter.name, parameter)
        if other is not parameter:
            raise ConfigError(
                f"{parameter.label} and {other.label} both set {listed(parameter.targets)}. Keep one of them."
            )
    return found
