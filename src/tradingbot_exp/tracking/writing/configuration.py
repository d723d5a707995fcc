"""A configuration as it is recorded: resolved leaf by leaf, secrets masked."""

from __future__ import annotations

from dataclasses import is_dataclass
from enum import Enum
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tradingbot_exp.config.redaction import mask_secrets


def as_recorded(config: Any) -> dict[str, Any]:
    """Turn a `Config`, a DictConfig or a mapping into plain values, credentials masked."""
    tree = config if OmegaConf.is_config(config) else OmegaConf.structured(config) if is_dataclass(config) else config
    return cast("dict[str, Any]", mask_secrets(_resolved(OmegaConf.create(tree))))


def _resolved(tree: Any) -> Any:
    """Resolve a configuration leaf by leaf; one that cannot be resolved, as an app may never need it, stays text."""
    if isinstance(tree, DictConfig | ListConfig) and not (tree._is_none() or tree._is_missing()):
        keys = list(tree) if isinstance(tree, DictConfig) else list(range(len(tree)))
        found = []
        for key in keys:
            try:
                value = "???" if OmegaConf.is_missing(tree, key) else tree[key]
            except OmegaConfBaseException:
                value = OmegaConf.to_container(tree, resolve=False)[key]  # type: ignore[index]
            found.append(_resolved(value))
        return (
            {str(key): value for key, value in zip(keys, found, strict=True)} if isinstance(tree, DictConfig) else found
        )
    return tree.name if isinstance(tree, Enum) else tree
