"""Trains the configuration of a recorded run again on all bars up to a date: the model for the bars to come."""

from __future__ import annotations

import logging
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.config.keys import facts_of
from tradingbot_exp.data.identity import (
    LEAST_SHARED,
    Span,
    instrument,
    is_same_by_column,
    known_dates,
    market_returns,
    stamp,
)
from tradingbot_exp.data.whole import whole_view
from tradingbot_exp.errors import DataError, RunError
from tradingbot_exp.evaluation.leakage.gate import check_leaks
from tradingbot_exp.evaluation.positions import spread_of
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.experiment.fitting import Fitting, fit_all, together
from tradingbot_exp.experiment.job import Job, job_of
from tradingbot_exp.experiment.recording import identifying_tags, record_model, record_origin, spread_tag
from tradingbot_exp.experiment.results import forecast_of
from tradingbot_exp.recorded.incoming import check_spacing
from tradingbot_exp.recorded.incoming_symbols import LISTED
from tradingbot_exp.recorded.judgement import judged_tags, opening_tags
from tradingbot_exp.recorded.result import Opened
from tradingbot_exp.recorded.subject import configuration_of
from tradingbot_exp.runtime.text import at_most
from tradingbot_exp.tracking.reading.looks import looks_at
from tradingbot_exp.tracking.reading.markets import MarketDates, recorded_returns
from tradingbot_exp.tracking.reading.openings import overlapping_openings, test_dates
from tradingbot_exp.tracking.reading.recorded_run import RecordedRun
from tradingbot_exp.tracking.store.kinds import TRAIN_ON_ALL
from tradingbot_exp.tracking.store.lookup import REFIT
from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
from tradingbot_exp.tracking.writing.registration import first_alias, register_winner
from tradingbot_exp.training.listeners import Curves, Hook, seed_prefix

if TYPE_CHECKING:
    import pandas as pd

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)

KEYS = ("--data", "--through")


@dataclass(frozen=True)
class Refitted:
    """A model that was trained on all bars.

    Attributes
    ----------
    run_id, name : str
        The run of kind ``refit`` that has the model.
    of_run_id, of_name : str
        The run whose configuration it was.
    instrument, start, end : str
        The first and the last bar whose row it learned from.
    rows, epochs : int
    opened : tuple of (str, str), or None
        The dates of that run's test set that it learned from; this counts as an opening of them.
    registered : str or None
        ``models:/NAME/VERSION``.
    alias : str or None
        Of what is registered.
    """

    run_id: str
    name: str
    of_run_id: str
    of_name: str
    instrument: str
    start: str
    end: str
    rows: int
    epochs: int
    opened: Span | None = None
    registered: str | None = None
    alias: str | None = field(default=None, repr=False)


def refit(
    run: str = "latest",
    tracking_uri: str | Path | None = None,
    confirm: Callable[[Opened], None] | None = None,
    *,
    data: str | Path | None = None,
    through: str | None = None,
    register: str | None = None,
    trust: bool = False,
) -> Refitted:
    """Train a run's configuration on all bars up to a date, for as many epochs as its best one, and keep the model.

    Features, scaling and seed are the run's. There are no validation rows, and no metrics of any; the rows of the run's
    test set that are used count as an opening.

    Parameters
    ----------
    run : str
        See `tradingbot_exp.tracking.store.lookup.find_run`. Of a study, the best trial is taken.
    tracking_uri : str or Path, optional
        See `tradingbot_exp.tracking.store.store.open_store`.
    confirm : callable, optional
        See `tradingbot_exp.recorded.evaluate.open_test_set`.
    data : str or Path, optional
        Bars of the same market, with those that came since; else the file, or the bundled data, of the run.
    through : str, optional
        No target is used that was not known by this date; else all are.
    register : str, optional
        Name in MLflow's registry under which the model is registered.
    trust : bool
        See `tradingbot_exp.tracking.reading.recorded_run.RecordedRun`.

    Raises
    ------
    RunError
        The run is not there, was not trained by this package, or wants trust.
    ConfigError, DataError
        The data are gone, are of another market, or end before `through`.
    TrainingError
        A loss became NaN or infinite.
    TrackingError
        The store cannot be read or written.
    """
    loaded = RecordedRun.found(run, tracking_uri, TRAIN_ON_ALL, trust=trust)
    epochs = _epochs_of(loaded)
    facts_of("tracking.register").check("--register", register)  # before anything is opened
    config = _configuration(loaded, data, register)
    prepared = load_data(config)
    _require_same_market(loaded, prepared, data)
    whole = whole_view(prepared, through, KEYS[1])
    check_leaks(whole)
    market = instrument(config.data, whole)
    used, bars = whole.days(whole.train), _test_bars_used(loaded, whole)
    opened = (stamp(bars[0]), stamp(bars[-1])) if len(bars) else None
    if opened is not None and confirm is not None:
        asked = MarketDates(market, opened, whole.fingerprint, market_returns(whole))
        earlier = tuple(overlapping_openings(loaded._store, asked))
        told = Opened(loaded.run_id, loaded.name, "", market, *opened, len(bars), earlier)
        if told.is_first:
            confirm(replace(told, looked=looks_at(loaded._store, asked), symbols=max(len(whole.symbols), 1)))
    tags = {
        "refit.run_id": loaded.run_id,
        "refit.epochs": epochs,
        "refit.through": through,
        **({} if opened is None else judged_tags(loaded._run) | opening_tags(opened)),
    }
    named = {key.replace(".", "__"): value for key, value in tags.items()}
    with ExperimentOrganizer(config).start_run(f"refit-{loaded.name}", kind=REFIT, **named) as record:
        job = _trained(config, whole, record, epochs, loaded.metrics)
        record_model(job)
        record.set_tags(spread_tag([spread_of(forecast_of(job, whole.inputs(whole.train)))]))
        registered = register_winner(record, config.tracking, record.run_id)
    return Refitted(
        *(record.run_id, record.name, loaded.run_id, loaded.name, market, stamp(used[0]), stamp(used[-1])),
        rows=len(whole.train),
        epochs=epochs,
        opened=opened,
        registered=registered,
        alias=None if registered is None else first_alias(config.tracking),
    )


def _configuration(loaded: RecordedRun, data: str | Path | None, register: str | None) -> Config:
    """Return the run's configuration for a training without validation."""
    config = configuration_of(loaded)
    if data is not None:
        if config.data.path is None:
            raise RunError(
                f"{KEYS[0]}={data}: the run {loaded.run_id} ({loaded.name}) was trained on data={config.data.name}, "
                "which is not a file. Leave it out."
            )
        config.data.path = str(Path(data).expanduser().absolute())
    config.experiment.name = loaded.record.experiment  # which may have been renamed since
    config.experiment.run_name = None
    config.tracking.register = register
    config.training.checkpoint_every = None
    config.training.progress = "off"
    return config


def _epochs_of(loaded: RecordedRun) -> int:
    best = loaded.metrics.get("best_epoch", math.nan)
    if not math.isfinite(best) or best < 0.5:
        raise RunError(
            f"The run {loaded.run_id} ({loaded.name}) has no best_epoch, so that nothing says for how many epochs to "
            "train. Give a run that completed."
        )
    return _whole(best)


def _whole(epoch: float) -> int:
    """Round an epoch, which of several folds is a mean."""
    return max(math.floor(epoch + 0.5), 1)


def _require_same_market(loaded: RecordedRun, prepared: PreparedData, data: str | Path | None) -> None:
    """Refuse other bars than those of the run's own market; where that cannot be told of its own file, say so."""
    given, card = prepared.name if data is None else str(data), loaded.data_card
    of = f"the run {loaded.run_id} ({loaded.name})"
    check_spacing(given, prepared.frequency.name, card.get("frequency"))
    if lacking := sorted(set(card.get("symbols", ())) - set(prepared.symbols)):
        raise DataError(f"{given}: no usable bars of {at_most(lacking, LISTED)}, which {of} learned from.")
    store, parent = loaded._store, loaded.record.parent_id
    known = recorded_returns(store, loaded._run)
    if known is None and parent is not None:  # a study keeps them for its trials, a plain sweep does not
        known = recorded_returns(store, store.run(parent))
    found = [None] if known is None else is_same_by_column(known, market_returns(prepared))
    names = prepared.symbols or ("",) * len(found)
    if False in found:
        others = at_most([name for name, is_same in zip(names, found, strict=False) if is_same is False], LISTED)
        raise DataError(
            f"{given}: {f'{others}: ' if others else ''}these are not the bars of the market that {of} learned from: "
            "on the dates that both have, returns differ. Give those bars with the later ones appended."
        )
    own = card.get("symbols", ())  # of a short symbol too few dates may be shared, which its name makes up for
    if True in found and all(each or name in own for name, each in zip(names, found, strict=True)):
        return
    why = f"fewer than {LEAST_SHARED} dates are shared with it, or its targets differ"
    why = f"{of} recorded no returns" if known is None else why
    if data is not None:
        raise DataError(f"{given}: whether these are bars of the market of {of} cannot be told, since {why}.")
    log.warning("%s: whether these are the bars of the run's own market cannot be told, since %s.", given, why)


def _test_bars_used(loaded: RecordedRun, whole: PreparedData) -> pd.DatetimeIndex:
    """Return the bars of the run's test set that are learned from: up to the last that a target reaches."""
    dates = whole.panel.calendar
    sealed = test_dates(loaded.record, loaded.data_card)
    if sealed is None:
        return dates[:0]
    until = dates.searchsorted(known_dates(whole)[whole.train.numbers].max(), side="right")
    first = max(whole.panel.in_dates(whole.train).start, bisect_left(dates, sealed[0], key=stamp))
    return dates[first : min(int(until), bisect_right(dates, sealed[1], key=stamp))]


def _trained(config: Config, whole: PreparedData, record: TrackedRun, epochs: int, best: Mapping[str, float]) -> Job:
    """Make the model, record what the run is made of, and train, each network for as many epochs as its best one."""
    job = job_of(config, (whole,), record)
    record_origin(job, identifying_tags(job.config, whole, (whole,)))
    # A schedule is that of the run, as far as it went; early stopping has nothing to go by.
    training = replace(job.config.training, early_stopping=None)
    fitted = replace(job, config=replace(job.config, training=training))
    networks = fitted.networks
    log.info("Training %s on %d rows for %d epochs.", record.name, len(whole.train), epochs)
    fittings = []
    for network in networks:
        prefix = seed_prefix(network.config.seed) if len(networks) > 1 else ""
        last = _whole(best.get(f"{prefix}best_epoch", epochs))
        stop = Hook(lambda number, _, last=last: number >= last)  # type: ignore[misc]
        fittings.append(Fitting(network, [Curves(record, prefix, validated=False), stop]))
    together(fitted, fit_all(fittings))
    return job
