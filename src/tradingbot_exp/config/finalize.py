"""From the configuration that Hydra composed to the one that a job runs: typed, resolved, checked."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tradingbot_exp.config.checks import check
from tradingbot_exp.config.explain import explain, unknown_key
from tradingbot_exp.config.keys import BLOCKS, KEYS, facts_of, set_value, value_of
from tradingbot_exp.config.losses import NUMBERS
from tradingbot_exp.config.modules import load_plugins
from tradingbot_exp.config.positions import BUILT_IN, POSITIONS, RULE_KEYS, PositionConfig
from tradingbot_exp.config.redaction import remember, remember_values
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.runtime.text import listed

LEARNING_RATES = ("model.learning_rate", "training.learning_rate")


def finalize(
    composed: DictConfig,
    overrides: Sequence[str] = (),
    *,
    own_data: bool = True,
    load: Callable[[Sequence[str]], object] = load_plugins,
) -> Config:
    """Resolve and check a composed configuration.

    Parameters
    ----------
    composed : DictConfig
        What Hydra composed, with or without its ``hydra`` node.
    overrides : sequence of str
        The overrides of the command line, in order: they decide which learning rate was set last.
    own_data : bool
        Whether the block `data` says what is trained on; if not, nothing is checked against it.
    load : callable
        Imports the modules that `plugins` names, or refuses to.

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
        _refuse_unknown(plain)
        _refuse_deleted(composed, overrides)
        unify_learning_rates(plain, overrides)
        missing = sorted(OmegaConf.missing_keys(plain))
        if missing:
            raise ConfigError(f"{missing[0]} has no value: give one with {missing[0]}=VALUE.")
        config = cast(Config, OmegaConf.to_object(plain))
        trees = [cast("dict[str, Any]", OmegaConf.to_container(plain, resolve=resolve)) for resolve in (False, True)]
        written, values = (dict(flatten(tree)) for tree in trees)
        # Names of options are known, and reports go by them; addresses are masked, and a moved store is known by them.
        known = [key for key in written if facts_of(key).names or facts_of(key).secret]
        remember_values({key: text for key, text in written.items() if key not in known}, values)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    for key, facts in KEYS.items():
        if facts.secret:
            remember(value_of(config, key))
    _settle(config)
    KEYS["plugins"].check("plugins", config.plugins)
    load(config.plugins)
    if config.training.resume is None:  # else the configuration of that run counts, and is checked when it is read
        check(config, own_data=own_data)
    return config


def _settle(config: Config) -> None:
    """Bring values that can be written in several ways into one form."""
    if config.data.split.train_end or config.data.split.val_end:
        config.data.split.train = config.data.split.val = config.data.split.test = None
    for switch in ("early_stopping", "gradient_clip", "checkpoint_every"):
        if getattr(config.training, switch) is False or getattr(config.training, switch) in ("off", "none"):
            setattr(config.training, switch, None)


def vary(config: Config, values: Mapping[str, Any], *, own_data: bool = True) -> Config:
    """Return a finalized configuration with other values for some of its keys, as `finalize` would have made it.

    Parameters
    ----------
    config : Config
        Where nothing but the two learning rates, which have to come together, refers to the keys.
    values : mapping of str to object
        By dotted key.
    own_data : bool
        See `finalize`.

    Raises
    ------
    ConfigError
        See `finalize`.
    """
    if len({values[key] for key in LEARNING_RATES if key in values}) > 1:
        told = listed([f"{key}={values[key]:g}" for key in LEARNING_RATES])
        raise ConfigError(f"{told} differ, but the two keys are one value. Set both to the same number.")
    varied = copy.deepcopy(config)
    typed = _typed()
    try:
        for key, value in values.items():
            OmegaConf.update(typed, key, value)
            node = OmegaConf.select(typed, key)
            set_value(varied, key, OmegaConf.to_container(node) if OmegaConf.is_config(node) else node)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    _settle(varied)
    check(varied, own_data=own_data)
    return varied


def _refuse_unknown(block: DictConfig, prefix: str = "") -> None:
    """Refuse keys that the schema does not have: a plus sign, ``+model.droput=0.1``, puts them even there."""
    for name in map(str, block):
        key = f"{prefix}{name}"
        if key not in KEYS:
            raise ConfigError(unknown_key(key))
        if key in BLOCKS and not OmegaConf.is_interpolation(block, name):
            _refuse_unknown(cast(DictConfig, block[name]), f"{key}.")


def _refuse_deleted(composed: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse to take out what every run needs: ``~model`` would train the default network."""
    for word in overrides:
        key = word.removeprefix("~").partition("=")[0].replace("/", ".")
        if word.startswith("~") and key in KEYS:
            instead = f"choose another: {key}=NAME" if key in BLOCKS else f"give it a value: {key}=VALUE"
            raise ConfigError(
                f"{word} takes {key} out of the configuration, and a run needs it. Leave that out, or {instead}."
            )
    for key in (key for key in KEYS if key in BLOCKS and "." not in key and key not in composed):
        raise ConfigError(f"{key} is not in the configuration, and a run needs it. Add it to the list of defaults.")


@lru_cache(maxsize=1)
def _typed() -> DictConfig:
    """Return a configuration that converts values to the types of their keys; what else is in it means nothing."""
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
        told = listed([f"{key}={value:g}" for key, value in values.items()])
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


def tried_sha256(config: Config, symbols: Sequence[str] = ()) -> str:
    """Hash what makes a configuration another try on one market, whichever file its bars come from.

    As `config_sha256`, without what says where the data are from. Of a panel with its symbols: what learns from others
    as well is another try.
    """
    covered = _covered(config)
    for name in ("source", "synthetic"):
        del covered["data"][name]
    if symbols:
        covered["data"]["symbols"] = list(symbols)
    return _digest(covered)


def _covered(config: Config) -> dict[str, Any]:
    """Return what decides a result, nested as in the configuration, without what is as if nothing had been said."""
    covered = _deciding(asdict(config))
    if not covered["model"]["options"]:
        del covered["model"]["options"]
    if config.data.scaling == "pooled":
        del covered["data"]["scaling"]
    if config.data.synthetic.symbols == 1:
        del covered["data"]["synthetic"]["symbols"]
    if config.training.ensemble == 1:
        del covered["training"]["ensemble"]
    if not config.plugins:
        del covered["plugins"]
    else:
        covered["plugins"] = sorted(config.plugins)
    _leave_unread_out(covered["evaluation"], config.data.horizon)
    for number, loss in NUMBERS.items():
        if config.training.loss != loss or covered["training"][number] is None:
            del covered["training"][number]
    return covered


def _deciding(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Keep the keys that decide a result; of a mapping that is no block, whatever is in it."""
    return {
        name: _deciding(value, f"{prefix}{name}.") if f"{prefix}{name}" in BLOCKS else value
        for name, value in tree.items()
        if facts_of(f"{prefix}{name}").decides == "result"
    }


def _digest(covered: dict[str, Any]) -> str:
    canonical = json.dumps(_whole(covered), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _leave_unread_out(evaluation: dict[str, Any], horizon: int) -> None:
    """Drop what scheme and position rule do not read, and what is as if nothing had been said."""
    scheme = evaluation["scheme"]
    unread = {"chronological": ("scheme", "folds", "embargo", "window"), "walk_forward": ("embargo",)}
    for name in unread.get(scheme, ("window",)):
        del evaluation[name]
    if evaluation["purge"] in (None, horizon):
        del evaluation["purge"]
    rule = evaluation["position"]
    if rule in BUILT_IN:
        for name in {*RULE_KEYS} - {*POSITIONS[rule].reads}:
            # Metrics across symbols read how many there have to be, whatever the rule.
            if name != "min_symbols" or evaluation[name] == PositionConfig.min_symbols:
                del evaluation[name]
    if rule == "sign":
        del evaluation["position"]
    if not evaluation["borrow_bps"]:
        del evaluation["borrow_bps"]


def _whole(tree: Any) -> Any:
    """Turn numbers such as 252.0 into 252: they are the same, and both can be written for a key of any type."""
    if isinstance(tree, dict):
        return {key: _whole(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_whole(value) for value in tree]
    return int(tree) if isinstance(tree, float) and tree.is_integer() else tree
