"""The ledger of what was tried: how many configurations have ever been judged on an instrument's validation dates.

It is read from MLflow's own records, so it knows what one store holds and no more. Whoever picks the best of many has
to know how many: that is what the expected luck of the best grows with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from tradingbot_exp.data.identity import Span, overlap
from tradingbot_exp.runtime.collector import uncollected
from tradingbot_exp.tracking.reading.markets import MarketDates, Markets, of_market
from tradingbot_exp.tracking.store.kinds import TRIES
from tradingbot_exp.tracking.store.lookup import BACKTEST_RUN, REFIT

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tradingbot_exp.tracking.store.store import Store

_PAIRS = "backtest.tried"  # tags of such a run, each with as many hashes as every store takes
_PAIRS_A_TAG = 50
# Parents whose trials are no tries.
_NULL_STUDIES = "tags.`run.kind` = 'null_study'"
# Tags of a trial, and of a backtest of one, with the id of the study.
_OF_STUDY = ("mlflow.parentRunId", "evaluated.study_id")
# Those that have the market's returns among their artifacts.
_ON_RECORD = tuple(f"tags.`run.kind` = '{kind}'" for kind in ("study", "training", REFIT))


@dataclass(frozen=True)
class Ledger:
    """What a store knows of an instrument and a span of validation dates.

    Attributes
    ----------
    instrument : str
    dates : (str, str)
        First and last validation bar, which others were compared with.
    before : frozenset of str
        Hashes of configurations (``config.tried``), whichever file their bars come from, of single runs and of other
        studies; where returns are judged, those of backtests too. A position rule is part of a configuration.
    own : frozenset of str
        Those of the study that asks.
    store : str
        The store's address, credentials masked.
    """

    instrument: str
    dates: Span
    before: frozenset[str]
    own: frozenset[str]
    store: str

    @property
    def total(self) -> int:
        """Distinct configurations ever tried, the study's own included."""
        return len(self.before | self.own)

    def __str__(self) -> str:
        count = len(self.before)
        tried = {0: "no other configuration", 1: "1 other configuration"}.get(count, f"{count:,} other configurations")
        return (
            f"{tried} of {self.instrument} {'was' if count < 2 else 'were'} tried on overlapping validation dates "
            f"({self.dates[0][:10]} to {self.dates[1][:10]}), as far as the store {self.store} knows"
        )


@uncollected()
def read_ledger(
    store: Store, asked: MarketDates, study_run: str | None = None, *, with_backtests: bool = False
) -> Ledger:
    """Count the distinct configurations tried on a market with overlapping validation dates.

    Runs of all experiments count, be they finished, pruned, failed, killed or deleted, once their data were prepared.
    One configuration counts once, however often it was run and from whichever file its bars came: so one that is made
    again by the command of `reproduce` adds nothing, and `reproduce --verify` trains in a store of its own. With
    another seed it is another try, unless the seeds are those of one trial. The trials of null studies do not count.

    Parameters
    ----------
    store : Store
    asked : MarketDates
        Its dates as in the tags ``data.val_start`` and ``data.val_end``.
    study_run : str, optional
        Id of the study that asks: its own trials are told apart.
    with_backtests : bool
        Whether the pairs of a configuration and a position rule count that `backtest` made of recorded forecasts: they
        are tries where returns are judged, and none where forecasts are.

    Raises
    ------
    TrackingError
        The store cannot be read.
    """
    before: set[str] = set()
    own: set[str] = set()
    where = store.experiments(deleted=True)
    null_studies = {run.info.run_id for run in store.search(_NULL_STUDIES, where, deleted=True)}
    for run in runs_on_market(store, of_market(store, on_record(store, where), asked), where):
        tags, parent = run.data.tags, _study_of(run)
        tried = _tried(tags, with_backtests)
        if not tried or parent in null_studies:
            continue
        if overlap((tags.get("data.val_start", ""), tags.get("data.val_end", "")), asked.dates):
            (own if study_run is not None and parent == study_run else before).update(tried)
    return Ledger(asked.instrument, asked.dates, frozenset(before), frozenset(own), store.shown)


def pair_tags(tried: Sequence[str]) -> dict[str, str]:
    """Return the tags by which the ledger counts the pairs of a backtest, given by their hashes (``config.tried``)."""
    parts = [tried[start : start + _PAIRS_A_TAG] for start in range(0, len(tried), _PAIRS_A_TAG)]
    return {f"{_PAIRS}.{number}": " ".join(part) for number, part in enumerate(parts, 1)}


def _tried(tags: Mapping[str, str], with_backtests: bool) -> list[str]:
    """Return the hashes of the configurations that a run tried; none of a run that tried nothing."""
    if tags.get("run.kind") in TRIES:
        return [tags["config.tried"]] if "config.tried" in tags else []
    if tags.get("run.kind") != BACKTEST_RUN or not with_backtests:
        return []
    return [each for name, text in tags.items() if name.startswith(f"{_PAIRS}.") for each in text.split()]


def _study_of(run: Run) -> str | None:
    """Return the id of the study that a trial, or a backtest of one, belongs to."""
    tags = run.data.tags
    return tags.get("evaluated.study_id") if tags.get("run.kind") == BACKTEST_RUN else tags.get("mlflow.parentRunId")


def on_record(store: Store, where: Collection[str]) -> Iterator[Run]:
    """Yield the runs of experiments that have the returns of their market on record, deleted ones too."""
    return chain.from_iterable(store.search(query, where, deleted=True) for query in _ON_RECORD)


def runs_on_market(store: Store, markets: Markets, where: Collection[str]) -> Iterator[Run]:
    """Yield each run of experiments on a market once: by its data, its study, or its name where nobody knows better."""
    elsewhere = f"tags.`data.instrument` != '{markets.instrument}'"
    queries = [
        f"tags.`data.instrument` = '{markets.instrument}'",
        *(f"tags.`data.fingerprint` = '{each}' and {elsewhere}" for each in markets.same),
        # Trials that search features have data of their own.
        *(f"tags.`{tag}` = '{each}' and {elsewhere}" for each in markets.studies for tag in _OF_STUDY),
    ]
    seen = set[str]()
    for run in chain.from_iterable(store.search(query, where, deleted=True) for query in queries):
        run_id = str(run.info.run_id)
        tags = run.data.tags
        named = tags.get("data.instrument", ""), tags.get("data.fingerprint", "")
        if run_id not in seen and (_study_of(run) in markets.studies or markets.holds(*named)):
            seen.add(run_id)
            yield run
