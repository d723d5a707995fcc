"""Scalers of panels: one a symbol, or across the symbols of each date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tradingbot_exp.data.cells import FloatArray
from tradingbot_exp.data.panel import Layout
from tradingbot_exp.data.scaler import Scaler
from tradingbot_exp.errors import DataError


@dataclass(frozen=True, eq=False)
class SymbolScaler:
    """A fitted scaler for each of S symbols, of F features.

    Attributes
    ----------
    names : tuple of str
        The symbols.
    mean_, scale_ : ndarray of shape (S, F)
    """

    names: tuple[str, ...]
    mean_: FloatArray
    scale_: FloatArray

    kind = "one sklearn.StandardScaler a symbol"

    @property
    def record(self) -> dict[str, Any]:
        """What it is, JSON-able, for `from_record`."""
        return {
            "kind": self.kind,
            "symbols": list(self.names),
            "mean": self.mean_.tolist(),
            "scale": self.scale_.tolist(),
        }

    @classmethod
    def fit(cls, rows: FloatArray, layout: Layout) -> SymbolScaler:
        """Fit to rows of shape (n, F): at least two of each symbol.

        Raises
        ------
        DataError
            A symbol has fewer.
        """
        counts = np.bincount(layout.symbol, minlength=len(layout.names))
        if counts.min() < 2:
            raise DataError(
                f"data.scaling=symbol: {layout.names[int(counts.argmin())]} has fewer than 2 rows to be scaled by. "
                "Leave the symbol out, use other folds, or data.scaling=pooled."
            )
        each = [Scaler.fit(rows[layout.rows_of(code)]) for code in range(len(layout.names))]
        return cls(layout.names, np.stack([one.mean_ for one in each]), np.stack([one.scale_ for one in each]))

    def transform(self, rows: FloatArray, dtype: npt.DTypeLike, layout: Layout) -> npt.NDArray[np.floating[Any]]:
        """Scale rows of shape (n, F), each by its symbol's."""
        unknown = [name for name in layout.names if name not in self.names]
        if unknown:
            raise DataError(
                f"data.scaling=symbol: {', '.join(unknown)} was not among the symbols that the model was trained on, "
                f"{', '.join(self.names)}, and has no scale."
            )
        codes = np.array([self.names.index(name) for name in layout.names])[layout.symbol]
        return np.asarray((rows - self.mean_[codes]) / self.scale_[codes], dtype)


@dataclass(frozen=True)
class DateScaler:
    """Z-scores across the symbols of each date (ddof 0); nothing is fitted. Where all are alike, 0."""

    kind = "z-scores across the symbols of a date"

    @property
    def record(self) -> dict[str, Any]:
        """What it is, JSON-able, for `from_record`."""
        return {"kind": self.kind}

    @classmethod
    def fit(cls, rows: FloatArray, layout: Layout) -> DateScaler:
        """Return the scaler: there is nothing to learn from rows."""
        return cls()

    def transform(self, rows: FloatArray, dtype: npt.DTypeLike, layout: Layout) -> npt.NDArray[np.floating[Any]]:
        """Scale rows of shape (n, F)."""
        centred = rows - layout.means(rows)[layout.days]
        spread = np.sqrt(layout.means(centred**2))[layout.days]
        # Rounding is all that varies where symbols are alike.
        some = spread > 1e-12 * np.abs(rows)
        return np.asarray(np.where(some, centred / np.where(some, spread, 1.0), 0.0), dtype)


AnyScaler = Scaler | SymbolScaler | DateScaler


def from_record(record: Mapping[str, Any]) -> SymbolScaler | DateScaler:
    """Make the scaler of a record.

    Raises
    ------
    ValueError, KeyError, TypeError
        It is none.
    """
    if record["kind"] == DateScaler.kind:
        return DateScaler()
    mean, scale = (np.array(record[name], dtype=np.float64) for name in ("mean", "scale"))
    names = tuple(str(name) for name in record["symbols"])
    if record["kind"] != SymbolScaler.kind or mean.shape != scale.shape or len(mean) != len(names) or mean.ndim != 2:
        raise ValueError(f"{record['kind']!r} is not a scaler of a panel, or its numbers do not fit its symbols")
    return SymbolScaler(names, mean, scale)


def fit_scaler(scaling: str, rows: FloatArray, layout: Layout) -> AnyScaler:
    """Fit what ``data.scaling`` names to train rows of shape (n, F)."""
    if scaling == "pooled":
        return Scaler.fit(rows)
    return SymbolScaler.fit(rows, layout) if scaling == "symbol" else DateScaler()
