"""Which runs are of one market: known by its returns, which each study and single run has on record."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradingbot_exp.data.identity import Returns, Span, is_file, is_same_market, overlap
from tradingbot_exp.errors import TrackingError

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run

    from tradingbot_exp.tracking.store.store import Store

log = logging.getLogger(__name__)

FILE = "data/market_returns.parquet"


@dataclass(frozen=True, eq=False)
class MarketDates:
    """A market and a span of its dates, about which a store is asked.

    Attributes
    ----------
    instrument : str
        What the market is called; runs that have not recorded its returns are known by that alone.
    dates : (str, str)
        First and last, as `tradingbot_exp.data.identity.stamp` writes them.
    fingerprint : str
        Of its own data; empty if they have none.
    returns : Series, DataFrame or None
        The market's, by date: see `tradingbot_exp.data.identity.market_returns`. Nothing is compared without them.
    """

    instrument: str
    dates: Span
    fingerprint: str = ""
    returns: Returns | None = None


@dataclass
class Markets:
    """Which data of a store are of one market.

    Attributes
    ----------
    instrument : str
        What this market is called.
    same, other : set of str
        Fingerprints of data that are of this market by their returns, and of those that are not; of those in neither
        nobody knows. Bars of another length, or adjusted otherwise, have other returns and may be of it all the same.
    studies : set of str
        Ids of the studies that are of it.
    """

    instrument: str

    same: set[str] = field(default_factory=set)
    other: set[str] = field(default_factory=set)
    studies: set[str] = field(default_factory=set)

    def holds(self, instrument: str, fingerprint: str) -> bool:
        """Tell whether data are of this market: by their returns, or by a name that is a symbol's and not a file's."""
        named = instrument == self.instrument and not (fingerprint in self.other and is_file(instrument))
        return fingerprint in self.same or named


def of_market(store: Store, runs: Iterable[Run], asked: MarketDates, dates: Span | None = None) -> Markets:
    """Tell which runs are of a market.

    Parameters
    ----------
    store : Store
    runs : iterable of Run
        Studies and single runs; what they say holds for all runs on the same data.
    asked : MarketDates
    dates : (str, str), optional
        Runs that learned from other dates alone are not compared; if not given, those of `asked`.
    """
    returns, dates = asked.returns, dates or asked.dates
    found = Markets(asked.instrument, same={asked.fingerprint} if asked.fingerprint else set())
    for run in runs:
        tags = run.data.tags
        known = tags.get("data.fingerprint", "")
        if returns is not None and known and known not in found.same | found.other:
            end = tags.get("data.val_end") or tags.get("data.known_end", "")  # a refit has no validation
            learned = tags.get("data.train_start") or tags.get("data.val_start", ""), end
            theirs = recorded_returns(store, run) if overlap(learned, dates) else None
            same = None if theirs is None else is_same_market(returns, theirs)
            if same is not None:
                (found.same if same else found.other).add(known)
        if known in found.same and tags.get("run.kind") == "study":
            found.studies.add(str(run.info.run_id))
    return found


def recorded_returns(store: Store, run: Run, path: str = FILE) -> Returns | None:
    """Read the returns of its market that a run recorded; None if there are none, or, with a warning, damaged ones."""
    try:
        found: Returns | None = store.artifact(run, path, _read)
    except TrackingError as error:
        log.warning("The market of the run %s is known by name alone, since %s", run.info.run_id, error)
        return None
    return found


def _read(file: Path) -> Returns:
    frame = pd.read_parquet(file).astype("float64")
    if not isinstance(frame.index, pd.DatetimeIndex):
        raise ValueError("it has no dates")
    frame = frame.set_axis(frame.index.as_unit("ns"))
    returns = frame[frame.columns[0]] if frame.shape[1] == 1 else frame
    gaps = frame.shape[1] > 1  # of a panel's symbols
    if not (np.isfinite(frame) | (frame.isna() & gaps)).all(axis=None):
        raise ValueError("it holds values that are no finite numbers")
    return returns
