"""The ConfigurationManager: a YAML file and overrides, over this package's defaults, to one checked configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.config.compose import compose_config, located
from tradingbot_exp.config.yaml_file import YamlFile, read_yaml
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.tracking.reading.differences import diff_runs
from tradingbot_exp.tracking.reading.history import experiment_history
from tradingbot_exp.tracking.store.store import open_store

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.tracking.reading.differences import RunDifferences
    from tradingbot_exp.tracking.reading.history import ConfigurationUse


class ConfigurationManager:
    """Loads a configuration.

    Parameters
    ----------
    config_path : str or path, optional
        A YAML file with any of the blocks `experiment`, `data`, `model`, `training`, `evaluation`, `hpo`,
        `tracking` and the key `seed`. What it leaves out has its default. A run's own ``config/config.yaml`` is
        such a file too. Without it, all is default.
    overrides : sequence of str
        As on the command line: ``["training.epochs=5", "model=lstm"]``. They come after the file.

    Examples
    --------
    >>> config = ConfigurationManager(overrides=["training.epochs=5"]).get_config()
    >>> config.training.epochs, config.model.hidden_layers[0]
    (5, 64)
    """

    def __init__(self, config_path: str | os.PathLike[str] | None = None, overrides: Sequence[str] = ()) -> None:
        self.config_path = None if config_path is None else Path(config_path).expanduser().absolute()
        self.overrides = overrides if isinstance(overrides, str) else list(overrides)

    def __repr__(self) -> str:
        path = None if self.config_path is None else str(self.config_path)
        return f"ConfigurationManager(config_path={path!r}, overrides={self.overrides!r})"

    def get_config(self) -> Config:
        """Compose, resolve and check the configuration; the file is read anew at each call.

        Returns
        -------
        Config
            Its values are attributes: ``config.model.hidden_layers[0]``. `ExperimentOrganizer`, `run_hpo_study` and
            `EnhancedMLflowLogger.log_config` take it.

        Raises
        ------
        ConfigError
            A key or the file is wrong; the message says where, what was given, and what would be right.
        """
        return compose_config(self.overrides, self._file())

    def validate(self) -> None:
        """Check all that can be checked without data: what `get_config` does, and the search space too.

        Raises
        ------
        ConfigError
            See `get_config`.
        """
        from tradingbot_exp.hpo.space.space import SearchSpace

        file = self._file()
        space = compose_config(self.overrides, file).hpo.param_space
        if space:
            try:
                SearchSpace.parse(space)
            except ConfigError as error:
                raise located(str(error), self.overrides, file) from error

    def history(self) -> tuple[ConfigurationUse, ...]:
        """Return every configuration that the experiment has used, newest first: `experiment.name` in `tracking.uri`.

        Returns
        -------
        tuple of ConfigurationUse
            When and by which commit each was used, by how many runs, which keys changed from the one before, and the
            best result; a study is one entry. Empty if there are no runs.

        Raises
        ------
        ConfigError
            See `get_config`.
        RunError
            There is no experiment of that name in the store.
        TrackingError
            There is no store yet, or it cannot be read.
        """
        config = self.get_config()
        return experiment_history(open_store(config.tracking.uri), config.experiment.name).uses

    def diff(self, run_a: str, run_b: str) -> RunDifferences:
        """Compare two runs of the store `tracking.uri`.

        Parameters
        ----------
        run_a, run_b : str
            An id, the first letters of one, ``latest``, or a registered model, ``models:/NAME@champion``.

        Returns
        -------
        RunDifferences
            In configuration, code, data, packages, hardware and metrics; what was not recorded is named.

        Raises
        ------
        ConfigError
            See `get_config`.
        RunError
            A run is not there, or is not the only one.
        TrackingError
            There is no store yet, or it cannot be read.
        """
        return diff_runs(open_store(self.get_config().tracking.uri), run_a, run_b)

    def _file(self) -> YamlFile | None:
        return None if self.config_path is None else read_yaml(self.config_path)
