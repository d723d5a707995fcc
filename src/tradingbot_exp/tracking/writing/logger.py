"""The EnhancedMLflowLogger: what a run was made of and what came of it, written where MLflow shows it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradingbot_exp.config.finalize import flatten
from tradingbot_exp.config.redaction import mask_secrets
from tradingbot_exp.data.scaler import save_scaler
from tradingbot_exp.models.summary import model_summary, row_shape_of
from tradingbot_exp.tracking.saved_model import save
from tradingbot_exp.tracking.writing.characteristics import in_train_deviations, scaler_record, summary, two_dimensional
from tradingbot_exp.tracking.writing.configuration import as_recorded
from tradingbot_exp.tracking.writing.environment import describe_environment, requirements
from tradingbot_exp.tracking.writing.target import RunTarget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray
    from torch import nn

    from tradingbot_exp.evaluation.metrics.importance import Importance


class EnhancedMLflowLogger(RunTarget):
    """Writes to one MLflow run.

    Parameters
    ----------
    run : TrackedRun, MLflow run, or run id, optional
        Else, at each call, the innermost run that an `ExperimentOrganizer` has open, else MLflow's active
        run.

    Notes
    -----
    Every method raises `TrackingError` when there is no run to write to.
    """

    def log_config(self, config: Any, overrides: Sequence[str] = ()) -> None:
        """Log every key as a param, and the whole as ``config/config.yaml``.

        Parameters
        ----------
        config : Config, DictConfig or mapping
            Credentials in URIs are masked.
        overrides : sequence of str
            Kept as ``config/overrides.yaml``: what it takes to compose the same again.
        """
        from omegaconf import OmegaConf

        plain, run = as_recorded(config), self.run
        run.log_params(dict(flatten(plain)))
        run.log_text(OmegaConf.to_yaml(OmegaConf.create(plain)), "config/config.yaml")
        run.log_text(OmegaConf.to_yaml(OmegaConf.create(mask_secrets(overrides))), "config/overrides.yaml")

    def log_environment_details(self) -> None:
        """Log machine, packages and git state: ``environment/…``, tags, and ``code/uncommitted.patch``."""
        run, (details, tags, patch) = self.run, describe_environment()
        if tags:
            run.set_tags(tags)
        if patch:
            with _scratch_file("uncommitted.patch") as file:
                file.write_bytes(patch)
                run.log_artifact(file, "code")
        run.log_text(_json(details), "environment/environment.json")
        run.log_text(requirements(), "environment/requirements.txt")

    def log_model_summary(
        self,
        model: nn.Module,
        filename: str = "model_architecture.txt",
        input_shape: Sequence[int] | None = None,
    ) -> None:
        """Log a table of the layers with their shapes and parameters.

        Parameters
        ----------
        model : nn.Module
        filename : str
            Artifact to write.
        input_shape : sequence of int, optional
            Shape of one row, ``(F,)`` or ``(L, F)``; else taken from the first linear layer.
        """
        self.run.log_text(model_summary(model, input_shape or row_shape_of(model)), filename)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics; `step` is the epoch, counted from 1, or None for metrics of the whole run."""
        self.run.log_metrics(metrics, 0 if step is None else step)

    def log_training_history(self, history: Mapping[str, Sequence[float]], loss: str = "loss") -> None:
        """Log the loss curves: a figure, and those metrics of each epoch that the run does not have yet.

        Parameters
        ----------
        history : mapping of str to sequence of float
            At least `train_loss` and `val_loss`, a value an epoch.
        loss : str
            Name of the loss on the axis.
        """
        train, val = list(history["train_loss"]), list(history["val_loss"])
        run = self.run
        for epoch, (train_loss, val_loss) in enumerate(zip(train, val, strict=True), start=1):
            run.log_metrics({"train_loss": train_loss, "val_loss": val_loss}, epoch, again=False)
        finite = np.isfinite(val)
        best = int(np.argmin(np.where(finite, val, np.inf))) + 1 if finite.any() else 0
        epochs = range(1, len(val) + 1)
        self._log_plots("losses", (epochs, train), (epochs, val), best, loss)

    def log_data_characteristics(
        self,
        train: ArrayLike | pd.DataFrame,
        val: ArrayLike | pd.DataFrame | None = None,
        *,
        feature_names: Sequence[str] | None = None,
        card: Mapping[str, Any] | None = None,
        scaler: Any = None,
    ) -> None:
        """Log what the data look like: card, scaler, and each feature's distribution in train and validation.

        The distributions are in standard deviations of train: a figure, and ``data/feature_histograms.json`` with the
        numbers to draw it again (see `tradingbot_exp.plots.feature_distributions.FeatureHistogram`).

        Parameters
        ----------
        train, val : array-like of shape (n, F), or (n, L, F)
            Features before scaling; of windows the last bar counts.
        feature_names : sequence of str, optional
            Else the columns of a data frame, else ``feature_0`` and on.
        card : mapping, optional
            Where the data come from; summary statistics are added.
        scaler : scikit-learn transformer, optional
            Any scaler, fitted. Written as ``data/scaler.json`` and ``data/scaler.skops``.
        """
        from tradingbot_exp.plots.feature_distributions import feature_histograms, histograms_record

        names = [str(name) for name in (feature_names if feature_names is not None else getattr(train, "columns", ()))]
        first = two_dimensional(train)
        second = first[:0] if val is None else two_dimensional(val)
        names = names or [f"feature_{number}" for number in range(first.shape[1])]
        run = self.run
        parts = {"train": summary(first, names), "validation": summary(second, names)}
        run.log_text(_json({**(card or {}), "statistics": parts}), "data/data_card.json")
        if scaler is not None:
            run.log_text(_json(scaler_record(scaler, names)), "data/scaler.json")
        if scaler is not None and not hasattr(scaler, "record"):  # of a panel, which scikit-learn does not have
            with _scratch_file("scaler.skops") as file:
                save_scaler(scaler, file)
                run.log_artifact(file, "data")
        histograms = [
            histogram
            for i, name in enumerate(names)  # memory: one column at a time
            for histogram in feature_histograms([name], *in_train_deviations(first[:, [i]], second[:, [i]]))
        ]
        run.log_text(_json(histograms_record(histograms)), "data/feature_histograms.json")
        self._log_plots("features", histograms)

    def log_predictions(
        self,
        actual: ArrayLike,
        forecast: ArrayLike,
        *,
        dates: Any = None,
        columns: Mapping[str, ArrayLike] | None = None,
        unit: str = "target",
    ) -> None:
        """Log forecasts beside what came: ``evaluation/validation_returns.csv`` and two figures.

        Parameters
        ----------
        actual, forecast : array-like of shape (n,)
            In the target's unit.
        dates : array-like of shape (n,), optional
            Time of each row; else its number.
        columns : mapping of str to array-like of shape (n,), optional
            More columns for the file, such as positions and returns.
        unit : str
            Named on the axes.
        """
        a = np.asarray(actual, dtype=np.float64).ravel()
        f = np.asarray(forecast, dtype=np.float64).ravel()
        when = np.arange(len(a)) if dates is None else dates
        table = pd.DataFrame({"date": when, "actual": a, "forecast": f, **(columns or {})})
        self.run.log_text(table.to_csv(index=False, float_format="%.17g"), "evaluation/validation_returns.csv")
        self._log_plots("forecasts", when, a, f, unit, (columns or {}).get("symbol"))

    def log_feature_importance(self, importance: Importance | Mapping[str, float]) -> None:
        """Log how much each feature matters: a figure, and ``evaluation/feature_importance.csv``.

        Parameters
        ----------
        importance : Importance, or mapping of str to float
            The file's columns are `feature`, `mean` and `std`; the last is empty where there is no spread.
        """
        if isinstance(importance, Mapping):
            columns: dict[str, Any] = {"feature": list(importance), "mean": list(importance.values())}
            columns["std"] = [float("nan")] * len(importance)
        else:
            columns = {"feature": list(importance.names), "mean": importance.mean, "std": importance.std}
        text = pd.DataFrame(columns).to_csv(index=False, float_format="%.17g")
        self.run.log_text(text, "evaluation/feature_importance.csv")
        self._log_plots("importance", columns["feature"], columns["mean"], columns["std"])

    def log_model(
        self,
        model: nn.Module,
        *,
        feature_names: Sequence[str] | None = None,
        scaler: Any = None,
        example: NDArray[np.float64] | pd.DataFrame | None = None,
        **settings: Any,
    ) -> None:
        """Log the model as ``runs:/<id>/model``, ready for `mlflow.pyfunc.load_model`.

        Parameters
        ----------
        model : nn.Module
            Fitted. One of this package's models is kept as its settings and weights, any other as a pickle.
        feature_names : sequence of str, optional
            Columns that the loaded model asks for.
        scaler : scikit-learn scaler, optional
            Applied to what the loaded model is given, which then are unscaled features.
        example : ndarray of shape (rows, F), or DataFrame, optional
            Rows for MLflow's input example.
        **settings
            See `tradingbot_exp.tracking.saved_model.save`.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            save(model, folder, feature_names=feature_names, scaler=scaler, example=example, **settings)
            self.run.log_artifacts(folder, "model")

    def _log_plots(self, source: str, *drawn: Any) -> None:
        """Log the plots that a run keeps of what was just logged: see `tradingbot_exp.plots.kept`."""
        from tradingbot_exp.plots.html import write_figure
        from tradingbot_exp.plots.kept import KEPT

        for plot in KEPT:
            if plot.source == source:
                with _scratch_file(Path(plot.artifact).name) as file:
                    write_figure(plot.draw(*drawn), file, plot.title)
                    self.run.log_artifact(file, str(Path(plot.artifact).parent))


@contextmanager
def _scratch_file(name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch) / name


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=str, allow_nan=False) + "\n"
