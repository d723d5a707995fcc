"""The rows of bars, or of a table, that have both features and a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradingbot_exp.data.cells import FloatArray
from tradingbot_exp.data.columns import OHLCV
from tradingbot_exp.data.features import FEATURES, FittedFeature, compute_features, warmup_of
from tradingbot_exp.data.sources import Bars, Table
from tradingbot_exp.errors import DataError

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import DataConfig

Source = Bars | Table


@dataclass(frozen=True, eq=False)
class Rows:
    """The n rows of one instrument that have features and a target, whatever they were made from.

    Attributes
    ----------
    features : DataFrame of shape (n, F)
    target : ndarray of shape (n,)
    next_return : ndarray of shape (n,) or None
        One-bar log returns.
    """

    features: pd.DataFrame
    target: FloatArray
    next_return: FloatArray | None


def usable_rows(source: Source, names: tuple[str, ...], config: DataConfig) -> slice:
    """Return which rows of the source's frame have features and a target.

    Raises
    ------
    DataError
        None has.
    """
    bars = len(source.frame)
    if isinstance(source, Table):
        stop = bars - source.unknown
        return slice(0, min(stop, bars - 1) if config.returns else stop)  # what follows the last bar is not known
    stop, warmup = bars - config.horizon, warmup_of(names)
    if stop <= warmup:
        raise DataError(
            f"{config.path or source.name}: too few rows: {bars} bars, of which the features need "
            f"the first {warmup} and data.horizon={config.horizon} the last; give more bars."
        )
    return slice(warmup, stop)


def make_rows(
    source: Source,
    usable: slice,
    names: tuple[str, ...],
    config: DataConfig,
    fitted: Mapping[str, FittedFeature],
) -> Rows:
    """Compute features and target of the rows that are usable; `fitted` is what features learned from train bars."""
    frame = source.frame
    if isinstance(source, Table):
        kept = frame.iloc[usable]
        following = frame[config.returns].to_numpy()[1 : usable.stop + 1] if config.returns else None
        return Rows(kept[list(names)], kept[config.target].to_numpy(), following)
    features = compute_features(frame, names, fitted).iloc[usable]
    log_close = np.log(frame["close"].to_numpy())
    now = log_close[usable]
    target = log_close[usable.start + config.horizon :] - now
    if config.target == "direction":
        target = (target > 0).astype(np.float64)
    return Rows(features, target, log_close[usable.start + 1 : usable.stop + 1] - now)


def content_of(source: Source, names: tuple[str, ...]) -> pd.DataFrame:
    """Return what the fingerprint covers: of bars the usual columns and the features among the others."""
    if isinstance(source, Table):
        return source.frame
    own: list[Any] = [name for name in names if name not in FEATURES and name not in OHLCV]
    wanted = [*(name for name in OHLCV if name in source.frame), *own]
    return source.frame if wanted == [*source.frame] else source.frame[wanted]
