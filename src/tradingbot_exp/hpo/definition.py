"""What makes two studies the same study: configuration, data and code, but not how or where they are run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from tradingbot_exp.config.finalize import flatten
from tradingbot_exp.config.keys import facts_of
from tradingbot_exp.config.modules import plugins_sha256
from tradingbot_exp.config.schema import Config
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.runtime.package import code_sha256

# What a key of the definition is called, where it is none of the configuration.
_SAID = {"code.sha256": "the source of tradingbot_exp (code.sha256)"}


def define(config: Config, space: dict[str, Any], data_fingerprint: str) -> dict[str, Any]:
    """Return the definition of a study as a flat mapping of plain values.

    Parameters
    ----------
    config : Config
    space : dict
        `SearchSpace.describe()`.
    data_fingerprint : str
        Stands for the data, wherever they are kept.
    """
    flat = {
        key: value
        for key, value in flatten(asdict(config))
        if facts_of(key).decides in ("result", "study") and not key.startswith("hpo.param_space")
    }
    # The space as it was read, not as it was written.
    flat.update({f"hpo.param_space.{name}": value for name, value in space.items()})
    # A list of one means the one.
    objectives = objectives_of(config.hpo)
    if len(objectives) == 1:
        flat["hpo.metric"], flat["hpo.direction"] = objectives[0]
    flat["data.fingerprint"] = data_fingerprint
    flat["code.sha256"] = code_sha256()
    if config.plugins:
        flat["plugins.sha256"] = plugins_sha256(config.plugins)
    # Through JSON, so that a stored definition compares equal with a fresh one.
    plain: dict[str, Any] = json.loads(json.dumps(flat, sort_keys=True, default=str))
    return plain


def short_hash(definition: dict[str, Any]) -> str:
    """Return eight hexadecimal digits that change with any part of the definition."""
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:8]


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Say key by key what differs between two definitions."""
    said = []
    for key in sorted({*old, *new}):
        before, after = old.get(key, "not there"), new.get(key, "not there")
        if before != after:
            said.append(f"{_SAID.get(key, key)}: {before} before, {after} now")
    return said
