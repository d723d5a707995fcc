"""Composition without the command line: overrides, and perhaps a file, to the configuration that a job runs."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from tradingbot_exp.config.explain import explain, refuse_option_spelling
from tradingbot_exp.config.finalize import LEARNING_RATES, finalize
from tradingbot_exp.config.keys import KEYS, value_of
from tradingbot_exp.config.paths import conf_dir
from tradingbot_exp.config.redaction import MASK, redact
from tradingbot_exp.config.schema import Config
from tradingbot_exp.config.yaml_file import YamlFile, check_keys, composing_error
from tradingbot_exp.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

# Hydra keeps what it composes with in one place for the whole process.
_lock = threading.RLock()


def compose_config(overrides: Sequence[str] = (), file: YamlFile | None = None) -> Config:
    """Compose defaults, then the file, then overrides, as the command line would with the file as a template.

    Parameters
    ----------
    overrides : sequence of str
        ``KEY=VALUE`` or ``GROUP=OPTION``, as on the command line.
    file : YamlFile, optional
        Blocks of keys. Without a block `data`, and no override of it, the file is for arrays of the user's own,
        and nothing is checked against market data.

    Returns
    -------
    Config
        Resolved and checked.

    Raises
    ------
    ConfigError
        Names the key and, if the file set it, the file and its line.
    """
    parsed = _parse(overrides)
    template = {} if file is None else check_keys(file)
    own_data = file is None or "data" in file.tree or any(_is_at(override, "data") for override in parsed)
    try:
        composed = _compose(parsed, file, template)
        config = finalize(composed, overrides, own_data=own_data)
    except (HydraException, OmegaConfBaseException, RecursionError) as error:
        raise located(explain(error), overrides, file) from error
    except YAMLError as error:
        raise composing_error(error) from error
    except ConfigError as error:
        raise located(str(error), overrides, file) from error
    for key in (key for key, facts in KEYS.items() if facts.secret):
        uri = value_of(config, key)
        if f"{MASK}@" in (uri or ""):
            text = f"{key}={uri} had its password taken out when it was kept. Give the whole address: {key}=ADDRESS."
            raise located(text, overrides, file)
    return config


def _parse(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides, and refuse those that only the command line can follow."""
    if isinstance(overrides, str) or not all(isinstance(word, str) for word in overrides):
        raise ConfigError(f"The overrides are {overrides!r}: expected is a list of texts, ['training.epochs=20'].")
    refuse_option_spelling(overrides)
    for word in overrides:
        if word.startswith("-"):
            raise ConfigError(f"{word} is an option of the command line. Here each entry is KEY=VALUE.")
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(explain(error)) from error
    for override in parsed:
        word = str(override.input_line)
        if override.is_sweep_override():
            if _is_at(override, "hpo"):
                key, _, value = word.partition("=")
                raise ConfigError(
                    f"{word} is a sweep to Hydra. As an entry of a search space it is a text: {key}='{value}'."
                )
            raise ConfigError(
                f"{word} is a sweep over several values, and one run takes one. Studies are run by "
                "`python -m tradingbot_exp.train --multirun`, or by run_hpo_study."
            )
        if override.key_or_group == "hydra.searchpath":  # a configuration directory of the user's own
            continue
        if override.key_or_group.partition(".")[0].partition("/")[0] == "hydra":
            raise ConfigError(f"{word} steers Hydra's command line, and is not read here. Leave it out.")
    return parsed


def _compose(parsed: Sequence[Override], file: YamlFile | None, template: dict[str, str]) -> DictConfig:
    with _own_hydra():
        if file is None:
            return compose("config", [str(override.input_line) for override in parsed])
        groups = [each for each in parsed if _is_group(each) or each.key_or_group == "hydra.searchpath"]
        chosen = {override.key_or_group for override in groups}
        words = [f"{group}={option}" for group, option in template.items() if group not in chosen]
        composed = compose("config", [*words, *(str(override.input_line) for override in groups)])
        _merge(composed, file)
        ConfigLoaderImpl._apply_overrides_to_config([each for each in parsed if each not in groups], composed)
        return composed


def _merge(composed: DictConfig, file: YamlFile) -> None:
    """Put the file's values over the composed ones; its search space and its learning rate replace the former."""
    if "param_space" in file.tree.get("hpo", {}):
        composed.hpo.param_space = {}
    blocks = {key: file.tree.get(key.partition(".")[0], {}) for key in LEARNING_RATES}
    given = [key for key, block in blocks.items() if "${" not in str(block.get("learning_rate", "${"))]
    if given:  # whatever either of the two was before does not count any more
        for key in LEARNING_RATES:
            OmegaConf.update(composed, key, f"${{{given[0]}}}")
    OmegaConf.set_struct(composed, False)
    composed.merge_with({key: value for key, value in file.tree.items() if key != "defaults"})
    OmegaConf.set_struct(composed, True)


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Let Hydra compose from our files, and leave it as it was: a notebook, or an app, may be using it."""
    with _lock:
        hydra, name = GlobalHydra.instance().hydra, JobRuntime.instance().conf.copy()
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(conf_dir()), job_name="train"):
                yield
        finally:
            GlobalHydra.instance().hydra = hydra
            JobRuntime.instance().conf = name


def _is_group(override: Override) -> bool:
    """Tell a choice of a group, ``model=lstm``, from a value."""
    folder = conf_dir() / override.key_or_group
    return folder.is_dir() and not isinstance(override.value(), dict)


def _is_at(override: Override, block: str) -> bool:
    return bool(override.key_or_group == block or override.key_or_group.startswith((f"{block}.", f"{block}/")))


def located(text: str, overrides: Sequence[str], file: YamlFile | None) -> ConfigError:
    """Make an error of a message, with file and line before it if the first key that it names was set by the file."""
    overridden = {word.lstrip("+~").partition("=")[0] for word in overrides}
    if file is not None:
        for key in re.findall(r"\w+(?:\.\w+)*", text):
            if key in overridden:
                break
            # A single word may be a block's name and mean nothing, unless it begins the message.
            if key in file.lines and ("." in key or text.startswith(key)):
                return file.error(text, key)
    return ConfigError(redact(text))
