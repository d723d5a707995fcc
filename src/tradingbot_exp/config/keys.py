"""Every key of the schema, dotted, and what is known of it; all that asks for a fact about a key asks here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from tradingbot_exp.config.facts import Facts
from tradingbot_exp.config.schema import Config

# What a block says of all keys in it.
_INHERITED = ("decides", "search", "may_change")


def _read(schema: type[Any], prefix: str, block: Mapping[str, Any]) -> Iterator[tuple[str, Facts]]:
    hints = get_type_hints(schema)
    for item in dataclasses.fields(schema):
        said = {**block, **item.metadata}
        yield f"{prefix}{item.name}", Facts(**said)
        if dataclasses.is_dataclass(hints[item.name]):
            shared = {name: said[name] for name in _INHERITED if name in said}
            yield from _read(hints[item.name], f"{prefix}{item.name}.", shared)


KEYS: dict[str, Facts] = dict(_read(Config, "", {}))
"""Every key, blocks included, in the schema's order."""
BLOCKS = frozenset(key.rpartition(".")[0] for key in KEYS) - {""}
"""Those that hold further keys of the schema."""


def value_of(config: Any, key: str) -> Any:
    """Return the value of a dotted key of a `Config`."""
    for name in key.split("."):
        config = getattr(config, name)
    return config


MAPPINGS = frozenset(key for key in KEYS if key not in BLOCKS and isinstance(value_of(Config(), key), dict))
"""Those that hold whatever a user puts into them, such as ``experiment.tags``."""


def facts_of(key: str) -> Facts:
    """Return what is known of a key, of one within a mapping what is known of the mapping.

    A key that the schema does not have decides a result, as far as anybody knows.
    """
    while key and key not in KEYS:
        key = key.rpartition(".")[0]
    return KEYS.get(key, Facts())


def set_value(config: Any, key: str, value: Any) -> None:
    """Set the value of a dotted key of a `Config`, or an entry of one of its mappings, such as ``model.options.x``."""
    block, _, name = key.rpartition(".")
    owner = value_of(config, block) if block else config
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)
