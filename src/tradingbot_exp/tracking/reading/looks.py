"""Who has looked at dates before: runs and studies that learned from them or were judged by them, and forecasts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tradingbot_exp.data.identity import ALWAYS, overlap
from tradingbot_exp.tracking.reading.ledger import COUNTED, all_experiments, on_record, runs_on_market, search_all
from tradingbot_exp.tracking.reading.markets import MarketDates, of_market
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.writing.predictions import PREDICTED, predictions_of

if TYPE_CHECKING:
    from tradingbot_exp.tracking.store.store import Store


@dataclass(frozen=True)
class Look:
    """A run whose train or validation dates share a date with a span, a study with such trials, or forecasts of it.

    Attributes
    ----------
    run_id, name : str
        Of a study, its parent run's.
    start, end : str
        First train and last validation bar; of forecasts, the first and last bar that was forecast.
    trials : int
        Of a study, how many; 0 of a single run.
    forecasts : int
        How often the run's model forecast such bars; 0 of a run that learned from them.
    """

    run_id: str
    name: str
    start: str
    end: str
    trials: int = 0
    forecasts: int = 0

    def __str__(self) -> str:
        if self.forecasts:
            times = "once" if self.forecasts == 1 else f"{self.forecasts:,} times"
            what = f"`predict` with the model of the run {self.name} ({self.run_id[:12]}), {times}"
            return f"{what}, on bars of {self.start[:10]} to {self.end[:10]}"
        what = f"study of {self.trials:,} trial{'s' * (self.trials != 1)}" if self.trials else "run"
        return f"the {what} {self.name} ({self.run_id[:12]}), on {self.start[:10]} to {self.end[:10]}"


def looks_at(store: Store, asked: MarketDates, but: Collection[str] = ()) -> tuple[Look, ...]:
    """Find what has learned from dates of a market, or was judged by them, oldest first; deleted runs too.

    Then come the runs whose models have forecast such bars.

    Parameters
    ----------
    store : Store
    asked : MarketDates
    but : collection of str
        Ids of runs that are meant to have nothing to do with it, unless their models forecast such bars.

    Raises
    ------
    TrackingError
        The store cannot be read.
    """
    client = store.client
    with wrapped(f"What has looked at these dates cannot be read from {store.shown}"):
        where = all_experiments(client)
        parents = list(on_record(client, where))
        used = list(search_all(client, where, f"tags.`{PREDICTED}` LIKE '%'"))
        markets = of_market(store, parents, asked, ALWAYS if used else None)
        names = {str(run.info.run_id): str(run.info.run_name) for run in parents}
        found: dict[str, Look] = {}
        for run in runs_on_market(client, where, markets):
            tags, run_id = run.data.tags, str(run.info.run_id)
            span = tags.get("data.train_start", ""), tags.get("data.val_end", "")
            parent = tags.get("mlflow.parentRunId")
            study = parent if tags.get("run.kind") == "trial" else None
            if tags.get("run.kind") not in COUNTED or {run_id, parent} & set(but) or not overlap(span, asked.dates):
                continue
            key = study or run_id
            known = found.get(key, Look(key, names.get(key, str(run.info.run_name)), *span))
            found[key] = replace(known, trials=known.trials + 1) if study else known
        for run in used:
            tags, name = run.data.tags, str(run.info.run_name)
            own = tags.get("data.instrument", "")
            for instrument, (start, end, times) in predictions_of(tags).items():
                fingerprint = tags.get("data.fingerprint", "") if instrument == own else ""
                if markets.holds(instrument, fingerprint) and overlap((start, end), asked.dates):
                    found[f"{run.info.run_id} {instrument}"] = Look(
                        str(run.info.run_id), name, start, end, forecasts=times
                    )
    return tuple(found.values())
