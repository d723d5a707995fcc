"""From the configuration that Hydra composed to the one that a job runs: typed, resolved, checked."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tradingbot_exp.config.checks import check
from tradingbot_exp.config.explain import explain, known_keys, unknown_key
from tradingbot_exp.config.plugins import load_plugins
from tradingbot_exp.config.redaction import remember
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import ConfigError

LEARNING_RATES = ("model.learning_rate", "training.learning_rate")


def finalize(composed: DictConfig, overrides: Sequence[str] = (), *, own_data: bool = True) -> Config:
    """Resolve and check a composed configuration.

    Parameters
    ----------
    composed : DictConfig
        What Hydra composed, with or without its ``hydra`` node.
    overrides : sequence of str
        The overrides of the command line, in order: they decide which learning rate was set last.
    own_data : bool
        Whether the block `data` says what is trained on; if not, nothing is checked against it.

    Returns
    -------
    Config
        All values resolved; `model.learning_rate` and `training.learning_rate` are the same number.

    Raises
    ------
    ConfigError
        A value is missing, impossible, or at odds with another; the message names the key.
    """
    try:
        if OmegaConf.get_type(composed) is Config and "hydra" not in composed:
            plain = copy.deepcopy(composed)
        else:
            own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
            plain = cast(DictConfig, OmegaConf.merge(OmegaConf.structured(Config), own))
        _refuse_unknown(plain, set(known_keys()))
        unify_learning_rates(plain, overrides)
        missing = sorted(OmegaConf.missing_keys(plain))
        if missing:
            raise ConfigError(f"{missing[0]} has no value: give one with {missing[0]}=VALUE.")
        config = cast(Config, OmegaConf.to_object(plain))
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    remember(config.tracking.uri)
    remember(config.hpo.storage)
    _settle(config)
    load_plugins(config.plugins)
    if config.training.resume is None:  # else the configuration of that run counts, and is checked when it is read
        check(config, own_data=own_data)
    return config


def _settle(config: Config) -> None:
    """Give values that can be written in several ways their one form."""
    if config.data.split.train_end or config.data.split.val_end:
        config.data.split.train = config.data.split.val = config.data.split.test = None
    for switch in ("early_stopping", "gradient_clip", "checkpoint_every"):
        if getattr(config.training, switch) is False or getattr(config.training, switch) in ("off", "none"):
            setattr(config.training, switch, None)


def vary(config: Config, values: Mapping[str, Any]) -> Config:
    """Give a finalized configuration with other values for some of its keys, as `finalize` would have made it.

    Parameters
    ----------
    config : Config
        Where nothing but the two learning rates, which have to come together, refers to the keys.
    values : mapping of str to object
        By dotted key.

    Raises
    ------
    ConfigError
        See `finalize`.
    """
    if len({values[key] for key in LEARNING_RATES if key in values}) > 1:
        told = " and ".join(f"{key}={values[key]:g}" for key in LEARNING_RATES)
        raise ConfigError(f"{told} differ, but the two keys are one value. Set both to the same number.")
    varied = copy.deepcopy(config)
    typed = _typed()
    try:
        for key, value in values.items():
            OmegaConf.update(typed, key, value)
            block, _, name = key.rpartition(".")
            owner: Any = varied
            for part in filter(None, block.split(".")):
                owner = getattr(owner, part)
            node = OmegaConf.select(typed, key)
            given = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
            if isinstance(owner, dict):  # model.options
                owner[name] = given
            else:
                setattr(owner, name, given)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    _settle(varied)
    check(varied)
    return varied


def _refuse_unknown(block: DictConfig, known: set[str], prefix: str = "") -> None:
    """Refuse keys that the schema does not have: a plus sign, ``+model.droput=0.1``, puts them even there."""
    for name in map(str, block):
        key = f"{prefix}{name}"
        if key not in known:
            raise ConfigError(unknown_key(key))
        if any(other.startswith(f"{key}.") for other in known) and not OmegaConf.is_interpolation(block, name):
            _refuse_unknown(cast(DictConfig, block[name]), known, f"{key}.")


@lru_cache(maxsize=1)
def _typed() -> DictConfig:
    """Give a configuration that turns values into their keys' types; what else is in it means nothing."""
    return cast(DictConfig, OmegaConf.structured(Config))


def unify_learning_rates(config: DictConfig, overrides: Sequence[str]) -> None:
    """Make the two learning rates one: the value set last, on the command line or else in a file, counts for both.

    Raises
    ------
    ConfigError
        Both were set, at one level, to different values.
    """
    given = {override.lstrip("+~").partition("=")[0] for override in overrides}
    on_command_line = [key for key in LEARNING_RATES if key in given]
    in_files = [key for key in LEARNING_RATES if not OmegaConf.is_interpolation(*_leaf(config, key))]
    set_last = on_command_line or in_files or [LEARNING_RATES[0]]
    try:
        values = {key: float(OmegaConf.select(config, key)) for key in set_last}
    except (OmegaConfBaseException, RecursionError, TypeError, ValueError) as error:
        raise ConfigError(f"{set_last[0]} has no usable value. {explain(error)}") from error
    if len(set(values.values())) > 1:
        told = " and ".join(f"{key}={value:g}" for key, value in values.items())
        raise ConfigError(
            f"{told} differ, but the two keys are one value. Set one of them, or both to the same number."
        )
    for key in LEARNING_RATES:
        OmegaConf.update(config, key, values[set_last[-1]])


def _leaf(config: DictConfig, key: str) -> tuple[DictConfig, str]:
    block, _, name = key.partition(".")
    return cast(DictConfig, config[block]), name


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of a nested mapping with its dotted key; a list is one leaf."""
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{dotted}.")
        else:
            yield dotted, value


def config_sha256(config: Config, data_fingerprint: str) -> str:
    """Hash what decides a run's result: 64 hexadecimal digits.

    Covered are `seed`, `plugins`, `data` (files by their content's fingerprint, not by path or label), `model`,
    `training` and `evaluation`. Not covered, as none of it changes a run's numbers: `experiment`,
    `tracking`, `hpo` (its values arrive in `model` and `training`), the progress display, checkpoints, and keys that
    the validation scheme does not read. Keys are sorted, so neither their order nor the way they were composed matters.
    """
    covered = _covered(config)
    covered["data"]["fingerprint"] = data_fingerprint
    return _digest(covered)


def tried_sha256(config: Config) -> str:
    """Hash what makes a configuration another try on one market, whichever file its bars come from.

    As `config_sha256`, without what says where the data are from.
    """
    covered = _covered(config)
    for name in ("source", "synthetic"):
        del covered["data"][name]
    return _digest(covered)


def _covered(config: Config) -> dict[str, Any]:
    tree = asdict(config)
    covered = {name: tree[name] for name in ("seed", "data", "model", "training", "evaluation")}
    for name in ("name", "path", "symbol", "columns", "options"):
        del covered["data"][name]
    if not covered["model"]["options"]:
        del covered["model"]["options"]
    if config.plugins:
        covered["plugins"] = sorted(config.plugins)
    for name in ("progress", "checkpoint_every", "resume"):
        del covered["training"][name]
    _leave_unread_out(covered["evaluation"], config.data.horizon)
    return covered


def _digest(covered: dict[str, Any]) -> str:
    canonical = json.dumps(_whole(covered), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _leave_unread_out(evaluation: dict[str, Any], horizon: int) -> None:
    """Drop what `evaluation.scheme` does not read, and what is as if nothing had been said."""
    scheme = evaluation["scheme"]
    unread = {"chronological": ("scheme", "folds", "embargo", "window"), "walk_forward": ("embargo",)}
    for name in unread.get(scheme, ("window",)):
        del evaluation[name]
    if evaluation["purge"] in (None, horizon):
        del evaluation["purge"]


def _whole(tree: Any) -> Any:
    """Turn numbers such as 252.0 into 252: they are the same, and both can be written for a key of any type."""
    if isinstance(tree, dict):
        return {key: _whole(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_whole(value) for value in tree]
    return int(tree) if isinstance(tree, float) and tree.is_integer() else tree
