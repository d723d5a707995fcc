"""Which symbols of new bars a model can forecast: those it is given, compares with each other, and has learned of."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tradingbot_exp.config.choices import is_across
from tradingbot_exp.config.positions import POSITIONS
from tradingbot_exp.data.fitted import is_fitted
from tradingbot_exp.errors import ConfigError, DataError, near
from tradingbot_exp.runtime.text import at_most

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config, DataConfig

log = logging.getLogger(__name__)

LISTED = 20


class Wanted(NamedTuple):
    """What a run says of the symbols of new bars.

    Attributes
    ----------
    config : Config
        Of the run.
    known : sequence of str
        The symbols that it was trained on; empty if that is not on record.
    symbol : str or None
        The one that is asked for, if one is.
    key : str
        What messages call it.
    """

    config: Config
    known: Sequence[str]
    symbol: str | None
    key: str

    def of(self, found: list[str], label: str) -> list[str]:
        """Choose from the symbols of a file or a folder, and say which are left out and why.

        Raises
        ------
        ConfigError, DataError
            The symbol that is asked for is not there, or there are too few symbols for what the run does.
        """
        symbols = _learned(_compared(found, label, self.config), label, self.config.data, self.known)
        if self.symbol is not None and self.symbol not in symbols:
            names = at_most(sorted(symbols), LISTED)
            raise ConfigError(
                f"{self.key}={self.symbol}: {label} has no such symbol; it has {names}.{near(self.symbol, symbols)}"
            )
        self.require_several(symbols, label)
        return symbols

    def require_several(self, symbols: Sequence[str], label: str) -> None:
        """Refuse one instrument where symbols are compared with each other."""
        why = _comparing(self.config)
        if len(symbols) == 1 and why:
            raise DataError(
                f"{label}: there is one instrument, {symbols[0]}, and the run compares symbols with each other "
                f"({', '.join(why)}). Give the bars of several, in one file with a column symbol or in a folder."
            )


def _comparing(config: Config) -> list[str]:
    """Name what compares symbols with each other."""
    data, position = config.data, config.evaluation.position
    return [
        *([f"data.scaling={data.scaling}"] if data.scaling == "date" else []),
        *([f"data.target={data.target}"] if is_across(data.source, data.target) else []),
        *([f"evaluation.position={position}"] if POSITIONS[position].needs == "symbols" else []),
    ]


def _compared(symbols: list[str], label: str, config: Config) -> list[str]:
    """Return the symbols that the run compares with each other: of those that it chose by name, no others."""
    comparing, named = _comparing(config), config.data.symbols
    if not comparing or named is None or named == "all":
        return symbols
    chosen = [symbol for symbol in symbols if symbol in set(map(str, named))]
    others = [symbol for symbol in symbols if symbol not in chosen]
    if not chosen:
        raise DataError(
            f"{label} has {at_most(others, LISTED)}, and none of data.symbols={named}, which the run "
            f"compares with each other ({', '.join(comparing)})."
        )
    if others:
        log.warning(
            "%s: left out, as the run compares the symbols of data.symbols with each other (%s): %s.",
            *(label, ", ".join(comparing), at_most(others, LISTED)),
        )
    return chosen


def _learned(symbols: list[str], label: str, config: DataConfig, known: Sequence[str]) -> list[str]:
    """Leave out the symbols that the model was not trained on where it learned something of each; else name them."""
    new = [symbol for symbol in symbols if symbol not in known] if known else []
    if not new:
        return symbols
    by_symbol = [
        *(["data.scaling=symbol"] if config.scaling == "symbol" else []),
        *filter(is_fitted, config.features),
    ]
    names, was = at_most(new, LISTED), "was" if len(new) == 1 else "were"
    said = f"{label}: {names} {was} not among the symbols that the model was trained on"
    if not by_symbol:
        log.warning("%s; forecasts go by what it learned of others.", said)
        return symbols
    why = f"it learned something of each ({', '.join(by_symbol)})"
    if len(new) == len(symbols):
        raise DataError(f"{said}, {at_most(list(known), LISTED)}, and {why}. Give bars of these.")
    log.warning("%s, and %s: left out.", said, why)
    return [symbol for symbol in symbols if symbol not in new]
