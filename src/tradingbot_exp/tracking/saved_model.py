"""A fitted network as an MLflow model that predicts from unscaled features.

Folder ``data/`` of the model: ``model.json`` (how to build and feed it), ``weights.pt`` (tensors only) or,
for a class of the user's own, ``module.pt`` (a pickle), ``scaler.skops``, and ``features.skops`` (what features learned
from the train bars). MLflow calls `_load_pyfunc`.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradingbot_exp.config.choices import model_names
from tradingbot_exp.config.plugins import load_plugins
from tradingbot_exp.data.fitted import as_bytes, from_bytes
from tradingbot_exp.data.scaler import save_scaler
from tradingbot_exp.errors import ConfigError, TrackingError
from tradingbot_exp.models.registry import build_model
from tradingbot_exp.tracking.store.errors import quiet

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel
    from numpy.typing import NDArray
    from torch import nn

    from tradingbot_exp.config.schema import ModelConfig
    from tradingbot_exp.data.features import FittedFeature

_NEEDED = ("tradingbot_exp", "mlflow", "torch", "numpy", "pandas", "scikit-learn", "skops")


def save(
    model: nn.Module,
    folder: Path,
    *,
    feature_names: Sequence[str] | None = None,
    scaler: Any = None,
    example: NDArray[np.float64] | None = None,
    config: ModelConfig | None = None,
    sequence_length: int = 1,
    logits: bool = False,
    fitted: Mapping[str, FittedFeature] | None = None,
) -> None:
    """Write the model's folder.

    Parameters
    ----------
    model : nn.Module
    folder : Path
        Must not exist.
    feature_names, scaler, example
        See `EnhancedMLflowLogger.log_model`.
    config : ModelConfig, optional
        What `build_model` built the model from; without it the whole module is pickled.
    sequence_length : int
        Bars that the model sees at once.
    logits : bool
        Whether outputs are logits, to be turned into probabilities.
    fitted : mapping of str to FittedFeature, optional
        Features that learned from train bars, by name.
    """
    import torch
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, Schema, TensorSpec

    record = {
        "config": None if config is None else vars(config),
        "feature_names": None if feature_names is None else list(feature_names),
        "sequence_length": sequence_length,
        "logits": logits,
        "module": type(model).__module__,
        "dtype": str(next(model.parameters(), torch.zeros(())).dtype).removeprefix("torch."),
        "training_packages": {name: metadata.version(name) for name in _NEEDED},
    }
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        data.mkdir()
        (data / "model.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
        cpu_model = copy.deepcopy(model).cpu()
        if config is not None:
            torch.save(cpu_model.state_dict(), data / "weights.pt")
        else:
            torch.save(cpu_model, data / "module.pt")
        if scaler is not None:
            save_scaler(scaler, data / "scaler.skops")
        if fitted:
            (data / "features.skops").write_bytes(as_bytes(fitted))
        signature = frame = None
        if feature_names is not None:
            columns = Schema([ColSpec("double", name) for name in feature_names])
            signature = ModelSignature(columns, Schema([TensorSpec(np.dtype(np.float64), (-1,))]))
            frame = None if example is None else pd.DataFrame(example, columns=list(feature_names))
        with quiet("mlflow"), _unscanned():
            save_model(
                folder,
                loader_module=__name__,
                data_path=str(data),
                signature=signature,
                input_example=frame,
                pip_requirements=[f"{name}=={metadata.version(name)}" for name in _NEEDED],
            )


@contextmanager
def _unscanned() -> Iterator[None]:
    """Spare MLflow the map of all installed modules to packages, half a second of work: requirements are given here."""
    from mlflow.utils import requirements_utils

    name = "_MODULES_TO_PACKAGES"
    found = getattr(requirements_utils, name, None)
    setattr(requirements_utils, name, {} if found is None else found)
    try:
        yield
    finally:
        setattr(requirements_utils, name, found)


class SavedModel:
    """What `mlflow.pyfunc.load_model` wraps: unscaled features in, forecasts out."""

    def __init__(self, model: nn.Module, record: dict[str, Any], scaler: Any, learned: bytes | None = None) -> None:
        self._model = model
        self._record = record
        self._scaler = scaler
        self._learned = learned

    def fitted(self) -> dict[str, FittedFeature]:
        """Return what the features learned from the train bars, by name; their classes have to be registered."""
        return from_bytes(self._learned) if self._learned else {}

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> NDArray[np.float64]:
        """Forecast from unscaled features.

        Parameters
        ----------
        model_input : DataFrame, or array-like of shape (n, F)
            A row a bar, in time order. A frame's columns may stand in any order.

        Returns
        -------
        ndarray of float64, shape (n,)
            In the target's unit; the first `sequence_length` - 1 rows, which have no full window, give NaN.
        """
        from tradingbot_exp.training.predict import predict

        features = self._features(model_input)
        length = self._record["sequence_length"]
        forecast = np.full(len(features), np.nan)
        if len(features) < length:
            return forecast
        if length > 1:
            features = np.lib.stride_tricks.sliding_window_view(features, length, axis=0).swapaxes(1, 2)
        output = predict(self._model, features)
        forecast[length - 1 :] = 1.0 / (1.0 + np.exp(-output)) if self._record["logits"] else output
        return forecast

    def _features(self, model_input: Any) -> NDArray[Any]:
        names = self._record["feature_names"]
        if isinstance(model_input, pd.DataFrame) and names is not None:
            missing = [name for name in names if name not in model_input.columns]
            if missing:
                raise TrackingError(f"The model needs the columns {names}; missing: {', '.join(missing)}.")
            model_input = model_input[names]
        values = np.asarray(model_input, dtype=np.float64)
        if self._scaler is not None:
            values = self._scaler.transform(values)
        return np.ascontiguousarray(values, dtype=self._record["dtype"])


def learned_by_features(model: PyFuncModel) -> dict[str, FittedFeature]:
    """Read what the features of a loaded model learned from its train bars; nothing of a model that is not ours.

    Raises
    ------
    ConfigError
        See `tradingbot_exp.data.fitted.from_bytes`.
    """
    inside = model._model_impl  # MLflow gives the model back only to those who ask for it in this way
    return inside.fitted() if isinstance(inside, SavedModel) else {}


def _load_own_class(name: str, module: str) -> None:
    """Import the user's own module, which registers the model's class."""
    try:
        load_plugins([module])
    except ConfigError as error:
        raise TrackingError(
            f"The model '{name}' is a class of {module or 'an unknown module'}, which is not here. {error} Put the "
            "folder that holds it on PYTHONPATH, or start from it."
        ) from error


def _load_pyfunc(path: str) -> SavedModel:
    """Load what `save` wrote; MLflow calls this by name."""
    import torch

    data = Path(path)
    record = json.loads((data / "model.json").read_text(encoding="utf-8"))
    if record["config"] is not None:
        from tradingbot_exp.config.schema import ModelConfig

        config = ModelConfig(**record["config"])
        if config.name not in model_names():
            _load_own_class(config.name, record.get("module", ""))
        model = build_model(config, len(record["feature_names"]), record["sequence_length"])
        model.to(getattr(torch, record["dtype"]))
        model.load_state_dict(torch.load(data / "weights.pt", weights_only=True))
    else:
        # The user's own class; loading an MLflow model means trusting who logged it.
        model = torch.load(data / "module.pt", weights_only=False)
    scaler = None
    if (data / "scaler.skops").exists():
        import skops.io

        unknown = skops.io.get_untrusted_types(file=data / "scaler.skops")
        trusted = [name for name in unknown if name.startswith("sklearn.")]
        scaler = skops.io.load(data / "scaler.skops", trusted=trusted)
    learned = data / "features.skops"
    return SavedModel(model, record, scaler, learned.read_bytes() if learned.exists() else None)
