"""Rows that are another row once more, under another date: bars that a file has twice, and tables that were sampled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.runtime.text import day

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

CHANCE = 1e-6
"""Probability below which repeated rows are not put down to chance."""
_FEWEST = 3
_ALIKE, _FEW = 1e-3, 10.0
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ over the golden ratio


@dataclass(frozen=True)
class Repeats:
    """Rows whose features and outcome equal those of an earlier row to the bit.

    Attributes
    ----------
    rows : int
        How many.
    row, of : str
        Dates of the first of them, and of the row that it repeats.
    """

    rows: int
    row: str
    of: str

    @property
    def short(self) -> str:
        """How many rows, and which are the first."""
        return f"{self.rows:,} repeated rows ({self.row} as {self.of})"

    @property
    def why(self) -> str:
        """Say why no result on them can be believed."""
        return (
            f"{self.rows:,} rows repeat others under another date, which chance does not explain, and what is learned "
            "from a row is then judged by the same row"
        )

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows equal an earlier row in all features and in the outcome, to the bit, and chance does "
            f"not explain them. The first is that of {self.row}, which is that of {self.of} once more. Has the file "
            "some bars twice, under other dates, or was the table sampled with replacement? What is learned from a row "
            "is then judged by the same row, which makes every result on these data worthless."
        )


def repeated_rows(features: Floats, outcome: Floats, index: pd.DatetimeIndex) -> Repeats | None:
    """Find rows that repeat others, if there are more of them than chance explains.

    Outcomes that recur, as those of a few values do, tell nothing: two rows must have the same with a probability p
    below 0.001 (or 10 / n). Rows that equal the one before are one, as weekly values are in daily rows. Rows of the
    same features are a group, whose first and last have the same outcome by chance with the probability p. The groups
    in which they do are more than chance explains if so many or more come about with a probability below `CHANCE`
    (binomial).

    Parameters
    ----------
    features : ndarray, shape (n, F)
    outcome : ndarray, shape (n, k)
        Targets and, where there are, one-bar returns.
    index : DatetimeIndex, length n

    Returns
    -------
    Repeats or None
    """
    whole, _ = _numbered(np.column_stack([features, outcome]))
    kept = np.flatnonzero(np.concatenate([[True], whole[1:] != whole[:-1]]))
    group, sizes = _numbered(features[kept])
    if sizes.max(initial=0) < 2:
        return None
    kind, counts = _numbered(outcome[kept])
    alike = float(np.sum((counts / len(kept)) ** 2))
    if alike > max(_ALIKE, _FEW / len(kept)):
        return None
    rows = np.arange(len(group))
    last, first = np.zeros(len(sizes), np.intp), np.zeros(len(sizes), np.intp)
    last[group], first[group[::-1]] = rows, rows[::-1]
    several = np.flatnonzero(sizes > 1)
    same = int(np.sum(kind[first[several]] == kind[last[several]]))
    if same < _FEWEST:
        return None
    from scipy.special import bdtrc  # few data come this far, and no other part of a run needs SciPy

    if bdtrc(same - 1, len(several), alike) >= CHANCE:
        return None
    whole = whole[kept]
    _, earliest, whole = np.unique(whole, return_index=True, return_inverse=True)
    repeats = np.flatnonzero(earliest[whole] < rows)
    at = int(repeats[0])
    return Repeats(len(repeats), *(day(index[kept[row]]) for row in (at, earliest[whole[at]])))


def all_differ(columns: Iterable[Floats]) -> bool:
    """Tell whether no two rows are equal."""
    mixed = np.sort(_mixed(columns))
    return bool(np.all(mixed[1:] != mixed[:-1]))


def _numbered(values: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give each row the number of its kind, rows that are equal being of one, and how many there are of each."""
    plain = np.ascontiguousarray(values + 0.0)  # -0.0 is 0.0
    keys: NDArray[Any] = _mixed(values.T)
    order = np.argsort(keys)
    alike = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    if plain[order[alike]].tobytes() != plain[order[alike + 1]].tobytes():  # by chance, once in 10⁸ such files
        keys = plain.view(np.dtype((np.void, plain.itemsize * plain.shape[1]))).ravel()
    _, number, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return number.astype(np.intp), counts.astype(np.intp)


def _mixed(columns: Iterable[Floats]) -> NDArray[np.uint64]:
    """Mix each row into one number of 64 bits, the same for equal rows: it is sorted many times as quickly as rows."""
    mixed = np.zeros(1, np.uint64)
    for column in columns:
        mixed = mixed ^ (column + 0.0).view(np.uint64)
        mixed *= _ODD
        mixed ^= mixed >> np.uint64(29)
    return mixed
