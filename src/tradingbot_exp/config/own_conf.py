"""A configuration directory of the user's own, ``--config-dir DIR``: how it is recorded, and what its files may use."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tradingbot_exp.config.overrides import split_words
from tradingbot_exp.config.paths import conf_dir, launch_dir
from tradingbot_exp.config.yaml_file import require_text
from tradingbot_exp.errors import ConfigError, Refusal
from tradingbot_exp.runtime.text import listed


def trusted_plugins(arguments: Sequence[str]) -> list[str]:
    """Return the patterns of the packages that `plugins` names, so that Hydra may make the user's own callbacks.

    Hydra makes callbacks before any code of ours sees the configuration, so it is composed once more, and only where
    a configuration directory or `plugins` is given. What is wrong with it is left to the composition that counts.
    """
    if not any(word.startswith(("--config-dir", "-cd", "hydra.searchpath=", "plugins=")) for word in arguments):
        return []
    try:
        with warnings.catch_warnings(), initialize_config_dir(str(conf_dir()), job_name="train"):
            warnings.simplefilter("ignore")
            composed = compose("config", _fixed(arguments))
        named = [str(name) for name in OmegaConf.select(composed, "plugins") or []]
    except Exception:
        return []
    if named and str(launch_dir()) not in sys.path:
        sys.path.append(str(launch_dir()))  # a console script does not look there
    return sorted({f"{name.partition('.')[0]}.*" for name in named})


def search_path(hydra: Any) -> list[str]:
    """Write the user's own configuration directory as an override, which composes the same again; empty without one.

    Parameters
    ----------
    hydra : HydraConf
        The node ``hydra`` of what was composed.
    """
    given = [str(word) for word in hydra.overrides.hydra if str(word).startswith("hydra.searchpath=")]
    added = [Path(each.path) for each in hydra.runtime.config_sources if each.provider == "command-line"]
    here = launch_dir()
    shown = [place.relative_to(here) if place.is_relative_to(here) else place for place in added]
    return [*given, *(f"hydra.searchpath=[file://{place}]" for place in shown)]


def task_overrides(hydra: Any) -> list[str]:
    """Return the overrides of a job as they were written: what they refer to is not resolved.

    Parameters
    ----------
    hydra : HydraConf
        The node ``hydra`` of what was composed.
    """
    return list(map(str, cast("list[Any]", OmegaConf.to_container(hydra.overrides.task, resolve=False))))


def refuse_another_app(config: Any) -> None:
    """Refuse ``hydra/sweeper=study`` in an app that does not have the configuration that it searches.

    Raises
    ------
    Refusal
        Says whose the sweeper is; Hydra would print another error's whole traceback.
    """
    missing = [block for block in ("data", "model", "training", "hpo") if block not in config]
    ours = str(config.hydra.sweeper._target_).startswith("hydra_plugins.tradingbot_exp.")
    if ours and missing:
        text = (
            "hydra/sweeper=study is tradingbot_exp's and searches the configuration of python -m tradingbot_exp.train: "
            f"the app {config.hydra.job.name} has no {listed(missing)}. Use hydra/sweeper=basic, or optuna of the "
            "package hydra-optuna-sweeper."
        )
        raise Refusal(ConfigError(text))


def refuse_irregular(arguments: Sequence[str]) -> None:
    """Refuse, in a directory of configuration, a chosen file that Hydra could not read, and any that it would wait for.

    Raises
    ------
    ConfigError
        Names the file.
    """
    pairs = [word.lstrip("+~").partition("=") for word in arguments]
    chosen = {
        f"{key.partition('@')[0]}/{each}.yaml" for key, _, value in pairs for each in value.strip("[]").split(",")
    }
    for folder in _folders(arguments):
        # Groups of groups included; the directory may hold much else.
        for file in (file for depth in ("", "*/", "*/*/") for file in sorted(folder.glob(f"{depth}*.yaml"))):
            is_odd = file.exists() and not file.is_file() and not file.is_dir()
            if is_odd or file.relative_to(folder).as_posix() in chosen:
                require_text(file)


def _folders(arguments: Sequence[str]) -> list[Path]:
    """Return the directories that options of Hydra's name."""
    options = ("--config-dir", "-cd", "--config-path", "-cp")
    pairs = [(word.partition("=")[0], word.partition("=")[2] or behind) for word, behind in pairwise([*arguments, ""])]
    return [launch_dir() / folder for option, folder in pairs if option in options and folder]


def _fixed(arguments: Sequence[str]) -> list[str]:
    """Return the overrides that fix a value, with the configuration directory as one of them."""
    fixed, _ = split_words([word for word in arguments if not word.startswith("-") and "=" in word])
    places = ",".join(f"file://{folder.resolve()}" for folder in _folders(arguments))
    return [f"hydra.searchpath=[{places}]", *fixed] if places else fixed
