"""From a `DataConfig` to `PreparedData`: checked, with features and targets, split, scaled, fingerprinted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradingbot_exp.config.choices import is_across
from tradingbot_exp.data.bar_frame import feature_names
from tradingbot_exp.data.card import data_card
from tradingbot_exp.data.cells import FloatArray
from tradingbot_exp.data.checks import check_features
from tradingbot_exp.data.features import FittedFeature
from tradingbot_exp.data.fingerprint import fingerprint
from tradingbot_exp.data.frequency import Frequency, describe_frequency
from tradingbot_exp.data.panel import Layout, beside_features
from tradingbot_exp.data.panel_blocks import Panel
from tradingbot_exp.data.panel_rows import panel_rows
from tradingbot_exp.data.panel_scaler import AnyScaler, fit_scaler
from tradingbot_exp.data.panel_sources import Loaded, is_panel, load_all
from tradingbot_exp.data.rows import content_of
from tradingbot_exp.data.splits import Block
from tradingbot_exp.errors import ConfigError

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import DataConfig


_NAMED = 5  # symbols; of more the first and the last are


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Everything that training and evaluation need of the data; n valid rows, F features.

    Attributes
    ----------
    name, symbol : str
        ``data.name``, and the instrument.
    feature_names : tuple of str
        The F features, in the order of the columns.
    index : pandas.DatetimeIndex of shape (n,)
        The close of the bar from which each row's forecast is made.
    raw : ndarray of shape (n, F)
        Unscaled features, float64, known at `index`.
    scaled : ndarray of shape (n, F)
        The same, scaled by `scaler`, in the dtype asked for.
    target : ndarray of shape (n,)
        float64, known `horizon` bars later: log return, or 1.0 if that is above 0 else 0.0.
    next_return : ndarray of shape (n,) or None
        ln(C[t+1] / C[t]), float64, known one bar later. None for a table without ``data.returns``.
    horizon, sequence_length : int
        Bars.
    scaler : Scaler, SymbolScaler or DateScaler
        Fitted on the train rows alone: all from the first to the end of `train`.
    train, val, test : Block
        Row ranges that have inputs and targets.
    fingerprint : str
        32 hexadecimal characters, of the bars or the table as loaded.
    frequency : Frequency
        How often bars come, or why that cannot be told.
    card : dict
        The data card, JSON-able.
    panel : Panel
        Which rows are of which symbol, and of which date: rows are in order of date, and `index` has a date as often as
        it has symbols.
    """

    name: str
    symbol: str
    feature_names: tuple[str, ...]
    index: pd.DatetimeIndex
    raw: FloatArray
    scaled: npt.NDArray[np.floating[Any]]
    target: FloatArray
    next_return: FloatArray | None
    horizon: int
    sequence_length: int
    scaler: AnyScaler
    train: Block
    val: Block
    test: Block
    fingerprint: str
    frequency: Frequency
    card: dict[str, Any]
    panel: Panel

    @property
    def layout(self) -> Layout:
        """The dates and symbols of the rows."""
        return self.panel.layout

    @property
    def symbols(self) -> tuple[str, ...]:
        """Of a panel, its symbols, ascending; none of one instrument."""
        return self.layout.names if self.layout.is_panel else ()

    @property
    def bars(self) -> pd.DataFrame | None:
        """The adjusted bars of the first symbol, of which row i is bar i after the features' warm-up; None of a table.

        See `Panel` for those of each.
        """
        return self.panel.bars.get(self.layout.names[0])

    @property
    def fitted(self) -> Mapping[str, FittedFeature]:
        """What features learned from the train bars of the first symbol, by name."""
        return self.panel.fitted.get(self.layout.names[0], {})

    @property
    def seen_in_training(self) -> Block:
        """The rows that a model saw in training: those of `train`, and what their windows reach back to."""
        return self.panel.seen(self.train)

    @property
    def periods_per_year(self) -> float:
        """Bars a year; where they cannot be inferred, a DataError that asks for the key to set."""
        return self.frequency.require()

    def inputs(self, block: Block, dtype: npt.DTypeLike | None = None) -> npt.NDArray[np.floating[Any]]:
        """Return what the model sees for each row of `block`.

        Parameters
        ----------
        block : Block
            `train`, `val`, `test`, or any other rows from ``sequence_length - 1`` on.
        dtype : dtype, optional
            That of `scaled` by default; another is scaled anew from `raw`, so nothing is lost.

        Returns
        -------
        ndarray of shape (len(block), F), or (len(block), sequence_length, F)
            With sequences, a read-only view (a copy for a block with a hole, and of several symbols): the window of a
            row ends at this row, oldest bar first, and may reach back into an earlier block, since features are known
            at their own time. It never reaches into another symbol.
        """
        matrix = self.scaled
        if dtype is not None and np.dtype(dtype) != matrix.dtype:
            matrix = self.scaler.transform(self.raw, dtype, self.layout)
        length = self.sequence_length
        if length == 1:
            return matrix[block.rows]
        if (self.layout.earlier[block.rows] < length - 1).any():
            raise ValueError(f"{block}: its first window of {length} rows would start before the first row")
        return self.layout.windows_of(matrix, block.rows, length)

    def unscaled(self, rows: slice | npt.NDArray[np.intp]) -> pd.DataFrame:
        """Return the features of some rows as a saved model takes them; of a panel with dates and symbols beside."""
        frame = pd.DataFrame(self.raw[rows], columns=list(self.feature_names))
        if not self.layout.is_panel:
            return frame
        return frame.assign(**beside_features(self.index[rows], self.layout.take(rows).symbols))

    def targets(self, block: Block) -> FloatArray:
        """Return the targets of `block`, shape (len(block),), aligned with `inputs`."""
        return self.target[block.rows]

    def returns(self, block: Block) -> FloatArray | None:
        """Return the one-bar log return after each row of `block`, aligned with `inputs`, or None."""
        return None if self.next_return is None else self.next_return[block.rows]

    def dates(self, block: Block) -> pd.DatetimeIndex:
        """Return the timestamps of `block`, aligned with `inputs`."""
        return self.index[block.rows]

    def days(self, block: Block) -> pd.DatetimeIndex:
        """Return the timestamps of `block`, each once: of a panel, the dates that it has rows of."""
        return self.dates(block)[self.layout.take(block.rows).starts]


def prepare_data(config: DataConfig, dtype: npt.DTypeLike = "float32") -> PreparedData:
    """Load, check, compute, split and scale.

    Raises
    ------
    ConfigError
        If a key is impossible, or names something that the data do not have.
    DataError
        If the file, a column or a row cannot be used, or there are too few rows.
    """
    if not is_panel(config):
        for key, plain in (("target", "return"), ("scaling", "pooled")):
            given = getattr(config, key)
            if (key == "scaling" and given != plain) or (key == "target" and is_across(config.source, given)):
                raise ConfigError(
                    f"data.{key}={given} is for several instruments: data.symbols=all, data=tech, or a folder of "
                    f"files. With one use data.{key}={plain}."
                )
    names, source = feature_names(config), load_all(config)
    made = panel_rows(source, names, config)
    rows, split, layout = made.rows, made.split, made.panel.layout
    check_features(config.path or source.name, rows.features, split.train.stop)
    raw = rows.features.to_numpy(dtype=np.float64)
    seen = slice(0, split.train.stop)
    scaler = fit_scaler(config.scaling, raw[seen], layout.take(seen))
    digest, frequency, symbol = _digest(source, layout, names), describe_frequency(made.loaded), _in_words(layout.names)
    card = data_card(source, made, frequency.name) | {
        "symbol": symbol,
        "features": list(rows.features.columns),
        "target": config.target,
        "returns": config.returns,
        "horizon": config.horizon,
        "sequence_length": config.sequence_length,
        "fingerprint": digest,
    }
    return PreparedData(
        name=source.name,
        symbol=symbol,
        feature_names=tuple(rows.features.columns),
        index=pd.DatetimeIndex(rows.features.index),
        raw=raw,
        scaled=scaler.transform(raw, dtype, layout),
        target=rows.target,
        next_return=rows.next_return,
        horizon=config.horizon,
        sequence_length=config.sequence_length,
        scaler=scaler,
        train=split.train,
        val=split.val,
        test=split.test,
        fingerprint=digest,
        frequency=frequency,
        card=card,
        panel=made.panel,
    )


def _digest(source: Loaded, layout: Layout, names: tuple[str, ...]) -> str:
    """Return the fingerprint of what was loaded: of a panel with the symbols beside it."""
    contents = {symbol: content_of(source.parts[symbol], names) for symbol in layout.names}
    if not layout.is_panel:
        return fingerprint(contents[layout.names[0]])
    symbols = np.repeat(np.array([*contents], dtype=object), [len(content) for content in contents.values()])
    together, first = pd.concat(contents.values()), next(iter(contents.values()))
    together.insert(first.shape[1], "symbol", symbols)
    return fingerprint(together)


def _in_words(symbols: tuple[str, ...]) -> str:
    several = f"{len(symbols)} symbols, {symbols[0]} to {symbols[-1]}"
    return ", ".join(symbols) if len(symbols) <= _NAMED else several
