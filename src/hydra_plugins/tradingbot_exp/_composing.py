"""The configurations of a batch of jobs: composed once, where they differ in plain values only."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from tradingbot_exp.config.finalize import LEARNING_RATES, finalize, vary
from tradingbot_exp.config.keys import BLOCKS, KEYS
from tradingbot_exp.hpo.trial_spec import TICKET_VARIABLE, Ticket

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config

_TICKET = f"hydra.job.env_set.{TICKET_VARIABLE}"
# What a study gives each job besides its values.
_OWN = ("hydra.sweep.subdir", "hydra.output_subdir", _TICKET)
# Interpolations that a value may change without our composing anew: the learning rates, which come together.
_HARMLESS = ("${model.learning_rate}", "${tradingbot.", "${training.learning_rate}")


class _Base:
    """What the jobs of a batch have in common."""

    def __init__(self, config: DictConfig, overrides: Sequence[str]) -> None:
        self.config, self.overrides = config, list(overrides)
        # Overrides for Hydra that the whole sweep has.
        given = [str(word) for word in config.hydra.overrides.hydra]
        self.before = given[: len(given) - len(_hydras(overrides))]

    @cached_property
    def shared(self) -> DictConfig:
        """A copy that all jobs write into: opening it for each of them would take longer than the writing."""
        config = copy.deepcopy(self.config)
        for node in (config, config.hydra):
            OmegaConf.set_readonly(node, False)
            OmegaConf.set_struct(node, False)
        return config

    @cached_property
    def is_plain(self) -> bool:
        """Whether no value follows another that a study varies."""
        return not _refers(self.config)

    @cached_property
    def finalized(self) -> Config:
        """The first job's configuration, resolved and checked."""
        return finalize(self.config, _task(self.overrides))


@dataclass
class Composed:
    """One job's configuration.

    Attributes
    ----------
    overrides : list of str
        All of its overrides.
    """

    overrides: list[str]
    _base: _Base
    # Overrides in which it differs from the base; none for the job that the base was composed for.
    _varied: list[Override] = field(default_factory=list)

    @property
    def task_overrides(self) -> list[str]:
        """The overrides that are not for Hydra."""
        return _task(self.overrides)

    @cached_property
    def ticket(self) -> Ticket | None:
        """What a study tells the job of its trial, or None outside a study."""
        given = [word for word in self._varied if word.key_or_group == _TICKET]
        if not given:
            given = _parsed([word for word in self.overrides if _key(word) == _TICKET])
        return Ticket.loads(_plain(given[-1])) if given else None

    def config(self, number: int, *, shared: bool = False) -> DictConfig:
        """Give the configuration as Hydra composes it for a job of this number.

        Parameters
        ----------
        number : int
        shared : bool
            Whether the jobs of a batch may be given one object, which speaks of the job that asked last.
        """
        if shared:
            return self._applied(self._base.shared, number)
        config = copy.deepcopy(self._base.config)
        with read_write(config), read_write(config.hydra), open_dict(config), open_dict(config.hydra):
            return self._applied(config, number)

    def _applied(self, config: DictConfig, number: int) -> DictConfig:
        for word in self._varied:
            OmegaConf.update(config, word.key_or_group, _plain(word))
        hydra = config.hydra
        hydra.overrides.task = self.task_overrides
        hydra.overrides.hydra = [*self._base.before, *_hydras(self.overrides)]
        hydra.job.id, hydra.job.num = str(number), number
        return config

    def finalized(self) -> Config:
        """Resolve and check it; to be called while the job is Hydra's current one.

        Raises
        ------
        ConfigError
            See `tradingbot_exp.config.finalize.finalize`.
        """
        values = {word.key_or_group: _plain(word) for word in self._varied if word.key_or_group not in _OWN}
        try:
            base = self._base.finalized
        except Exception:
            if not self._varied:
                raise
            # The first job's values are wrong; these may be right.
            return finalize(self.config(0), self.task_overrides)
        return vary(base, values) if values else copy.deepcopy(base)


class ReusingLoader:
    """Composes the jobs of a launcher that starts one after another: what one took serves those that follow.

    Parameters
    ----------
    loader : ConfigLoader
        Hydra's.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._base: _Base | None = None

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Give a job's configuration as Hydra composes it, but for the job's number, which the launcher sets."""
        varied = None if self._base is None else _varied(self._base, sweep_overrides)
        if self._base is None or varied is None:
            self._base = _Base(self._loader.load_sweep_config(master_config, sweep_overrides), sweep_overrides)
            varied = []
        return Composed(sweep_overrides, self._base, varied).config(0)


def compose(loader: ConfigLoader, master: DictConfig, job_overrides: Sequence[Sequence[str]]) -> list[Composed]:
    """Compose the configurations of a batch of jobs.

    Parameters
    ----------
    loader : ConfigLoader
        Hydra's.
    master : DictConfig
        The sweep's configuration.
    job_overrides : sequence of sequence of str
        The overrides of each job.
    """
    first = job_overrides[0]
    base = _Base(loader.load_sweep_config(master, list(first)), first)
    jobs = [Composed(list(first), base)]
    for overrides in job_overrides[1:]:
        varied = _varied(base, overrides)
        if varied is None:
            jobs.append(Composed(list(overrides), _Base(loader.load_sweep_config(master, list(overrides)), overrides)))
        else:
            jobs.append(Composed(list(overrides), base, varied))
    sharing = [job for job in jobs if job._base is base]
    changed = {word.key_or_group for job in sharing for word in job._varied}
    for job in sharing:
        # They write into one object, so each writes all that any of them changes.
        missing = changed - {word.key_or_group for word in job._varied}
        job._varied += _parsed([word for word in job.overrides if _key(word) in missing])
    return jobs


def _varied(base: _Base, overrides: Sequence[str]) -> list[Override] | None:
    """Give the overrides whose values differ from the base's; None if jobs differ in more than plain values."""
    if not base.is_plain or [_key(word) for word in base.overrides] != [_key(word) for word in overrides]:
        return None
    changed = [word for word, other in zip(overrides, base.overrides, strict=True) if word != other]
    keys = {_key(word) for word in changed}
    rates = keys & set(LEARNING_RATES)
    if rates and not set(LEARNING_RATES) <= {_key(word) for word in overrides}:
        return None  # which of the two was set last is for `finalize` to find out
    leaves = _leaves()
    if any(key not in leaves and key not in _OWN for key in keys) or any("${" in word for word in changed):
        return None
    parsed = _parsed(changed)
    plain = all(not word.is_sweep_override() and not word.is_delete() and word.package is None for word in parsed)
    return parsed if plain else None


def _parsed(words: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(words))


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _task(overrides: Sequence[str]) -> list[str]:
    hydras = _hydras(overrides)
    return [word for word in overrides if word not in hydras]


def _hydras(overrides: Sequence[str]) -> list[str]:
    return [word for word in overrides if _key(word).startswith(("hydra.", "hydra/"))]


def _plain(word: Override) -> Any:
    """Give an override's value as YAML would hold it."""
    return _unquoted(word.value())


def _unquoted(value: Any) -> Any:
    if isinstance(value, list):
        return [_unquoted(inner) for inner in value]
    if isinstance(value, dict):
        return {str(_unquoted(key)): _unquoted(inner) for key, inner in value.items()}
    return value.text if isinstance(value, QuotedString) else value


@lru_cache(maxsize=1)
def _leaves() -> set[str]:
    """Give the keys of the configuration that hold one value, or a list."""
    return KEYS.keys() - BLOCKS


def _refers(config: DictConfig) -> bool:
    """Whether a value may follow another that a study varies."""
    tree = OmegaConf.to_container(OmegaConf.masked_copy(config, [key for key in map(str, config) if key != "hydra"]))
    return _has_reference(tree)


def _has_reference(tree: Any) -> bool:
    if isinstance(tree, dict):
        return any(_has_reference(value) for value in tree.values())
    if isinstance(tree, list):
        return any(_has_reference(value) for value in tree)
    return isinstance(tree, str) and "${" in tree and not tree.startswith(_HARMLESS)
