"""A configuration as it is recorded: resolved leaf by leaf but for environment variables, secrets masked."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from enum import Enum
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tradingbot_exp.config.redaction import as_written, mask_secrets, refers_to_environment
from tradingbot_exp.config.schema import Config


def as_recorded(config: Any) -> dict[str, Any]:
    """Turn a `Config`, a DictConfig or a mapping into plain values, credentials masked."""
    if isinstance(config, Config):  # resolved already: what looks like an interpolation is a text
        return cast("dict[str, Any]", mask_secrets(_resolved(asdict(config))))
    tree = config if OmegaConf.is_config(config) else OmegaConf.structured(config) if is_dataclass(config) else config
    return cast("dict[str, Any]", mask_secrets(_resolved(OmegaConf.create(tree))))


def _resolved(tree: Any, prefix: str = "") -> Any:
    """Resolve a configuration leaf by leaf.

    One that cannot be resolved, as an app may never need it, stays text, and so does a text out of the environment.
    """
    if isinstance(tree, dict):
        return {key: _resolved(value, f"{prefix}{key}.") for key, value in tree.items()}
    if isinstance(tree, list):
        return [_resolved(value, f"{prefix}{place}.") for place, value in enumerate(tree)]
    if isinstance(tree, DictConfig | ListConfig) and not (tree._is_none() or tree._is_missing()):
        keys = list(tree) if isinstance(tree, DictConfig) else list(range(len(tree)))
        found = []
        for key in keys:
            try:
                value = "???" if OmegaConf.is_missing(tree, key) else tree[key]
            except OmegaConfBaseException:
                value = OmegaConf.to_container(tree, resolve=False)[key]  # type: ignore[index]
            written = tree._get_node(key)
            if isinstance(value, str) and isinstance(written, Node) and refers_to_environment(written._value()):
                value = written._value()
            found.append(_resolved(value, f"{prefix}{key}."))
        return (
            {str(key): value for key, value in zip(keys, found, strict=True)} if isinstance(tree, DictConfig) else found
        )
    return tree.name if isinstance(tree, Enum) else as_written(prefix.removesuffix("."), tree)
