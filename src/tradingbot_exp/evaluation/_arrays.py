"""What every function of this package asks of its arrays, and the number or the reason that many give."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradingbot_exp.runtime.text import plural

Floats = NDArray[np.float64]


def vectors(**arguments: ArrayLike) -> tuple[Floats, ...]:
    """Check named arguments and return them as float64 vectors of one length.

    Parameters
    ----------
    **arguments : array_like, shape (n,)
        Each argument under the name that its caller gave it.

    Returns
    -------
    tuple of ndarray, shape (n,), float64
        In the order given; an argument that is a float64 vector already is not copied.

    Raises
    ------
    ValueError
        An argument is not one-dimensional, holds NaN or an infinity, or differs in length from the first.
    """
    checked: list[Floats] = []
    first = next(iter(arguments))
    for name, argument in arguments.items():
        values = np.asarray(argument, dtype=np.float64)
        if values.ndim != 1:
            raise ValueError(f"{name} has the shape {values.shape}; expected one dimension, a value a bar.")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ValueError(
                f"{name} holds {plural(bad.size, 'value')} of NaN or infinity, the first at position {bad[0]}; "
                "expected finite numbers. Drop those bars, or mend what made them."
            )
        if checked and len(values) != len(checked[0]):
            raise ValueError(f"{name} has {len(values)} bars and {first} has {len(checked[0])}; they must match.")
        checked.append(values)
    return tuple(checked)


def is_constant(values: Floats) -> bool:
    """Tell whether a vector has no spread: it is empty, or all its values are the same number."""
    return values.size == 0 or bool(np.all(values == values[0]))


@dataclass(frozen=True)
class Estimate:
    """A statistic that may not be defined for its input.

    Attributes
    ----------
    value : float or None
        Finite; None if it is not defined.
    problem : str
        ``not defined, because …``; empty where there is a value.
    """

    value: float | None
    problem: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.problem) or not math.isfinite(self.value or 0.0):
            raise ValueError(f"An estimate is a finite number or has a problem; got {self.value} and {self.problem!r}.")


def undefined(because: str) -> Estimate:
    """Return the estimate that is not there, with its reason."""
    return Estimate(None, f"not defined, because {because}")
