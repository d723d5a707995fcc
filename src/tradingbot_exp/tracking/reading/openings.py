"""Openings of the sealed test set, as MLflow has them: runs of kind ``test_evaluation``."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.data.identity import Span, overlap, stamp
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.reading.ledger import all_experiments, search_all
from tradingbot_exp.tracking.store.errors import wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow import MlflowClient

    from tradingbot_exp.tracking.reading.run_record import RunRecord
    from tradingbot_exp.tracking.store.store import Store
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
    """

    run_id: str
    evaluated: str
    by: str
    at: str
    start: str
    end: str
    instrument: str
    fingerprint: str


def overlapping_openings(
    client: MlflowClient, uri: str, instrument: str, fingerprint: str, dates: Span
) -> list[Opening]:
    """Find the openings of an instrument's bars that share a date with a span, oldest first.

    Openings in all experiments count, and deleted ones too: what was seen was seen. The same bars under another name
    are known by their fingerprint.

    Raises
    ------
    TrackingError
        The store cannot be read.
    """
    with wrapped(f"The openings of test sets cannot be read from {redact(uri)}"):
        runs = list(search_all(client, all_experiments(client), f"tags.`run.kind` = '{KIND}'"))
    found = [_opening(str(run.info.run_id), run.data.tags) for run in runs]
    return [
        each
        for each in found
        if (each.instrument == instrument or each.fingerprint == fingerprint) and overlap((each.start, each.end), dates)
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
    found = overlapping_openings(store.client, store.uri, instrument, fingerprint, dates)
    return tuple(each for each in found if run.run_id not in (each.evaluated, each.run_id))


def _test_dates(run: RunRecord, card: Mapping[str, Any] | None) -> Span | None:
    """Give the first and last test bar by the data card, or else all that is later than validation."""
    split = (card or {}).get("split")
    part = split.get("test") if isinstance(split, Mapping) else None
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return stamp(pd.Timestamp(part["start"])), stamp(pd.Timestamp(part["end"]))  # type: ignore[index]  # suppressed
    after = run.tags.get("data.val_end")
    return (f"{after}+", "~") if after else None  # sorts behind that moment, and behind every other


def _opening(run_id: str, tags: Mapping[str, str]) -> Opening:
    names = ("evaluated.run_id", "opened.by", "opened.at", "opened.start", "opened.end")
    return Opening(run_id, *(tags.get(name, "") for name in (*names, "data.instrument", "data.fingerprint")))


def tell_of_openings(run: TrackedRun, tags: Mapping[str, str | None]) -> None:
    """Say, in the log and in the tag ``test.overlap``, if dates that a run learns from were a test set already.

    Parameters
    ----------
    run : TrackedRun
        About to be trained. While MLflow cannot be reached, nothing is asked.
    tags : mapping
        The run's own: ``data.instrument``, ``data.fingerprint``, ``data.train_start`` and ``data.val_end``.
    """
    client = run.delivery.client
    if client is None or run.delivery.failure is not None:
        return
    names = ("data.instrument", "data.fingerprint", "data.train_start", "data.val_end")
    instrument, fingerprint, start, end = (tags.get(name) or "" for name in names)
    try:
        found = overlapping_openings(client, run.uri, instrument, fingerprint, (start, end))
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
        f"opened {len(openings)} time{'s' * (len(openings) != 1)}, last on {last.at[:16]} by {last.by} for the run "
        f"{last.evaluated}"
    )
