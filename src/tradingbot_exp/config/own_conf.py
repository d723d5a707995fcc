"""A configuration directory of the user's own, ``--config-dir DIR``: how it is recorded, and what its files may use."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tradingbot_exp.config.overrides import split_words
from tradingbot_exp.config.paths import conf_dir, launch_dir


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


def _fixed(arguments: Sequence[str]) -> list[str]:
    """Return the overrides that fix a value, with the configuration directory as one of them."""
    words: list[str] = []
    folder = ""
    waiting = False
    for word in arguments:
        if waiting or word.startswith("--config-dir="):
            folder, waiting = word.removeprefix("--config-dir="), False
        elif word in ("--config-dir", "-cd"):
            waiting = True
        elif not word.startswith("-") and "=" in word:
            words.append(word)
    fixed, _ = split_words(words)
    return [f"hydra.searchpath=[file://{(launch_dir() / folder).resolve()}]", *fixed] if folder else fixed
