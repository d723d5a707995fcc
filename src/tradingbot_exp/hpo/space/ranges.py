"""Lists and ranges of a search space: how they are read, checked, and encoded for Optuna."""

from __future__ import annotations

import decimal
import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tradingbot_exp.config.choices import RANGE_KEYS
from tradingbot_exp.config.explain import explain
from tradingbot_exp.config.overrides import Choice, EmptySweepError, GrammarError, Span, Steps, Word, quote, read_word
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import ConfigError, near

Distribution: TypeAlias = CategoricalDistribution | IntDistribution | FloatDistribution
# A distribution and, for a choice, what each of its categories stands for (a range has none).
Domain: TypeAlias = tuple[Distribution, tuple[Any, ...]]


def read(given: Any, target: str, label: str) -> Domain:
    """Read one value of `hpo.param_space`: a list, a mapping or a Hydra sweep string.

    Parameters
    ----------
    given : object
        ``[16, 32]``, ``{low: 1, high: 4}``, ``"interval(1e-5,1e-1)"``.
    target : str
        The configuration key that the values are for: they must have its type.
    label : str
        What error messages call the entry.

    Raises
    ------
    ConfigError
        Nothing can be drawn from it; the message names the entry, what was given, what would be right.
    """
    if isinstance(given, list | tuple):
        return _choice(given, target, label)
    if isinstance(given, Mapping):
        return _mapping(given, target, label)
    if not isinstance(given, str) or not given.strip():
        raise _single(given, target, label)
    try:
        word = read_word(f"{target}={given}")
    except GrammarError as error:
        raise _no_sweep(given, label, error) from error
    return read_sweep(word, target, label)


def read_sweep(word: Word, target: str, label: str) -> Domain:
    """Read a sweep of the command line: ``choice``, ``range`` or ``interval``.

    An order asked for by ``shuffle`` is left to the sampler.

    Raises
    ------
    ConfigError
        It is one value, or nothing can be drawn from it.
    """
    if not word.is_sweep:
        raise _single(word.value, target, label)
    if word.tags:
        raise ConfigError(f"{label}: the tag '{word.tags[0]}' has no meaning here; expected tag(log,interval(A,B)).")
    if isinstance(word.value, EmptySweepError):
        raise _no_sweep(word.text, label, word.value) from word.value
    if isinstance(word.value, Choice):
        return _choice(word.value.values, target, label)
    if isinstance(word.value, Span):
        low, high, log = word.value.low, word.value.high, word.value.log
        _check_range(low, high, log, None, label)
        return _range((low, high, None), log, target, label)
    if isinstance(word.value, Steps):
        return _range((word.value.low, word.value.high, word.value.step), False, target, label)
    raise ConfigError(f"{label}: glob(...) chooses files of a group, not values. Give the values as a list.")


def _choice(given: Sequence[Any], target: str, label: str) -> Domain:
    if not given:
        raise ConfigError(f"{label} is an empty list: give it at least one value, such as [1, 2].")
    values = tuple(_element(value, label) for value in given)
    for position, value in enumerate(values):
        if value in values[:position]:
            same = values[values.index(value)]
            also = "" if quote(same) == quote(value) else f" (as {quote(same)}, which counts as the same)"
            raise ConfigError(f"{label}: {quote(value)} is given twice{also}. Name each value once.")
    _check_types(values, target, label)
    encoded = tuple(json.dumps(value) if isinstance(value, list) else value for value in values)
    if len(set(encoded)) < len(encoded):
        raise ConfigError(f"{label}: a list and a text that looks like it are both given. Name each value once.")
    return CategoricalDistribution(encoded), values


def _element(value: Any, label: str) -> Any:
    """Check an element of a choice, and make tuples lists."""
    if isinstance(value, list | tuple):
        return [_element(inner, label) for inner in value]
    if not isinstance(value, str | int | float | None):
        raise ConfigError(
            f"{label}: {value!r} is a {type(value).__name__}. A choice is among numbers, texts, true, false, null "
            "and lists of them."
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{label}: {value!r} cannot be tried. Give finite numbers.")
    if isinstance(value, str) and ("${" in value or value == "???"):
        raise ConfigError(f"{label}: '{value}' stands for a value that is not known yet. Write the value itself.")
    return value


def _mapping(given: Mapping[Any, Any], target: str, label: str) -> Domain:
    for key in given:
        if key not in RANGE_KEYS:
            raise ConfigError(
                f"{label}: '{key}' is not a key of a range. They are: {', '.join(RANGE_KEYS)}."
                f"{near(str(key), RANGE_KEYS)}"
            )
    for key in ("low", "high"):
        if given.get(key) is None:
            raise ConfigError(
                f"{label}: '{key}' is missing. A range is {{low: 1, high: 4}}, with log or step if wanted."
            )
    low, high, step = given["low"], given["high"], given.get("step")
    log = False if given.get("log") is None else given["log"]
    if not isinstance(log, bool):
        raise ConfigError(f"{label}: log={quote(log)} is neither true nor false.")
    _check_range(low, high, log, step, label)
    if step is not None:
        high = _last(low, high, step, label)
    whole = all(isinstance(number, int) for number in (low, given["high"], 1 if step is None else step))
    return _range((low, int(high) if whole else float(high), step), log, target, label)


def _range(given: tuple[float, float, float | None], log: bool, target: str, label: str) -> Domain:
    """Draw from low to high, by steps if there are any; whole numbers where all that is given is whole."""
    low, high, step = given
    by = 1 if step is None else step
    if isinstance(low, int) and isinstance(high, int) and isinstance(by, int):
        return _fitted(IntDistribution(low, high, log, by), target, label), ()
    return _fitted(FloatDistribution(low, high, log, step), target, label), ()


def _last(low: float, high: float, step: float, label: str) -> Decimal:
    """Lower `high` to the last value that steps from `low` reach: Optuna does the same, with a warning."""
    exact = (Decimal(str(low)), Decimal(str(high)), Decimal(str(step)))
    try:
        return exact[0] + (exact[1] - exact[0]) // exact[2] * exact[2]
    except decimal.InvalidOperation as error:
        raise ConfigError(f"{label}: step={step} is too small for a range from {low} to {high}.") from error


def _check_range(low: Any, high: Any, log: bool, step: Any, label: str) -> None:
    for key, number in (("low", low), ("high", high), ("step", 1 if step is None else step)):
        if isinstance(number, bool) or not isinstance(number, int | float):
            floats = " In YAML, write 1.0e-4 for 1e-4." if isinstance(number, str) else ""
            raise ConfigError(f"{label}: {key}={quote(number)} is not a number.{floats}")
        if not -1e308 < number < 1e308:
            raise ConfigError(f"{label}: {key}={number} is not a finite number.")
    if low >= high:
        raise ConfigError(f"{label}: low={low} has to be below high={high}.")
    if log and low <= 0:
        raise ConfigError(f"{label}: low={low} has no logarithm. With log, low has to be above 0.")
    if step is None:
        return
    if log:
        raise ConfigError(f"{label}: log and step={step} cannot go together. Leave one of them out, or give a list.")
    if step <= 0:
        raise ConfigError(f"{label}: step={step} has to be above 0.")
    # In decimals: as floats, -0.101 and -0.102 are less than 0.001 apart.
    if Decimal(str(step)) > Decimal(str(high)) - Decimal(str(low)):
        raise ConfigError(f"{label}: step={step} is larger than the range from {low} to {high}.")


def _fitted(distribution: IntDistribution | FloatDistribution, target: str, label: str) -> Distribution:
    """Refuse a range whose numbers the key cannot hold."""
    if distribution.low == distribution.high:
        raise ConfigError(f"{label} is a range of one value. To fix it, write {target}={quote(distribution.low)}.")
    try:
        _check_types([0.5 if isinstance(distribution, FloatDistribution) else distribution.low], target, label)
    except ConfigError as error:
        if not isinstance(distribution, FloatDistribution):
            raise
        raise ConfigError(
            f"{label} draws fractions, which {target} does not take. Give low, high and step as whole numbers; as a "
            "Hydra sweep, int(interval(A,B)) or range(A,B)."
        ) from error
    return distribution


def _check_types(values: Sequence[Any], target: str, label: str) -> None:
    """Refuse values that the schema's type of a key does not take."""
    config = OmegaConf.structured(Config)
    for value in values:
        try:
            OmegaConf.update(config, target, value)
        except OmegaConfBaseException as error:
            told = f"{target} cannot be null." if value is None else explain(error)
            raise ConfigError(f"{label}: {told}") from error


def _single(given: Any, target: str, label: str) -> ConfigError:
    if given is None or given == "":
        return ConfigError(f"{label} has no value. Give a list or {{low, high}}, or remove the key from the space.")
    return ConfigError(
        f"{label}={quote(given)} is one value: there is nothing to search. Give a list or {{low, high}}, or fix it "
        f"with {target}={quote(given)} instead."
    )


def _no_sweep(given: str, label: str, error: Exception) -> ConfigError:
    detail = re.sub(r"\s*Available:.*|\n.*", "", str(error), flags=re.DOTALL)
    name = re.search(r"Unknown function '(\w+)'", detail)
    hint = near(name[1], ("interval", "range", "choice", "tag")) if name else ""
    return ConfigError(
        f"{label}: '{given}' is not a sweep that can be searched: {detail.rstrip('.')}; expected "
        f"interval(1e-5,1e-1), tag(log,interval(1e-5,1e-1)), range(1,5) or choice(a,b).{hint}"
    )
