"""A fitted network as what a saved model wraps: unscaled features in, forecasts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradingbot_exp.data.fitted import from_bytes
from tradingbot_exp.data.panel import Layout, layout_of
from tradingbot_exp.data.panel_scaler import DateScaler, SymbolScaler
from tradingbot_exp.errors import TrackingError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from tradingbot_exp.data.features import FittedFeature

BESIDE = {"date": "datetime", "symbol": "string"}
"""What a model of several symbols may take beside its features, and MLflow's types of them."""


class SavedModel:
    """What `mlflow.pyfunc.load_model` wraps: unscaled features in, forecasts out."""

    def __init__(
        self, model: nn.Module, record: dict[str, Any], scaler: Any, learned: bytes | None = None, trust: bool = False
    ) -> None:
        self._model = model
        self._record = record
        self._scaler = scaler
        self._learned = learned
        self._trust = trust

    @property
    def members(self) -> list[SavedModel]:
        """The networks of an ensemble, each as a model of its own; of any other model itself."""
        from tradingbot_exp.models._ensemble import members_of

        return [
            SavedModel(each, self._record, self._scaler, self._learned, self._trust) for each in members_of(self._model)
        ]

    def fitted(self) -> dict[str, FittedFeature]:
        """Return what the features learned from the train bars, by name; their classes have to be registered."""
        return from_bytes(self._learned, trust=self._trust) if self._learned else {}

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> NDArray[np.float64]:
        """Forecast from unscaled features.

        Parameters
        ----------
        model_input : DataFrame, or array-like of shape (n, F)
            A row a bar, in time order. A frame's columns may stand in any order. Of several symbols with windows, or
            with a scaling that compares them, a frame with the columns ``date`` and ``symbol`` besides, its rows in any
            order.

        Returns
        -------
        ndarray of float64, shape (n,)
            In the target's unit; the first `sequence_length` - 1 rows, which have no full window, give NaN.
        """
        from tradingbot_exp.training.predict import predict

        length = self._record["sequence_length"]
        if reads_layout(self._record):
            return self._of_panel(model_input, length)
        features = self._features(model_input, Layout.of_one(len(model_input)))
        forecast = np.full(len(features), np.nan)
        if len(features) < length:
            return forecast
        if length > 1:
            features = np.lib.stride_tricks.sliding_window_view(features, length, axis=0).swapaxes(1, 2)
        forecast[length - 1 :] = self._forecasts(predict(self._model, features))
        return forecast

    def _forecasts(self, output: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1.0 / (1.0 + np.exp(-output)) if self._record["logits"] else output

    def _of_panel(self, model_input: Any, length: int) -> NDArray[np.float64]:
        """Forecast rows of several symbols, in any order: windows, and what scales them, are those of each symbol."""
        from tradingbot_exp.training.predict import predict

        missing = [name for name in BESIDE if name not in getattr(model_input, "columns", ())]
        if missing:
            raise TrackingError(
                f"The model is of several symbols, and takes a data frame with the columns {', '.join(BESIDE)} beside "
                f"its features; missing: {', '.join(missing)}."
            )
        layout, order = layout_of(model_input["date"], model_input["symbol"])
        features = self._features(model_input.iloc[order], layout)
        rows = np.flatnonzero(layout.earlier >= length - 1)
        forecast = np.full(len(features), np.nan)
        if rows.size:
            inputs = features[rows] if length == 1 else features[layout.windows(rows, length)]
            forecast[order[rows]] = self._forecasts(predict(self._model, inputs))
        return forecast

    def _features(self, model_input: Any, layout: Layout) -> NDArray[Any]:
        names = self._record["feature_names"]
        if isinstance(model_input, pd.DataFrame) and names is not None:
            missing = [name for name in names if name not in model_input.columns]
            if missing:
                raise TrackingError(f"The model needs the columns {names}; missing: {', '.join(missing)}.")
            model_input = model_input[names]
        values: NDArray[Any] = np.asarray(model_input, dtype=np.float64)
        if isinstance(self._scaler, SymbolScaler | DateScaler):
            values = self._scaler.transform(values, np.float64, layout)
        elif self._scaler is not None:
            values = self._scaler.transform(values)
        return np.ascontiguousarray(values, dtype=self._record["dtype"])


class MeanOfModels(SavedModel):
    """The mean of several saved models, each with features, windows and scaling of its own.

    Parameters
    ----------
    models : sequence of SavedModel
    record : dict
        What `tradingbot_exp.tracking.saved_model.save_mean` wrote of all.
    """

    def __init__(self, models: Sequence[SavedModel], record: dict[str, Any]) -> None:
        self._models, self._record = list(models), record

    @property
    def members(self) -> list[SavedModel]:
        """The models that are averaged."""
        return self._models

    def fitted(self) -> dict[str, Any]:
        """Return what the features of all learned from the train bars, by name; of a panel by symbol and name."""
        found: dict[str, Any] = {}
        for each in self._models:
            for name, learned in each.fitted().items():
                found[name] = found.get(name, {}) | learned if isinstance(learned, dict) else learned
        return found

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> NDArray[np.float64]:
        """Forecast from unscaled features, as `SavedModel.predict`: NaN where any model has no full window."""
        return np.asarray(np.mean([each.predict(model_input) for each in self._models], axis=0))


def reads_layout(record: Mapping[str, Any]) -> bool:
    """Tell whether a model has to know of which date and symbol its rows are."""
    return bool(record.get("scaling") or (record.get("panel") and record["sequence_length"] > 1))
