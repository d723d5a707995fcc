"""Openings of the sealed test set, as MLflow has them: runs of kind ``test_evaluation``."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from tradingbot_exp.data.identity import ALWAYS, Span, overlap, stamp
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.runtime.text import plural
from tradingbot_exp.tracking.reading.ledger import on_record
from tradingbot_exp.tracking.reading.markets import MarketDates, of_market, recorded_returns
from tradingbot_exp.tracking.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradingbot_exp.tracking.reading.run_record import RunRecord
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)

KIND = "test_evaluation"


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


def overlapping_openings(store: Store, asked: MarketDates) -> list[Opening]:
    """Find the openings of a market's bars that share a date with a span, oldest first.

    Openings in all experiments count, and deleted ones too: what was seen was seen. The market is known by its returns,
    whatever file its bars came from.

    Raises
    ------
    TrackingError
        The store cannot be read.
    """
    return _on_market(store, _overlapping(store, asked.dates), asked)


def _overlapping(store: Store, dates: Span) -> list[Opening]:
    """Find the openings of any market that share a date with a span."""
    runs = store.search(f"tags.`run.kind` = '{KIND}'", deleted=True)
    found = [_opening(str(run.info.run_id), run.data.tags) for run in runs]
    return [each for each in found if overlap((each.start, each.end), dates)]


def _on_market(store: Store, openings: Sequence[Opening], asked: MarketDates) -> list[Opening]:
    """Keep those of one market; what runs on other data learned from is not read."""
    named = {each.fingerprint for each in openings} | {each.study for each in openings} - {""}
    parents = on_record(store) if openings else ()
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
    dates = _test_dates(run, card)
    if dates is None or not (instrument or fingerprint):
        return None
    found = [each for each in _overlapping(store, dates) if run.run_id not in (each.evaluated, each.run_id)]
    if not found:
        return ()
    returns = recorded_returns(store, store.run(run.parent_id or run.run_id))
    return tuple(_on_market(store, found, MarketDates(instrument, dates, fingerprint, returns)))


def _test_dates(run: RunRecord, card: Mapping[str, Any] | None) -> Span | None:
    """Return the first and last test bar by the data card, or else all that is later than validation."""
    split = (card or {}).get("split")
    part = split.get("test") if isinstance(split, Mapping) else None
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return stamp(pd.Timestamp(part["start"])), stamp(pd.Timestamp(part["end"]))  # type: ignore[index]  # suppressed
    after = run.tags.get("data.val_end")
    return (f"{after}+", "~") if after else None  # sorts behind that moment, and behind every other


def _opening(run_id: str, tags: Mapping[str, str]) -> Opening:
    names = ["evaluated.run_id", *(f"opened.{name}" for name in ("by", "at", "start", "end"))]
    names += ["data.instrument", "data.fingerprint", "evaluated.study_id"]
    found = Opening(run_id, *(tags.get(name, "") for name in names))
    with contextlib.suppress(ValueError):
        datetime.fromisoformat(found.start), datetime.fromisoformat(found.end)
        return found
    return replace(found, start=ALWAYS[0], end=ALWAYS[1])  # of dates that nobody can read, any may be meant


def tell_of_openings(run: TrackedRun, tags: Mapping[str, str | None], returns: pd.Series[float]) -> None:
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
        f"opened {plural(len(openings), 'time')}, last on {last.at[:16]} by {last.by} for the run "
        f"{last.evaluated}"
    )
