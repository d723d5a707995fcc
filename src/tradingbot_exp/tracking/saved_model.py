"""A fitted network as an MLflow model that predicts from unscaled features.

Folder ``data/`` of the model: ``model.json`` (how to build and feed it), ``weights.pt`` (tensors only) or,
for a class of the user's own, ``module.pt`` (a pickle), ``scaler.skops``, and ``features.skops`` (what features learned
from the train bars); of a mean of several models ``model.json``, and these files of each in ``members/``.
`tradingbot_exp.tracking.model_files` reads it, and runs nothing that a store says unless it is trusted; MLflow calls
`_load_pyfunc`.
"""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradingbot_exp.data.fitted import as_bytes
from tradingbot_exp.data.scaler import save_scaler
from tradingbot_exp.tracking.forecaster import BESIDE, SavedModel, reads_layout
from tradingbot_exp.tracking.model_files import files_in, loaded
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
    example: NDArray[np.float64] | pd.DataFrame | None = None,
    config: ModelConfig | None = None,
    sequence_length: int = 1,
    logits: bool = False,
    fitted: Mapping[str, Any] | None = None,
    panel: bool = False,
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
        Features that learned from train bars, by name; of a panel by symbol and name.
    panel : bool
        Whether the rows are of several symbols. Where their scaling, or windows, need to know which, the model takes
        the columns ``date`` and ``symbol``, too.
    """
    import torch

    from tradingbot_exp.models._ensemble import members_of

    members = members_of(model)
    record = {
        "config": None if config is None else vars(config),
        "feature_names": None if feature_names is None else list(feature_names),
        "sequence_length": sequence_length,
        "logits": logits,
        "ensemble": len(members),
        "scaling": getattr(scaler, "record", None),
        "panel": panel,
        "module": type(members[0]).__module__,
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
        if scaler is not None and record["scaling"] is None:
            save_scaler(scaler, data / "scaler.skops")
        if fitted:
            (data / "features.skops").write_bytes(as_bytes(fitted))
        _write(folder, data, record, example)


def save_mean(folder: Path, models: Sequence[Path], example: pd.DataFrame | None = None) -> None:
    """Write the folder of a model that forecasts the mean of several.

    Parameters
    ----------
    folder : Path
        Must not exist.
    models
        See `write_mean`.
    example : DataFrame, optional
        See `save`; with the columns of all models.
    """
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        _write(folder, data, write_mean(data, models), example)


def write_mean(data: Path, models: Sequence[Path]) -> dict[str, Any]:
    """Write the folder ``data/`` of a model that forecasts the mean of several, and return its record.

    Parameters
    ----------
    data : Path
        Must not exist.
    models : sequence of Path
        Of each model a folder with what `save` wrote in its folder ``data/``, or this function.
    """
    records = [json.loads((each / "model.json").read_text(encoding="utf-8")) for each in models]
    record = {
        "members": len(models),
        "feature_names": list(dict.fromkeys(name for each in records for name in each["feature_names"])),
        "sequence_length": max(each["sequence_length"] for each in records),
        "scaling": any(reads_layout(each) for each in records),
        "panel": any(each.get("panel") for each in records),
        "training_packages": {name: metadata.version(name) for name in _NEEDED},
    }
    for number, each in enumerate(models):
        shutil.copytree(each, data / f"members/{number}")
    (data / "model.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    return record


def _write(
    folder: Path, data: Path, record: Mapping[str, Any], example: NDArray[np.float64] | pd.DataFrame | None
) -> None:
    """Write a model's folder around its data, with MLflow's description of what it takes."""
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, Schema, TensorSpec

    signature = frame = None
    names = record["feature_names"]
    if names is not None:
        beside = [ColSpec(kind, name) for name, kind in BESIDE.items()] if reads_layout(record) else []
        columns = Schema([*(ColSpec("double", name) for name in names), *beside])
        signature = ModelSignature(columns, Schema([TensorSpec(np.dtype(np.float64), (-1,))]))
        taken = [*names, *(column.name for column in beside)]
        if example is not None:
            frame = example[taken] if isinstance(example, pd.DataFrame) else pd.DataFrame(example, columns=taken)
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


def learned_by_features(model: PyFuncModel) -> dict[str, FittedFeature]:
    """Read what the features of a loaded model learned from its train bars; nothing of a model that is not ours.

    Raises
    ------
    ConfigError
        See `tradingbot_exp.data.fitted.from_bytes`.
    """
    inside = model._model_impl  # MLflow gives the model back only to those who ask for it in this way
    return inside.fitted() if isinstance(inside, SavedModel) else {}


def is_of_panel(model: PyFuncModel) -> bool:
    """Tell whether a loaded model was trained on several symbols; not of a model that is not ours."""
    inside = model._model_impl
    return isinstance(inside, SavedModel) and bool(inside._record.get("panel"))


def sd_of_members(model: PyFuncModel, model_input: Any) -> NDArray[np.float64] | None:
    """Return how far apart the networks of a loaded ensemble are on each row; None of any other model.

    Parameters
    ----------
    model : PyFuncModel
    model_input
        See `tradingbot_exp.tracking.forecaster.SavedModel.predict`.

    Returns
    -------
    ndarray of shape (n,), or None
        Standard deviation of their forecasts (ddof 1), in the target's unit.
    """
    inside = model._model_impl
    if not isinstance(inside, SavedModel) or len(inside.members) < 2:
        return None
    return np.asarray(np.std([each.predict(model_input) for each in inside.members], axis=0, ddof=1))


def _load_pyfunc(path: str) -> SavedModel:
    """Load what `save` wrote; MLflow calls this by name, of those who trust who logged the model."""
    return loaded(files_in(Path(path)), "The model", trust=True)
