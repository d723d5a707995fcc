"""Every position rule of this package, a row each, known without a heavy library.

Another rule is a row here and its function in `tradingbot_exp.evaluation.positions`: what is checked, hashed, shown by
``--help`` and judged follows from the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tradingbot_exp.config.facts import key, number

if TYPE_CHECKING:
    from numpy.typing import NDArray

RULE_KEYS = ("threshold", "max_position", "vol_target", "vol_window", "quantile", "min_symbols")
"""Keys of the block `evaluation` that position rules read."""
JUDGED_BY = ("position", *RULE_KEYS, "cost_bps", "borrow_bps", "execution_lag")
"""Keys of the block `evaluation` that make returns of forecasts."""


@dataclass(frozen=True)
class Position:
    """What is known of a position rule.

    Attributes
    ----------
    name : str
        As ``evaluation.position`` has it.
    label : str
        What it holds, in a few words.
    reads : tuple of str
        Those of `RULE_KEYS` that it reads.
    needs : str
        What it cannot do without: one-bar ``returns``, several ``symbols``, or nothing more than forecasts.
    invested : bool
        Of a panel, whether the positions of a date share all of wealth: a weight is position / Σ |position| of its
        date, so that those of as many longs as shorts sum to 0. Otherwise it is position / number of symbols.
    function : callable or None
        Of a plugin; `tradingbot_exp.evaluation.positions.FUNCTIONS` has those of this package.
    """

    name: str
    label: str
    reads: tuple[str, ...] = ()
    needs: Literal["", "returns", "symbols"] = ""
    invested: bool = False
    function: Callable[[Any], NDArray[Any]] | None = None


POSITIONS: dict[str, Position] = {
    row.name: row
    for row in (
        Position("sign", "long above the neutral forecast, short below it"),
        Position("long_only", "long above it, else flat"),
        Position("threshold", "as sign, but flat within evaluation.threshold of it", ("threshold",)),
        Position("proportional", "by the forecast's size", ("max_position",)),
        Position(
            "vol_target", "as sign, of a constant volatility", ("max_position", "vol_target", "vol_window"), "returns"
        ),
        Position(
            *("long_short", "of a panel, the highest against the lowest", ("quantile", "min_symbols"), "symbols"),
            invested=True,
        ),
    )
}
"""Every position rule by name: those of this package, and those that plugins add."""
BUILT_IN = tuple(POSITIONS)


@dataclass
class PositionConfig:
    """How a forecast becomes a position, and what a short one costs: the keys of `evaluation` that are about that."""

    position: str = key("sign", one_of=lambda: {row.name: row.label for row in POSITIONS.values()})
    threshold: Any = key(
        "auto",
        wanted="0 or more in the target's unit, or auto for what one change of position costs",
        holds=lambda v: v == "auto" or number(lambda size: size >= 0)(v),
    )
    max_position: float = key(1.0, wanted="above 0", holds=number(lambda v: v > 0))
    vol_target: float = key(0.15, wanted="above 0, of wealth a year", holds=number(lambda v: v > 0))
    vol_window: int = key(20, wanted="2 or more bars", holds=number(lambda v: v >= 2))
    quantile: float = key(0.2, wanted="above 0 and at most 0.5", holds=number(lambda v: 0 < v <= 0.5))
    min_symbols: int = key(3, wanted="2 or more symbols", holds=number(lambda v: v >= 2))
    borrow_bps: float = key(0.0, wanted="0 or more basis points a year", holds=number(lambda v: v >= 0))
