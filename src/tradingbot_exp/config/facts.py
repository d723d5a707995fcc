"""What is known of a configuration key besides its type and default: metadata of its field in the schema."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from tradingbot_exp.config.choices import check_name
from tradingbot_exp.errors import ConfigError


@dataclass(frozen=True)
class Facts:
    """The facts about one key; a block's `decides`, `search` and `may_change` hold for the keys in it, too.

    Attributes
    ----------
    decides : str
        ``result``: a run's numbers. ``data``: which data are loaded, which count by their fingerprint, whatever they
        are called. ``study``: which study a trial belongs to, and no number of a run. ``nothing``: names, places and
        what is displayed.
    search : str
        Why no study may search it; empty if it may.
    may_change : bool
        Whether it may be another when an interrupted run is resumed.
    derived : bool
        Whether null stands for a value that follows from the rest of the configuration.
    secret : bool
        Whether it is an address that may hold a password.
    nested : bool
        Whether a list of it may hold mappings.
    wanted : str
        The values that it takes, with their unit, such as ``1 or more bars``.
    holds : callable, optional
        Whether it takes a value; without it, any of its type.
    one_of : collection of str, or callable that returns one, optional
        The names that it takes, each of which a list holds; where they are explained, a mapping to the explanation.
    """

    decides: Literal["result", "data", "study", "nothing"] = "result"
    search: str = ""
    may_change: bool = False
    derived: bool = False
    secret: bool = False
    nested: bool = False
    wanted: str = ""
    holds: Callable[[Any], bool] | None = None
    one_of: Collection[str] | Callable[[], Collection[str]] = ()

    @property
    def names(self) -> Collection[str]:
        """The names that it takes, those that plugins have added so far included; empty if it takes any value."""
        return self.one_of() if callable(self.one_of) else self.one_of

    def check(self, key: str, value: Any) -> None:
        """Refuse a value that `key` does not take.

        Raises
        ------
        ConfigError
            Names the key, what it takes, and what was given.
        """
        for position, each in enumerate(value if isinstance(value, list) and not self.nested else ()):
            if isinstance(each, dict | list):
                kind = "list" if isinstance(each, list) else "mapping"
                raise wrong(f"{key}[{position}]", f"a single value, not a {kind}", each)
        if names := self.names:
            for each in value if isinstance(value, list) else [value]:
                check_name(key, each, names)
        if self.holds is not None and not self.holds(value):
            raise wrong(key, self.wanted, value)


def key(default: Any, **facts: Any) -> Any:
    """Declare a key of the schema with its default and its `Facts`; a list, mapping or class is made anew each time."""
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=facts)
    if isinstance(default, type):
        return field(default_factory=default, metadata=facts)
    return field(default=default, metadata=facts)


def check_block(block: Any, prefix: str = "") -> None:
    """Refuse the values in a block of the schema that their keys do not take; `prefix` ends with a dot.

    Raises
    ------
    ConfigError
        See `Facts.check`.
    """
    for item in fields(block):
        name, value = f"{prefix}{item.name}", getattr(block, item.name)
        if is_dataclass(value):
            check_block(value, f"{name}.")
        else:
            Facts(**item.metadata).check(name, value)


def number(
    test: Callable[[float], bool], *, whole: bool = False, null: bool = False, word: str | None = None
) -> Callable[[Any], bool]:
    """Make a test of finite numbers, of whole ones alone where `whole`; with `null`, None passes too, and `word`."""
    kind = numbers.Integral if whole else numbers.Real  # those of NumPy too

    def holds(value: Any) -> bool:
        if value is None or isinstance(value, str):
            return null if value is None else value == word
        if isinstance(value, bool) or not isinstance(value, kind):
            return False
        return math.isfinite(float(value)) and test(float(value))

    return holds


def wrong(key: str, wanted: str, given: Any) -> ConfigError:
    """Make the error of an impossible value."""
    return ConfigError(f"{key} must be {wanted}; got {given!r}.")


def wrong_purge(given: int | None, horizon: int) -> ConfigError:
    """Make the error of a purge over which targets of train rows reach."""
    wanted = f"at least data.horizon={horizon} bars, or targets of train rows would overlap validation, or null"
    return wrong("evaluation.purge", f"{wanted} for the horizon", given)
