"""Who has looked at dates before: runs and studies that learned from them, or were judged by them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from tradingbot_exp.data.identity import Span, overlap
from tradingbot_exp.tracking.reading.ledger import COUNTED, ON_RECORD, all_experiments, runs_on_market, search_all
from tradingbot_exp.tracking.reading.markets import of_market
from tradingbot_exp.tracking.store.errors import wrapped

if TYPE_CHECKING:
    import pandas as pd

    from tradingbot_exp.tracking.store.store import Store


@dataclass(frozen=True)
class Look:
    """A run whose train or validation dates share a date with a span, or a study with such trials.

    Attributes
    ----------
    run_id, name : str
        Of a study, its parent run's.
    start, end : str
        First train and last validation bar.
    trials : int
        Of a study, how many; 0 of a single run.
    """

    run_id: str
    name: str
    start: str
    end: str
    trials: int = 0

    def __str__(self) -> str:
        what = f"study of {self.trials:,} trial{'s' * (self.trials != 1)}" if self.trials else "run"
        return f"the {what} {self.name} ({self.run_id[:12]}), on {self.start[:10]} to {self.end[:10]}"


def looks_at(
    store: Store,
    instrument: str,
    fingerprint: str,
    returns: pd.Series[float],
    dates: Span,
    *,
    but: Collection[str] = (),
) -> tuple[Look, ...]:
    """Find what has learned from dates of a market, or was judged by them, oldest first; deleted runs too.

    Parameters
    ----------
    store : Store
    instrument, fingerprint, returns
        See `tradingbot_exp.tracking.reading.ledger.read_ledger`.
    dates : (str, str)
    but : collection of str
        Ids of runs that are meant to have nothing to do with it.

    Raises
    ------
    TrackingError
        The store cannot be read.
    """
    client = store.client
    with wrapped(f"What has looked at these dates cannot be read from {store.shown}"):
        where = all_experiments(client)
        parents = list(chain.from_iterable(search_all(client, where, query) for query in ON_RECORD))
        markets = of_market(store, parents, returns, fingerprint, dates)
        names = {str(run.info.run_id): str(run.info.run_name) for run in parents}
        found: dict[str, Look] = {}
        for run in runs_on_market(client, where, instrument, markets):
            tags, run_id = run.data.tags, str(run.info.run_id)
            span = tags.get("data.train_start", ""), tags.get("data.val_end", "")
            parent = tags.get("mlflow.parentRunId")
            study = parent if tags.get("run.kind") == "trial" else None
            if tags.get("run.kind") not in COUNTED or {run_id, parent} & set(but) or not overlap(span, dates):
                continue
            key = study or run_id
            known = found.get(key, Look(key, names.get(key, str(run.info.run_name)), *span))
            found[key] = replace(known, trials=known.trials + 1) if study else known
    return tuple(found.values())
