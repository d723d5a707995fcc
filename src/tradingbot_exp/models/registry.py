"""The registry of models: a class is registered under its file's name and built from a ModelConfig."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tradingbot_exp.config.choices import ACTIVATION_CLASSES, add_model, check_name, model_names
from tradingbot_exp.config.facts import wrong
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.runtime.text import qualified_name

if TYPE_CHECKING:
    from torch import nn

    from tradingbot_exp.config.schema import ModelConfig

_M = TypeVar("_M", bound="type[nn.Module]")
_MODELS: dict[str, type[nn.Module]] = {}


def register(name: str) -> Callable[[_M], _M]:
    """Register an ``nn.Module`` class as ``model.name=<name>``.

    The class takes the keyword arguments ``input_dim``, ``output_dim``, ``hidden_layers`` (list of int),
    ``activation`` (a name, see `activation_class`) and ``dropout``, and whatever ``model.options`` holds. With a
    class attribute ``sequential = True`` its input is (n, L, F) and ``input_dim`` is F; else ``input_dim`` is L·F.

    Raises
    ------
    ConfigError
        If the name belongs to another class already.
    """

    def decorate(cls: _M) -> _M:
        known = _MODELS.get(name)
        if known is not None and qualified_name(known) != qualified_name(cls):
            raise ConfigError(f"model.name: '{name}' is {qualified_name(known)} already.")
        _MODELS[name] = cls
        add_model(name)
        return cls

    return decorate


def model_class(name: str) -> type[nn.Module]:
    """Import and return the class behind a model's name.

    Raises
    ------
    ConfigError
        If there is no such model, or its file does not register it.
    """
    check_name("model.name", name, model_names())
    if name not in _MODELS:
        importlib.import_module(f"{__package__}.{name}")
    if name not in _MODELS:
        path = Path(__file__).with_name(f"{name}.py")
        raise ConfigError(f'model.name: {path} registers no model of its own name: add @register("{name}").')
    return _MODELS[name]


def build_model(config: ModelConfig, n_features: int, sequence_length: int = 1) -> nn.Module:
    """Build the network that a configuration describes, its weights drawn from torch's ambient RNG.

    Parameters
    ----------
    config : ModelConfig
        Anything with its attributes: name, hidden_layers, output_dim, activation, dropout, input_dim and, for a
        class of the user's own, options.
    n_features : int
        F, the features of one bar.
    sequence_length : int
        L, the bars of one input.

    Returns
    -------
    nn.Module
        Takes (n, L, F), or (n, F) where L is 1; gives (n, output_dim).

    Raises
    ------
    ConfigError
        For an unknown name or activation, an impossible size, an ``input_dim`` at odds with the data, or options
        that the class does not take.
    """
    cls = model_class(config.name)
    _check(config)
    sequential = bool(getattr(cls, "sequential", False))
    input_dim = n_features if sequential else n_features * sequence_length
    if config.input_dim is not None and config.input_dim != input_dim:
        parts = f"{n_features} features" + ("" if sequential else f" x {sequence_length} bars")
        raise ConfigError(
            f"model.input_dim: {config.input_dim} given, but {config.name} takes {input_dim} here ({parts}). "
            "Leave it out, or set it to that."
        )
    arguments: dict[str, Any] = {
        "input_dim": input_dim,
        "output_dim": int(config.output_dim),
        "hidden_layers": [int(size) for size in config.hidden_layers],
        "activation": config.activation,
        "dropout": float(config.dropout),
    }
    options = dict(getattr(config, "options", None) or {})
    try:
        inspect.signature(cls).bind(**arguments | options)
    except TypeError as error:
        raise ConfigError(
            f"model.name={config.name}: {qualified_name(cls)} cannot be given "
            f"{', '.join([*arguments, *options])}: {error}. A model takes the first five, and model.options."
        ) from error
    return cls(**arguments | options)


def activation_class(name: str) -> type[nn.Module]:
    """Return the ``torch.nn`` class of an activation's name; ConfigError if unknown."""
    from torch import nn

    check_name("model.activation", name, ACTIVATION_CLASSES)
    found: type[nn.Module] = getattr(nn, ACTIVATION_CLASSES[name])
    return found


def _check(config: ModelConfig) -> None:
    """Refuse sizes no network can have, before torch says so less clearly."""
    from tradingbot_exp.config.keys import facts_of

    sizes = [int(size) for size in config.hidden_layers]
    for name, value in (("hidden_layers", sizes), ("dropout", config.dropout), ("activation", config.activation)):
        facts_of(f"model.{name}").check(f"model.{name}", value)
    if config.output_dim < 1:  # a network of one's own may have more outputs than the schema lets a forecast have
        raise wrong("model.output_dim", "1 or more", config.output_dim)
