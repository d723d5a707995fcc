"""Scaling of features to mean 0 and standard deviation 1, as scikit-learn's `StandardScaler` does, without its import.

scikit-learn and skops take 3 s of processor time to import, and a run needs two sums of them: the numbers here are
scikit-learn's to the bit, and `save_scaler` writes the file that `skops.io` reads as a `StandardScaler`.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tradingbot_exp.data.cells import FloatArray

_ROWS = 8192  # scaled at once, so that they stay in the cache


@dataclass(frozen=True, eq=False)
class Scaler:
    """A fitted scaler of F features; its attributes are called as those of scikit-learn's.

    Attributes
    ----------
    mean_, var_, scale_ : ndarray of shape (F,)
        Mean, variance and standard deviation (ddof 0) of each feature; `scale_` is 1 where rounding is all that varies.
    n_samples_seen_ : float
        Rows that it was fitted on.
    is_identity : bool
        Whether it leaves features as they are.
    """

    mean_: FloatArray
    var_: FloatArray
    scale_: FloatArray
    n_samples_seen_: float
    is_identity: bool = False

    @classmethod
    def fit(cls, rows: FloatArray, layout: object = None) -> Scaler:
        """Fit to rows of shape (n, F), whoever's they are.

        References
        ----------
        Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance: analysis and recommendations",
        The American Statistician 37(3): the two-pass algorithm with its correction, equation 1.7.
        """
        n = float(len(rows))
        mean = rows.sum(axis=0) / n
        variance = np.empty_like(mean)
        # Memory: columns that lie one behind another are centred one by one; the sums are the same to the bit.
        width = 1 if rows.strides[0] == rows.itemsize else max(rows.shape[1], 1)
        for column in range(0, rows.shape[1], width):
            some = slice(column, column + width)
            centred = rows[:, some] - mean[some]
            correction = centred.sum(axis=0) ** 2 / n
            variance[some] = (np.square(centred, out=centred).sum(axis=0) - correction) / n
        epsilon = np.finfo(np.float64).eps
        scale = np.where(variance <= n * epsilon * variance + (n * mean * epsilon) ** 2, 1.0, np.sqrt(variance))
        return cls(mean, variance, scale, n)

    @classmethod
    def identity(cls, rows: FloatArray) -> Scaler:
        """Make a scaler that leaves rows of shape (n, F) as they are."""
        width = rows.shape[1]
        return cls(np.zeros(width), np.ones(width), np.ones(width), float(len(rows)), is_identity=True)

    @property
    def kind(self) -> str:
        """What it is recorded as."""
        return "sklearn.StandardScaler"

    @property
    def with_mean(self) -> bool:
        """Whether it takes the mean out."""
        return not self.is_identity

    @property
    def with_std(self) -> bool:
        """Whether it divides by the standard deviation."""
        return not self.is_identity

    @property
    def n_features_in_(self) -> int:
        """The number of features, F."""
        return len(self.mean_)

    def get_params(self) -> dict[str, Any]:
        """Return the settings that scikit-learn's scaler would have."""
        return {"copy": True, "with_mean": self.with_mean, "with_std": self.with_std}

    def transform(
        self, rows: FloatArray, dtype: npt.DTypeLike = np.float64, layout: object = None
    ) -> npt.NDArray[np.floating[Any]]:
        """Scale rows of shape (n, F) in float64, some at a time: all of them would be as much memory once more.

        Whose rows they are, which `layout` says, makes no difference.
        """
        scaled = np.empty(rows.shape, dtype)
        for start in range(0, len(rows), _ROWS):
            scaled[start : start + _ROWS] = (rows[start : start + _ROWS] - self.mean_) / self.scale_
        return scaled


def save_scaler(scaler: Any, file: Path) -> None:
    """Write a scaler for `skops.io.load`: a `Scaler` as scikit-learn's `StandardScaler`, any other as it is."""
    if not isinstance(scaler, Scaler):
        import skops.io

        skops.io.dump(scaler, file)
        return
    numbers = {"n_features_in_": scaler.n_features_in_, "n_samples_seen_": scaler.n_samples_seen_}
    plain = {**scaler.get_params(), **numbers, "_sklearn_version": version("scikit-learn")}
    content: dict[str, Any] = {
        name: _node("JsonNode", "str", content=json.dumps(value), is_json=True) for name, value in plain.items()
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("mean_", "var_", "scale_"):
            array = BytesIO()
            np.save(array, getattr(scaler, name))
            archive.writestr(f"{name}.npy", array.getvalue())
            content[name] = _node("NdArrayNode", "ndarray", "numpy", type="numpy", file=f"{name}.npy")
        types = _node("ListNode", "list", content=[_node("TypeNode", "str")] * len(content))
        state = _node("DictNode", "dict", content=content, key_types=types)
        tree = _node("ObjectNode", "StandardScaler", "sklearn.preprocessing._data", content=state)
        archive.writestr("schema.json", json.dumps({**tree, "protocol": 2, "_skops_version": version("skops")}))


def _node(loader: str, kind: str, module: str = "builtins", **rest: Any) -> dict[str, Any]:
    """Describe an object as skops's file format does, protocol 2."""
    return {"__class__": kind, "__module__": module, "__loader__": loader, **rest}
