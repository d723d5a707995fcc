"""What users add in modules of their own: sources, losses, metrics, position rules, samplers and hooks.

The key `plugins` names the modules, which `tradingbot_exp.config.modules` imports before a configuration is checked, in
every process that runs a job. Models are registered by `tradingbot_exp.models.register`, features by
`tradingbot_exp.data.features.feature`; the rest is here, and nothing of it loads a heavy library.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from tradingbot_exp.config.choices import SAMPLERS, check_name
from tradingbot_exp.config.losses import BUILT_IN as BUILT_IN_LOSSES
from tradingbot_exp.config.losses import LOSSES, Loss, Target
from tradingbot_exp.config.metrics import TABLE
from tradingbot_exp.config.positions import BUILT_IN as BUILT_IN_POSITIONS
from tradingbot_exp.config.positions import POSITIONS, RULE_KEYS, Position
from tradingbot_exp.config.registries import BUILT_IN_SOURCES, EPOCH_HOOKS, SOURCES, USER_METRICS, USER_SAMPLERS
from tradingbot_exp.errors import ConfigError, TrainingError
from tradingbot_exp.runtime.text import qualified_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tradingbot_exp.config.schema import Config

_F = TypeVar("_F", bound=Callable[..., Any])

_TAKEN_METRICS = (*TABLE, "loss")


def source(name: str) -> Callable[[_F], _F]:
    """Register a source of bars, ``data.source=<name>``.

    The function takes the block `data` of the configuration, of which `path` (absolute), `symbol` and `options` are
    meant for it, and gives a data frame of bars: columns date (or a DatetimeIndex), open, high, low, close, volume
    and, if there, adj_close and others. It is checked as a file of bars would be.

    Raises
    ------
    ConfigError
        The name is taken.
    """
    if name in BUILT_IN_SOURCES:
        raise ConfigError(f"data.source: '{name}' is a source of this package. Give yours another name.")
    return _into(SOURCES, name, "data.source")


def metric(name: str) -> Callable[[_F], _F]:
    """Register a metric, logged as ``val_<name>`` and ready for `hpo.metric`.

    The function takes three float64 arrays of shape (n,), a value a bar in time order, and gives a number: the
    target, the forecast in its unit, and the net simple return of the strategy over the next bar (None where the
    data have no returns). NaN stands for a metric that is not defined there.

    Raises
    ------
    ConfigError
        The name is taken, or none for a metric.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or "_lag" in name:
        raise ConfigError(
            f"metric: '{name}' is not a name for a metric. It takes small letters, digits and _, and no '_lag'."
        )
    if name in _TAKEN_METRICS:
        raise ConfigError(f"metric: val_{name} is a metric of this package. Give yours another name.")
    return _into(USER_METRICS, name, "metric")


def loss(name: str, *, target: Target = "any", in_order: bool = False) -> Callable[[_F], _F]:
    """Register a loss, ``training.loss=<name>``.

    The function takes two tensors of shape (n, 1), the forecast and the target of a batch's rows, or three: the third
    is the log return of each row over the next bar, (n, 1), or None where the data have no returns. It gives a tensor
    of shape () that can be differentiated. An epoch's loss is the mean over its rows of what their batches gave, and
    ``val_loss`` that of all validation rows at once. Networks are stacked with it: each model's forecasts are given by
    themselves.

    Parameters
    ----------
    name : str
    target : str
        ``any``; or ``probability``, for 0/1 targets: then the forecast that the function is given is a logit.
    in_order : bool
        Whether a batch is to hold consecutive rows in time order, of a panel whole dates. The batches' order is drawn.

    Raises
    ------
    ConfigError
        The name is taken, or not one for a loss; the target is neither of the two; or the function has to be given
        neither two arguments nor three, or may be given returns or not.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(f"loss: '{name}' is not a name for a loss. It takes small letters, digits and _.")
    if name in BUILT_IN_LOSSES:
        raise ConfigError(f"training.loss: '{name}' is a loss of this package. Give yours another name.")
    check_name(f"loss: the target of '{name}'", target, get_args(Target))

    def entry(function: Callable[..., Any]) -> Loss:
        returns = _takes_returns(name, function)
        return Loss(name, "", function, target=target, takes_returns=returns, in_order=in_order)

    return _into(LOSSES, name, "training.loss", entry)


def _takes_returns(name: str, function: Callable[..., Any]) -> bool:
    """Tell whether a loss has to be given a third argument, by its signature; refuse one that leaves it open."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"loss: '{name}' has no signature to read: {error}. Write a function around it.") from error
    each = signature.parameters.values()
    needed = [one for one in each if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    by_place = all(one.kind != one.KEYWORD_ONLY for one in needed)
    is_open = any(one.kind == one.VAR_POSITIONAL or (one.name == "returns" and one not in needed) for one in each)
    if len(needed) not in (2, 3) or not by_place or is_open:
        raise ConfigError(
            f"loss: '{name}' has the signature {signature}. A loss takes (forecast, target) or (forecast, target, "
            "returns), each without a default; options of its own have one."
        )
    return len(needed) == 3


def position(name: str, *, invested: bool = False) -> Callable[[_F], _F]:
    """Register a position rule, ``evaluation.position=<name>``.

    The function takes `tradingbot_exp.evaluation.positions.Signals`, n forecasts with what is known when each is made,
    and gives the position that each asks for, an array of shape (n,) of finite numbers: 1 is long with all of a
    symbol's part of wealth, −1 short. What it gives for a row may depend on that row and on earlier dates alone.

    Parameters
    ----------
    name : str
    invested : bool
        Of a panel, whether the positions of a date share all of wealth: position / Σ |position| in place of
        position / number of symbols.

    Raises
    ------
    ConfigError
        The name is taken, or not one for a position rule.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(
            f"position: '{name}' is not a name for a position rule. It takes small letters, digits and _."
        )
    if name in BUILT_IN_POSITIONS:
        raise ConfigError(f"evaluation.position: '{name}' is a rule of this package. Give yours another name.")
    entry = partial(Position, name, "", RULE_KEYS, "", invested)
    return _into(POSITIONS, name, "evaluation.position", entry)


def sampler(name: str) -> Callable[[_F], _F]:
    """Register a sampler, ``hpo.sampler=<name>``.

    The function takes a seed and gives one of Optuna's samplers, an `optuna.samplers.BaseSampler`. It is called once a
    trial, with a seed made of the study's and of how many points were drawn before, so that a study that was killed
    proposes what it would have proposed. The sampler sees earlier trials in the study that it is given.

    Raises
    ------
    ConfigError
        The name is taken, or not one for a sampler.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(f"sampler: '{name}' is not a name for a sampler. It takes small letters, digits and _.")
    if name in SAMPLERS:
        raise ConfigError(f"hpo.sampler: '{name}' is a sampler of this package. Give yours another name.")
    return _into(USER_SAMPLERS, name, "hpo.sampler")


def on_epoch(function: _F) -> _F:
    """Have a function called after each epoch, with the epoch (from 1), its losses, and the configuration.

    It is called in the process that trains, for each run and each trial. What it returns is True to stop training
    after this epoch; an exception ends the run as FAILED.
    """
    EPOCH_HOOKS[qualified_name(function)] = function
    return function


def ask_hooks(epoch: int, losses: dict[str, float], config: Config) -> bool:
    """Call each hook; tell whether one of them wants training to stop."""
    import numpy as np

    answers: list[Any] = [hook(epoch, losses, config) for hook in EPOCH_HOOKS.values()]
    return any(isinstance(answer, bool | np.bool_) and bool(answer) for answer in answers)


def own_metrics(
    actual: NDArray[np.float64], forecast: NDArray[np.float64], returns: NDArray[np.float64] | None
) -> dict[str, float]:
    """Compute the user's own metrics; see `metric`.

    Raises
    ------
    TrainingError
        One raises, or gives no number; the message names it.
    """
    found: dict[str, float] = {}
    for name, function in USER_METRICS.items():
        place = f"The metric val_{name} ({qualified_name(function)})"
        try:
            given = function(actual.copy(), forecast.copy(), None if returns is None else returns.copy())
        except Exception as error:
            raise TrainingError(f"{place} raised {type(error).__name__}: {error}") from error
        try:
            found[name] = float(given)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"{place} gave {given!r}; expected a number, NaN where it is not defined.") from error
    return found


def _into(
    registry: dict[str, Any], name: str, what: str, entry: Callable[[Any], Any] = lambda function: function
) -> Callable[[_F], _F]:
    """Make a decorator that registers a function; the same one may come again, as when its module is reloaded."""

    def register(function: _F) -> _F:
        found = registry.get(name)
        known: Any = found.function if isinstance(found, Loss | Position) else found
        if known is not None and qualified_name(known) != qualified_name(function):
            raise ConfigError(f"{what}: '{name}' is {qualified_name(known)} already.")
        registry[name] = entry(function)
        return function

    return register
