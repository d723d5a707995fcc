"""Features that learn something from the train bars first: registered, fitted, and kept with the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import pandas as pd

from tradingbot_exp.data.features import FEATURES, WARMUP, FittedFeature, feature
from tradingbot_exp.errors import TRUST, ConfigError

_KEEP = (
    "Keep numbers, texts, lists, dicts, arrays or scikit-learn objects as its attributes: of a pandas series, "
    "series.to_numpy()."
)
_Class = TypeVar("_Class", bound=type[FittedFeature])


def fitted_feature(name: str, warmup: int = WARMUP) -> Callable[[_Class], _Class]:
    """Register a class as a feature that is fitted to the train bars, and computed with what it learned.

    The class is made without arguments. Its ``fit(bars)`` is given the train bars alone: of several folds each fold's
    own, of purged k-fold with a gap where its block is. What it learns it sets as attributes, which belong to the run
    and are kept with its model: numbers, texts, lists, dicts, arrays and scikit-learn objects. Its ``transform(bars)``
    is a function of bars as under `tradingbot_exp.data.features.feature`, and must not change the object.

    Parameters
    ----------
    name, warmup
        See `tradingbot_exp.data.features.feature`.
    """

    def register(cls: _Class) -> _Class:
        if not all(callable(getattr(cls, name, None)) for name in ("fit", "transform")):
            raise ConfigError(
                f"data.features: {name!r} is {cls!r}; expected a class with fit(bars) and transform(bars)."
            )
        return feature(name, warmup)(cls)

    return register


def is_fitted(name: str) -> bool:
    """Tell whether a feature learns from train bars."""
    return isinstance(FEATURES.get(name), type)


def fit_features(names: Sequence[str], bars: pd.DataFrame) -> dict[str, FittedFeature]:
    """Fit those of the named features that learn from train bars.

    Parameters
    ----------
    names : sequence of str
    bars : pandas.DataFrame of shape (n, ...)
        The train bars.

    Raises
    ------
    ConfigError
        A class cannot be made or fitted, or learned something that cannot be kept.
    """
    found: dict[str, FittedFeature] = {}
    for name in names:
        cls = FEATURES.get(name)
        if not isinstance(cls, type):
            continue
        place = f"data.features: {name} ({_full_name(cls)})"
        before = dict(vars(cls))
        try:
            found[name] = cls()
            found[name].fit(bars.copy())
        except Exception as error:
            raise ConfigError(f"{place} cannot be fitted: {type(error).__name__}: {error}") from error
        if dict(vars(cls)) != before:
            raise ConfigError(
                f"{place} keeps what it learned as attributes of the class, which no other process has: set "
                "them on self."
            )
        _see_it_can_be_kept(place, found[name])
    return found


def as_bytes(fitted: Mapping[str, FittedFeature]) -> bytes:
    """Write what features learned, so that `from_bytes` reads it without running any code that comes with it."""
    import skops.io

    return bytes(skops.io.dumps(dict(fitted)))


def from_bytes(data: bytes, *, trust: bool = False) -> dict[str, FittedFeature]:
    """Read what features learned; their classes have to be registered.

    Parameters
    ----------
    data : bytes
        What `as_bytes` gave.
    trust : bool
        Whether any object of scikit-learn's may be in it, its functions and helper classes too, or only its estimators.

    Raises
    ------
    ConfigError
        The bytes are damaged, or hold an object that may not be in them, or one of another class than the one that is
        registered by its name.
    """
    import skops.io

    known = {_full_name(cls) for cls in FEATURES.values() if isinstance(cls, type)}
    try:
        types = [name for name in skops.io.get_untrusted_types(data=data) if name not in known]
        strange = [name for name in types if not name.startswith("sklearn.")]
        is_refused = bool(strange or (types and not trust))
        found = None if is_refused else skops.io.loads(data, trusted=[*types, *known])
    except Exception as error:
        raise ConfigError(f"what was kept of the run's features is damaged: {type(error).__name__}: {error}") from error
    if strange:
        raise ConfigError(
            f"data.features: what was kept of the run's features is of {', '.join(strange)}, which nothing registers "
            "as a fitted feature. Name the module that does in plugins."
        )
    if is_refused:
        raise ConfigError(
            f"data.features: what was kept of the run's features holds {', '.join(types)}, which may run code. {TRUST}"
        )
    parts = list(found.values()) if isinstance(found, dict) else []
    by_symbol = bool(parts) and all(isinstance(part, dict) for part in parts)
    each_of = [pair for part in (parts if by_symbol else [found]) if isinstance(part, dict) for pair in part.items()]
    if not isinstance(found, dict) or any(type(each) is not FEATURES.get(name) for name, each in each_of):
        raise ConfigError(
            "data.features: what was kept of the run's features is not of the classes that have their names now."
        )
    return found


def _see_it_can_be_kept(place: str, feature: FittedFeature) -> None:
    import skops.io

    try:
        data = as_bytes({"": feature})
        strange = _strange(data, {_full_name(type(feature))})
        if not strange:
            skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    except Exception as error:
        raise ConfigError(
            f"{place} cannot be kept and read again: {type(error).__name__}: {error}. It has to be a class at the top "
            f"of a module. {_KEEP}"
        ) from error
    if strange:
        raise ConfigError(f"{place} learned what cannot be kept, of {', '.join(strange)}. {_KEEP}")


def _strange(data: bytes, known: set[str]) -> list[str]:
    import skops.io

    types = skops.io.get_untrusted_types(data=data)
    return [name for name in types if name not in known and not name.startswith("sklearn.")]


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}"  # as skops names them
