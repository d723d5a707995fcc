"""From a `DataConfig` to `PreparedData`: checked, with features and targets, split, scaled, fingerprinted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradingbot_exp.config.choices import TARGETS, check_name
from tradingbot_exp.config.facts import wrong
from tradingbot_exp.data.bar_frame import feature_names
from tradingbot_exp.data.card import data_card
from tradingbot_exp.data.cells import FloatArray
from tradingbot_exp.data.checks import check_features
from tradingbot_exp.data.columns import OHLCV
from tradingbot_exp.data.features import FEATURES, FittedFeature, compute_features, warmup_of
from tradingbot_exp.data.fingerprint import fingerprint
from tradingbot_exp.data.fitted import fit_features
from tradingbot_exp.data.frequency import Frequency, describe_frequency
from tradingbot_exp.data.scaler import Scaler
from tradingbot_exp.data.sources import Bars, Table, load_bars, load_table
from tradingbot_exp.data.splits import Block, Split, split_rows
from tradingbot_exp.errors import DataError

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import DataConfig

_ROWS = 65_536


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
    scaler : Scaler
        Fitted on the train rows alone: all from the first to the end of `train`.
    train, val, test : Block
        Row ranges that have inputs and targets.
    fingerprint : str
        32 hexadecimal characters, of the bars or the table as loaded.
    frequency : Frequency
        How often bars come, or why that cannot be told.
    card : dict
        The data card, JSON-able.
    bars : pandas.DataFrame or None
        The adjusted bars that features were computed from: row i here is bar i after the features' warm-up. None
        where features were given.
    fitted : dict of str to FittedFeature
        Features that learned from train bars, by name.
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
    scaler: Scaler
    train: Block
    val: Block
    test: Block
    fingerprint: str
    frequency: Frequency
    card: dict[str, Any]
    bars: pd.DataFrame | None = None
    fitted: dict[str, FittedFeature] = field(default_factory=dict)

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
            With sequences, a read-only view (a copy for a block with a hole): the window of a row ends at this
            row, oldest bar first, and may reach back into an earlier block, since features are known at their own
            time.
        """
        matrix = self.scaled
        if dtype is not None and np.dtype(dtype) != matrix.dtype:
            matrix = self.scaler.transform(self.raw).astype(dtype)
        length = self.sequence_length
        if length == 1:
            return matrix[block.rows]
        if block.start < length - 1:
            raise ValueError(f"{block}: its first window of {length} rows would start before the first row")
        windows = np.lib.stride_tricks.sliding_window_view(matrix, length, axis=0).transpose(0, 2, 1)
        if block.hole is not None:
            return windows[block.numbers - length + 1]
        return windows[block.start - length + 1 : block.stop - length + 1]

    def targets(self, block: Block) -> FloatArray:
        """Return the targets of `block`, shape (len(block),), aligned with `inputs`."""
        return self.target[block.rows]

    def returns(self, block: Block) -> FloatArray | None:
        """Return the one-bar log return after each row of `block`, aligned with `inputs`, or None."""
        return None if self.next_return is None else self.next_return[block.rows]

    def dates(self, block: Block) -> pd.DatetimeIndex:
        """Return the timestamps of `block`, aligned with `inputs`."""
        return self.index[block.rows]


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows that have features and a target, whatever they were made from."""

    features: pd.DataFrame
    target: FloatArray
    next_return: FloatArray | None
    content: pd.DataFrame  # what the fingerprint covers
    split: Split
    fitted: dict[str, FittedFeature] = field(default_factory=dict)


def prepare_data(config: DataConfig, dtype: npt.DTypeLike = "float32") -> PreparedData:
    """Load, check, compute, split and scale.

    Raises
    ------
    ConfigError
        If a key is impossible, or names something that the data do not have.
    DataError
        If the file, a column or a row cannot be used, or there are too few rows.
    """
    for key in ("horizon", "sequence_length"):
        if getattr(config, key) < 1:
            raise wrong(f"data.{key}", "1 or more bars", getattr(config, key))
    names = feature_names(config)
    source: Bars | Table
    if config.source == "table":
        source = load_table(config)
        rows = _table_rows(source, names, config)
    else:
        source = load_bars(config)
        rows = _bar_rows(source, names, config)
    index, split = pd.DatetimeIndex(rows.features.index), rows.split
    check_features(config.path or source.name, rows.features, split.train.stop)
    raw = rows.features.to_numpy(dtype=np.float64)
    scaler = Scaler.fit(raw[: split.train.stop])
    digest, frequency = fingerprint(rows.content), describe_frequency(pd.DatetimeIndex(source.frame.index))
    card = data_card(source, index, split, frequency.name) | {
        "features": list(names),
        "target": config.target,
        "returns": config.returns,
        "horizon": config.horizon,
        "sequence_length": config.sequence_length,
        "fingerprint": digest,
    }
    return PreparedData(
        name=source.name,
        symbol=source.symbol,
        feature_names=names,
        index=index,
        raw=raw,
        scaled=_scaled(scaler, raw, dtype),
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
        bars=source.frame if isinstance(source, Bars) else None,
        fitted=rows.fitted,
    )


def _scaled(scaler: Scaler, raw: FloatArray, dtype: npt.DTypeLike) -> npt.NDArray[np.floating[Any]]:
    """Scale some rows at a time, since all of them in float64 would be as much memory once more."""
    scaled = np.empty(raw.shape, dtype)
    for start in range(0, len(raw), _ROWS):
        scaled[start : start + _ROWS] = scaler.transform(raw[start : start + _ROWS])
    return scaled


def _bar_rows(bars: Bars, names: tuple[str, ...], config: DataConfig) -> _Rows:
    check_name("data.target", config.target, TARGETS)
    frame = bars.frame
    stop, warmup = len(frame) - config.horizon, warmup_of(names)
    if stop <= warmup:
        raise DataError(
            f"{config.path or bars.name}: too few rows: {len(frame)} bars, of which the features need "
            f"the first {warmup} and data.horizon={config.horizon} the last; give more bars."
        )
    split = _split(frame.index[warmup:stop], bars, config)
    fitted = fit_features(names, frame.iloc[: warmup + split.train.stop])
    features = compute_features(frame, names, fitted).iloc[warmup:stop]
    log_close = np.log(frame["close"].to_numpy())
    now = log_close[warmup:stop]
    target = log_close[warmup + config.horizon :] - now
    if config.target == "direction":
        target = (target > 0).astype(np.float64)
    own = [name for name in names if name not in FEATURES and name not in OHLCV]
    used = [*(name for name in OHLCV if name in frame), *own]
    return _Rows(features, target, log_close[warmup + 1 : stop + 1] - now, frame[used], split, fitted)


def _table_rows(table: Table, names: tuple[str, ...], config: DataConfig) -> _Rows:
    frame = table.frame
    stop = len(frame) - table.unknown
    following = None
    if config.returns:
        stop = min(stop, len(frame) - 1)  # what follows the last bar is not known
        following = frame[config.returns].to_numpy()[1 : stop + 1]
    kept = frame.iloc[:stop]
    return _Rows(kept[list(names)], kept[config.target].to_numpy(), following, frame, _split(kept.index, table, config))


def _split(index: pd.Index[Any], source: Bars | Table, config: DataConfig) -> Split:
    loaded, label = pd.DatetimeIndex(source.frame.index), config.path or source.name
    rows = pd.DatetimeIndex(index)
    return split_rows(rows, config.horizon, config.split, config.sequence_length, loaded, label=label)
