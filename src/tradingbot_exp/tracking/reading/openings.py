"""Openings of the sealed test set, as MLflow has them: runs of kind ``test_evaluation``, and refits on its dates."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from tradingbot_exp.data.identity import ALWAYS, Returns, Span, overlap, stamp
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.runtime.text import plural
from tradingbot_exp.tracking.reading.ledger import on_record
from tradingbot_exp.tracking.reading.markets import MarketDates, of_market, recorded_returns
from tradingbot_exp.tracking.store.lookup import REFIT, TEST_RUN
from tradingbot_exp.tracking.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from mlflow.entities import Run

    from tradingbot_exp.tracking.reading.run_record import RunRecord
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opening:
    """One look at a test set.

    Attributes
    ----------
    run_id : str
        The evaluation's own run.
    evaluated : str
        Id of the run whose model was judged.
    by, at : str
        User, and time in UTC.
    start, end : str
        First and last test bar, as `tradingbot_exp.data.identity.stamp` writes them.
    instrument, fingerprint : str
    study : str
        Id of the study that the run is a trial of; empty of a run of its own.
    is_refit : bool
        Whether a refit learned from the bars, in place of an evaluation of them.
    """

    run_id: str
    evaluated: str
    by: str
    at: str
    start: str
    end: str
    instrument: str
    fingerprint: str
    study: str = ""
    is_refit: bool = field(default=False, kw_only=True)


def overlapping_openings(store: Store, asked: MarketDates) -> list[Opening]:
    """Find the openings of a market's bars that share a date with a span, oldest first.

    Openings in all experiments count, and deleted ones too: what was seen was seen. The market is known by its returns,
    whatever file its bars came from.

    Raises
    ------
    TrackingError
        The store cannot be read.
    """
    where = store.experiments(deleted=True)
    return _on_market(store, _overlapping(store, asked.dates, where), asked, where)


def _overlapping(store: Store, dates: Span, where: Collection[str]) -> list[Opening]:
    """Find the openings in experiments, of any market, that share a date with a span."""
    found = map(opening_of, opening_runs(store, where))
    return _once(each for each in found if overlap((each.start, each.end), dates))


def opening_runs(store: Store, where: Collection[str], evaluated: str = "") -> list[Run]:
    """Find the runs that opened test sets, deleted ones too, oldest first; of one run's alone if its id is given."""
    kinds = f"tags.`run.kind` = '{TEST_RUN}'", f"tags.`run.kind` = '{REFIT}' and tags.`opened.start` != ''"
    own = f" and tags.`evaluated.run_id` = '{evaluated}'" if evaluated else ""
    found = (run for kind in kinds for run in store.search(f"{kind}{own}", where, deleted=True))
    return sorted(found, key=lambda run: run.info.start_time)  # of several in one second too


def own_refits(runs: Iterable[Run]) -> tuple[Opening, ...]:
    """Return the refits among runs that opened test sets, oldest first; of those on the same dates the first."""
    return tuple(each for each in _once(map(opening_of, runs)) if each.is_refit)


def _once(openings: Iterable[Opening]) -> list[Opening]:
    """Order openings by time; of the refits of one run on the same dates, as each day makes one, the first stays."""
    found: dict[tuple[str, ...], Opening] = {}
    for each in sorted(openings, key=lambda each: each.at):
        key = (each.evaluated, each.start, each.end) if each.is_refit else (each.run_id,)
        found.setdefault(key, each)
    return list(found.values())


def _on_market(store: Store, openings: Sequence[Opening], asked: MarketDates, where: Collection[str]) -> list[Opening]:
    """Keep those of one market; what runs on other data learned from is not read."""
    named = {each.fingerprint for each in openings} | {each.study for each in openings} - {""}
    parents = on_record(store, where) if openings else ()
    known = (run for run in parents if {run.data.tags.get("data.fingerprint"), str(run.info.run_id)} & named)
    markets = of_market(store, known, asked, ALWAYS)
    return [
        # A trial that searches features has data of its own; then its study tells.
        each
        for each in openings
        if each.study in markets.studies or markets.holds(each.instrument, each.fingerprint)
    ]


def others_opened(store: Store, run: RunRecord, card: Mapping[str, Any] | None) -> tuple[Opening, ...] | None:
    """Find the openings for other runs that share bars with a run's test set, oldest first.

    Returns
    -------
    tuple of Opening, or None
        None if the run's data or the dates of its test set are not recorded.

    Raises
    ------
    TrackingError
        The store cannot be read.
    """
    instrument, fingerprint = (run.tags.get(name, "") for name in ("data.instrument", "data.fingerprint"))
    dates = test_dates(run, card)
    if dates is None or not (instrument or fingerprint):
        return None
    where = store.experiments(deleted=True)
    found = [each for each in _overlapping(store, dates, where) if run.run_id not in (each.evaluated, each.run_id)]
    if not found:
        return ()
    returns = recorded_returns(store, store.run(run.parent_id or run.run_id))
    return tuple(_on_market(store, found, MarketDates(instrument, dates, fingerprint, returns), where))


def test_dates(run: RunRecord, card: Mapping[str, Any] | None) -> Span | None:
    """Return the first and last test bar by the data card, or else all that is later than validation."""
    split = (card or {}).get("split")
    part = split.get("test") if isinstance(split, Mapping) else None
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return stamp(pd.Timestamp(part["start"])), stamp(pd.Timestamp(part["end"]))  # type: ignore[index]  # suppressed
    after = run.tags.get("data.val_end")
    return (f"{after}+", "~") if after else None  # sorts behind that moment, and behind every other


def opening_of(run: Run) -> Opening:
    """Return what a run that opened a test set says of it."""
    tags = run.data.tags
    names = ["evaluated.run_id", *(f"opened.{name}" for name in ("by", "at", "start", "end"))]
    names += ["data.instrument", "data.fingerprint", "evaluated.study_id"]
    found = Opening(
        str(run.info.run_id), *(tags.get(name, "") for name in names), is_refit=tags.get("run.kind") == REFIT
    )
    with contextlib.suppress(ValueError):
        datetime.fromisoformat(found.start), datetime.fromisoformat(found.end)
        return found
    return replace(found, start=ALWAYS[0], end=ALWAYS[1])  # of dates that nobody can read, any may be meant


def tell_of_openings(run: TrackedRun, tags: Mapping[str, str | None], returns: Returns) -> None:
    """Say, in the log and in the tag ``test.overlap``, if dates that a run learns from were a test set already.

    Parameters
    ----------
    run : TrackedRun
        About to be trained. While MLflow cannot be reached, nothing is asked.
    tags : mapping
        The run's own: ``data.instrument``, ``data.fingerprint``, ``data.train_start`` and ``data.known_end``.
    returns : Series
        Of the market, by date.
    """
    client = run.delivery.client
    if client is None or run.delivery.failure is not None:
        return
    names = ("data.instrument", "data.fingerprint", "data.train_start", "data.known_end")
    instrument, fingerprint, start, end = (tags.get(name) or "" for name in names)
    try:
        found = overlapping_openings(
            Store(client, run.uri), MarketDates(instrument, (start, end), fingerprint, returns)
        )
    except TrackingError as error:
        log.warning("Whether these dates were a test set before cannot be told. %s", error)
        return
    if found:
        said = in_words(found)
        run.set_tags({"test.overlap": said})
        log.warning(
            "Train or validation dates of this run, %s to %s, were a test set before: %s. What was seen there may have "
            "guided this configuration, so its numbers are no longer out of sample.",
            start[:10],
            end[:10],
            said,
        )


def in_words(openings: Sequence[Opening]) -> str:
    """Say how often, and when last, by whom and for which run."""
    last = openings[-1]
    return (
        f"{last.instrument} {min(each.start for each in openings)[:10]} to {max(each.end for each in openings)[:10]}, "
        f"{how_often(openings)}, last on {last.at[:16]} by {last.by} for the run {last.evaluated}"
    )


def how_often(openings: Sequence[Opening]) -> str:
    """Say how often, refits apart from evaluations: ``opened 2 times and learned from by 1 refit``."""
    refits = sum(each.is_refit for each in openings)
    said = [f"opened {plural(len(openings) - refits, 'time')}"] if refits < len(openings) else []
    return " and ".join([*said, *([f"learned from by {plural(refits, 'refit')}"] if refits else [])])
