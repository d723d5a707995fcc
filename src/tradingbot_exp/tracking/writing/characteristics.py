"""Numbers that describe a data set and a scaler, as plain records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tradingbot_exp.errors import TrackingError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def two_dimensional(values: Any) -> NDArray[np.float64]:
    """Return features as an array of shape (n, F); of windows (n, L, F), the last bar of each.

    Raises
    ------
    TrackingError
        The array has another number of dimensions.
    """
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)
    if array.ndim == 3:
        array = array[:, -1, :]
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise TrackingError(f"Features have the shape {array.shape}: it has to be (n, F) or (n, L, F).")
    return array


def in_train_deviations(
    train: NDArray[np.float64], val: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale the columns of two (n, F) arrays to train's mean 0 and standard deviation (ddof 0) 1.

    Values that are not finite stay as they are and count for nothing; a constant column is only shifted.
    """
    there = np.isfinite(train)
    rows = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, train, 0.0).sum(axis=0) / rows
    std = np.sqrt((np.where(there, train - mean, 0.0) ** 2).sum(axis=0) / rows)
    scale = np.where(std > 1e-12 * np.abs(mean), std, 1.0)  # rounding alone is no spread
    return (train - mean) / scale, (val - mean) / scale


def summary(values: NDArray[np.float64], names: Sequence[str]) -> dict[str, Any]:
    """Summarise each column of an (n, F) array: rows, missing values, mean, std (ddof 1), minimum and maximum."""
    columns = {}
    for name, column in zip(names, values.T, strict=True):
        there = column[np.isfinite(column)]
        columns[name] = {
            "missing": int(column.size - there.size),
            "mean": float(there.mean()) if there.size else None,
            "std": float(there.std(ddof=1)) if there.size > 1 else None,
            "min": float(there.min()) if there.size else None,
            "max": float(there.max()) if there.size else None,
        }
    return {"rows": int(values.shape[0]), "features": columns}


def scaler_record(scaler: Any, names: Sequence[str]) -> dict[str, Any]:
    """Describe any fitted scikit-learn scaler.

    Returns
    -------
    dict
        `kind`, `parameters`, `feature_names`, and `mean` and `scale` such that the scaler computes
        (x − mean) / scale; both None for one that is not of this form, such as a quantile transformer. Of a panel's
        own scaler, what it is by symbol.
    """
    if hasattr(scaler, "record"):
        return {**scaler.record, "feature_names": list(names)}
    width = int(getattr(scaler, "n_features_in_", len(names)))
    probes = scaler.transform(np.array([[0.0] * width, [1.0] * width, [2.0] * width]))
    zero, one, two = (np.asarray(row, dtype=np.float64) for row in probes)
    slope = one - zero
    linear = probes.shape[1] == width and bool(np.all(slope != 0)) and np.allclose(two - one, slope, rtol=1e-6)
    if linear and hasattr(scaler, "mean_") and hasattr(scaler, "scale_"):
        mean, scale = scaler.mean_, scaler.scale_
    else:
        mean, scale = (-zero / slope, 1.0 / slope) if linear else (None, None)
    return {
        "kind": getattr(scaler, "kind", f"{type(scaler).__module__.split('.')[0]}.{type(scaler).__name__}"),
        "parameters": scaler.get_params(),
        "feature_names": list(names),
        "mean": None if mean is None else [float(value) for value in mean],
        "scale": None if scale is None else [float(value) for value in scale],
    }
