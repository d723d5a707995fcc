"""A recorded run as Python objects: configuration, metrics, history, predictions, and the model."""

from __future__ import annotations

import html
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, cast

import pandas as pd

from tradingbot_exp.config.modules import load_recorded_plugins
from tradingbot_exp.errors import RunError
from tradingbot_exp.runtime.text import own_command
from tradingbot_exp.tracking.reading.artifacts import (
    CARD,
    PREDICTIONS,
    literal,
    mapping_file,
    predictions_file,
    unresolved,
)
from tradingbot_exp.tracking.reading.fetch import LOSSES, run_record
from tradingbot_exp.tracking.reading.model import read_model
from tradingbot_exp.tracking.store.kinds import Use, require
from tradingbot_exp.tracking.store.lookup import find_run
from tradingbot_exp.tracking.store.store import open_store
from tradingbot_exp.tracking.writing.params_tags_metrics import NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlflow.entities import Run
    from mlflow.pyfunc import PyFuncModel

    from tradingbot_exp.tracking.reading.run_record import RunRecord
    from tradingbot_exp.tracking.store.store import Store

_SHOWN_METRICS = 24
# Metrics that are shown last, being of less interest than those of the whole run on validation rows.
_LESSER_METRICS = ("fold_", "seed_", "train_")
_SHOWN_TAGS = (
    ("model", "model.name"),
    ("data", "data.name"),
    ("config.sha256", "config.sha256"),
    ("best trial", "best.run_id"),
    ("registered as", "registered.model"),
    ("error", "error"),
)


@dataclass(frozen=True, repr=False, eq=False)
class RecordedRun:
    """A recorded run. What is large is read when it is first asked for.

    Attributes
    ----------
    record : RunRecord
        What MLflow says about the run.
    trust : bool
        Whether what the store says may be run: loaders of models, pickles, plugins, resolvers of the configuration.
    """

    record: RunRecord
    _store: Store
    _run: Run
    trust: bool = False

    @property
    def run_id(self) -> str:
        """The id, 32 hexadecimal digits."""
        return self.record.run_id

    @property
    def name(self) -> str:
        """The run's name."""
        return self.record.name

    @property
    def status(self) -> str:
        """``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``, as it was when the run was loaded."""
        return self.record.status

    @property
    def tags(self) -> dict[str, str]:
        """Tags by name."""
        return dict(self.record.tags)

    @property
    def params(self) -> dict[str, str]:
        """Every key of the configuration, dotted, with its value as text."""
        return dict(self.record.params)

    @property
    def metrics(self) -> dict[str, float]:
        """The newest value of each metric."""
        return dict(self.record.metrics)

    @cached_property
    def config(self) -> Any:
        """The configuration, by attribute: ``run.config.model.hidden_layers[0]``.

        A `Config`; of a run that another program logged, whatever it logged, as a DictConfig. What was recorded as
        ``${oc.env:NAME}``, or of another resolver, stays that text unless the run is trusted.
        """
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        from tradingbot_exp.config.schema import Config

        tree = self._config_tree()
        try:
            return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), tree))
        except OmegaConfBaseException:
            return tree

    def _config_tree(self) -> Any:
        """Read the configuration; of a trial, the study's with the values that the trial was given."""
        from omegaconf import OmegaConf

        if self.record.parent_id is None or "study.name" not in self.record.tags:
            return self._artifact("config/config.yaml", OmegaConf.load if self.trust else unresolved)
        parent = self._relative(find_run(self._store, self.record.parent_id))
        tree = parent._config_tree()
        for key, text in self.record.params.items():
            if text != parent.params.get(key):
                OmegaConf.update(tree, key, _parsed(text, OmegaConf.select(tree, key), self.trust), force_add=True)
        return tree

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row an epoch, from 1: `train_loss`, `val_loss` and, with a scheduler, `learning_rate`."""
        columns = {name: pd.Series(curve.values, curve.steps) for name, curve in self.record.curves.items()}
        return pd.DataFrame(columns).rename_axis("epoch")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row a validation bar: `date`, `actual`, `forecast`, `position`, and returns where the data have them.

        Of a run over several folds, the bars of all of them in time order, and their `fold`.
        """
        return cast("pd.DataFrame", self._artifact(PREDICTIONS, predictions_file))

    @cached_property
    def data_card(self) -> dict[str, Any]:
        """Source, period, frequency, split and fingerprint of the data; of a trial, the study's. Empty if not kept."""
        try:
            return dict(self._artifact(CARD, mapping_file))
        except RunError:
            parent = self.record.parent_id
            return {} if parent is None else self._relative(find_run(self._store, parent)).data_card

    @property
    def best(self) -> Self:
        """Of a study, its best trial.

        Raises
        ------
        RunError
            It is no study, or no trial of it is complete.
        """
        best = self.tags.get("best.run_id")
        if best is None:
            raise RunError(f"The run {self.run_id} ({self.name}, {self.status}) has no best trial.")
        return self._relative(find_run(self._store, best))

    @classmethod
    def found(cls, run: str, tracking_uri: str | Path | None, use: Use, *, trust: bool) -> Self:
        """Find the run that may be put to a use: see `find_run`, `open_store` and `require`."""
        store = open_store(tracking_uri)
        meant = require(store, find_run(store, run), use)
        return cls(run_record(store, meant, LOSSES), store, meant, trust)

    def required_for(self, use: Use) -> Self:
        """Return the run that may be put to a use: this one, or the best trial of a study; see `require`."""
        found = require(self._store, self._run, use)
        return self if found is self._run else self._relative(found)

    def _relative(self, found: Run) -> Self:
        """Load a run of the same store."""
        return type(self)(run_record(self._store, found, LOSSES), self._store, found, self.trust)

    @property
    def has_model(self) -> bool:
        """Whether the run keeps a model.

        Raises
        ------
        TrackingError
            The artifacts cannot be listed.
        """
        return self._store.has_model(self._run)

    @cached_property
    def model(self) -> PyFuncModel:
        """The model: ``run.model.predict(features)`` forecasts from unscaled features, a row a bar in time order.

        Raises
        ------
        RunError
            The run keeps none; or one of another kind than this package's, and is not trusted.
        TrackingError
            It cannot be read.
        """
        if not self.has_model:
            raise self._missing("model")
        return read_model(self._store, self._run, trust=self.trust)

    def load_plugins(self, modules: Sequence[str]) -> None:
        """Import the plugins of the run's configuration, if it is trusted, or see that they are imported.

        Raises
        ------
        ConfigError, RunError
            See `tradingbot_exp.config.plugins.load_recorded_plugins`.
        """
        load_recorded_plugins(modules, f"the run {self.run_id} ({self.name})", trust=self.trust)

    def _artifact(self, path: str, parse: Any) -> Any:
        found = self._store.artifact(self._run, path, parse)
        if found is None:
            raise self._missing(path)
        return found

    def _missing(self, path: str) -> RunError:
        best, hint = self.tags.get("best.run_id"), ""
        if best:
            hint = f" It is a study; its best trial has it: load_run('{best}')."
        elif path != "model":
            pass
        elif self.record.parent_id is not None:
            hint = (
                " hpo.keep=best keeps that of the best trial, for which the study's id stands; hpo.keep=all keeps all. "
                f"`{own_command('reproduce', self.run_id[:12])}` gives the command that trains it by itself."
            )
        elif self.status == "FINISHED":
            hint = " Record it with EnhancedMLflowLogger.log_model; `python -m tradingbot_exp.train` does by itself."
        else:
            hint = " Only a run that is FINISHED has one: train it again, or take another run."
        return RunError(f"The run {self.run_id} ({self.name}, {self.status}) has no artifact {path}.{hint}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, run_id={self.run_id!r}, status={self.status!r})"

    def _repr_html_(self) -> str:
        """Show the run in a notebook: what it is, and its metrics."""
        record = self.record
        rows = [
            ("run", f"{record.name} ({record.run_id})"),
            ("kind, status", f"{record.kind or 'not of this package'}, {record.status}"),
            ("started", f"{record.started:%Y-%m-%d %H:%M:%S} UTC" + _duration(record.seconds)),
            *((label, record.tags[tag]) for label, tag in _SHOWN_TAGS if tag in record.tags),
            *((name, f"{record.metrics[name]:.6g}") for name in _by_interest(record.metrics)[:_SHOWN_METRICS]),
        ]
        left_out = len(record.metrics) - _SHOWN_METRICS
        if left_out > 0:
            rows.append(("…", f"{left_out} more in .metrics"))
        cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
        return f"<table>{cells}</table>"


def _parsed(text: str, before: Any, trust: bool) -> Any:
    """Read a param's text as the value of a key that has the value `before` in the study."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    if text == NO_VALUE:
        return None
    parsed: Any = {"value": text}  # it may look like a number: a version, such as 21e4
    if not isinstance(before, str):
        with suppress(YAMLError, OmegaConfBaseException):  # cut short, or another program's: it stays text
            parsed = OmegaConf.to_container(OmegaConf.create(f"value: {text}"))
    return parsed["value"] if trust else literal(parsed["value"])


def _by_interest(metrics: Mapping[str, float]) -> list[str]:
    return sorted(metrics, key=lambda name: (name.startswith(_LESSER_METRICS), name))


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else f", {seconds:.1f} s"
