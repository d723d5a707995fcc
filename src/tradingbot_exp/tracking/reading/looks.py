"""Who has looked at dates before: runs and studies that learned from them or were judged by them, and forecasts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tradingbot_exp.data.identity import ALWAYS, is_same_market, overlap
from tradingbot_exp.runtime.text import plural
from tradingbot_exp.tracking.reading.ledger import on_record, runs_on_market
from tradingbot_exp.tracking.reading.markets import MarketDates, Markets, of_market, recorded_returns
from tradingbot_exp.tracking.store.kinds import TRIES
from tradingbot_exp.tracking.store.lookup import REFIT
from tradingbot_exp.tracking.writing.predictions import PREDICTED, Predicted, predictions_of

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tradingbot_exp.tracking.store.store import Store


@dataclass(frozen=True)
class Look:
    """A run whose train or validation dates share a date with a span, a study with such trials, or forecasts of it.

    Attributes
    ----------
    run_id, name : str
        Of a study, its parent run's.
    start, end : str
        First train bar, and the last by which a validation target is known; of forecasts, the first and last bar.
    trials : int
        Of a study, how many; 0 of a single run.
    forecasts : bool
        Whether the run's model forecast such bars, by ``predict``, in place of having learned from them.
    """

    run_id: str
    name: str
    start: str
    end: str
    trials: int = 0
    forecasts: bool = False

    def __str__(self) -> str:
        if self.forecasts:
            bars = f"bars of {self.start[:10]} to {self.end[:10]}"
            return f"`predict` with the model of the run {self.name} ({self.run_id[:12]}), on {bars}"
        what = f"study of {plural(self.trials, 'trial')}" if self.trials else "run"
        return f"the {what} {self.name} ({self.run_id[:12]}), on {self.start[:10]} to {self.end[:10]}"


def looks_at(store: Store, asked: MarketDates) -> tuple[Look, ...]:
    """Find what has learned from dates of a market, or was judged by them, oldest first; deleted runs too.

    Then come the runs whose models have forecast such bars.

    Parameters
    ----------
    store : Store
    asked : MarketDates

    Raises
    ------
    TrackingError
        The store cannot be read.
    """
    where = store.experiments(deleted=True)
    parents = list(on_record(store, where))
    used = list(store.search(f"tags.`{PREDICTED}` = 'true'", where, deleted=True))
    markets = of_market(store, parents, asked, ALWAYS if used else None)
    names = {str(run.info.run_id): str(run.info.run_name) for run in parents}
    found: dict[str, Look] = {}
    for run in runs_on_market(store, markets, where):
        tags, run_id = run.data.tags, str(run.info.run_id)
        span = tags.get("data.train_start", ""), tags.get("data.known_end") or tags.get("data.val_end", "")
        parent = tags.get("mlflow.parentRunId")
        study = parent if tags.get("run.kind") == "trial" else None
        if tags.get("run.kind") not in (*TRIES, REFIT) or not overlap(span, asked.dates):
            continue
        key = study if study in names else run_id  # a sweep is no study
        known = found.get(key, Look(key, names.get(key, str(run.info.run_name)), *span))
        known = replace(known, start=min(known.start, span[0]), end=max(known.end, span[1]))
        found[key] = replace(known, trials=known.trials + 1) if key == study else known
    for run in used:
        for each in predictions_of(run.data.tags):
            seen = [span for span in each.spans if overlap(span, asked.dates)]
            if seen and _is_of(store, run, each, asked, markets):
                run_id, name = str(run.info.run_id), str(run.info.run_name)
                found[f"{run_id} {each.instrument}"] = Look(run_id, name, seen[0][0], seen[-1][1], forecasts=True)
    return tuple(found.values())


def _is_of(store: Store, run: Run, predicted: Predicted, asked: MarketDates, markets: Markets) -> bool:
    """Tell whether bars that a model forecast are of the market: by their returns, or the run's own; else by name."""
    if not predicted.returns:
        return markets.holds(predicted.instrument, run.data.tags.get("data.fingerprint", ""))
    theirs = recorded_returns(store, run, predicted.returns)
    same = None if theirs is None or asked.returns is None else is_same_market(asked.returns, theirs)
    return predicted.instrument == asked.instrument if same is None else same
