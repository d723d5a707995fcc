"""The model that a study of `hpo.ensemble` trials delivers: their mean, as a run of its own beside the trials.

Its members are the best trials that differ, each with the same weight; the winner's forecast is the mean over its own
network and those of the other seeds that it was trained with. Members were chosen by the bars that the mean is
validated on, and averaging what luck chose lets it look better than any of them: the verdict is on the winner.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from filelock import FileLock

from tradingbot_exp.config.metrics import MEMBERS_SD
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.splits import joined
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.evaluation.metrics.baselines import validated_baselines
from tradingbot_exp.evaluation.metrics.evaluate import bar_columns, judge_rows
from tradingbot_exp.evaluation.positions import spread_of
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.experiment.recording import (
    example_of,
    identifying_tags,
    record_forecasts,
    record_model,
    report_undefined,
    spread_tag,
    unit_of,
)
from tradingbot_exp.hpo.trial_run import seeds_of
from tradingbot_exp.hpo.trials import best_distinct
from tradingbot_exp.runtime.text import listed, plural
from tradingbot_exp.terminal.text import WIDTH
from tradingbot_exp.tracking.model_files import FILES, files_in, loaded
from tradingbot_exp.tracking.reading.artifacts import PREDICTIONS, predictions_file
from tradingbot_exp.tracking.reading.run_record import TRAIN_SPREAD
from tradingbot_exp.tracking.saved_model import save_mean, write_mean
from tradingbot_exp.tracking.store.errors import reason
from tradingbot_exp.tracking.store.kinds import DELIVERED, MEMBERS
from tradingbot_exp.tracking.store.lookup import ENSEMBLE
from tradingbot_exp.tracking.store.places import inside
from tradingbot_exp.tracking.writing.logger import EnhancedMLflowLogger

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from optuna.trial import FrozenTrial

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.experiment.job import Job
    from tradingbot_exp.experiment.results import Evaluated
    from tradingbot_exp.hpo.study import Study
    from tradingbot_exp.tracking.store.store import Store
    from tradingbot_exp.tracking.store.types import Run
    from tradingbot_exp.tracking.writing.organizer import ExperimentOrganizer
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)

# Below a study's folder: the winner's other seeds, by its number and theirs.
_SEEDS = "seeds"
_DATA = "model/data/data"


@dataclass(frozen=True)
class Delivered:
    """The run that has the model, and whose mean it is: trials, best first, and of the winner how many seeds.

    Without a run, `problem` says why there is none.
    """

    run_id: str
    trials: tuple[int, ...]
    seeds: int
    metrics: Mapping[str, float]
    problem: str = ""
    asked: int = 0


def seeds_folder(study: Study, winner: FrozenTrial) -> Path:
    """Return where the winner's networks of other seeds wait for the ensemble, a folder each."""
    return inside(study.folder, f"{_SEEDS}/{winner.number}")


def is_kept(folder: Path) -> bool:
    """Return whether all that an ensemble needs of a seed is there."""
    return (folder / _DATA / "model.json").is_file() and (folder / PREDICTIONS).is_file()


def keep_seed(place: Path, run: TrackedRun, seed: int, job: Job, evaluated: Evaluated) -> None:
    """Keep the winner's network of another seed on this machine; nothing is written into `run`."""
    folder = place / str(seed)
    shutil.rmtree(folder, ignore_errors=True)
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    with run.staging(fresh):
        record_forecasts(job, evaluated)
        record_model(job)
    shutil.rmtree(fresh / "plots", ignore_errors=True)
    fresh.rename(folder)


def deliver(study: Study, parent: TrackedRun, organizer: ExperimentOrganizer, store: Store) -> Delivered:
    """Record the mean of the best trials as a run of kind ``ensemble``, and name it on the study's run.

    The study is over, and has its result: what keeps the ensemble from being made is a warning, and is told.
    """
    try:
        return _deliver(study, parent, organizer, store)
    except Exception as error:
        why = f"{type(error).__name__}: {reason(error)}"
        log.warning("hpo.ensemble=%d: no ensemble is made: %s", study.config.hpo.ensemble, why)
        return Delivered("", (), 0, {}, why)


def _deliver(study: Study, parent: TrackedRun, organizer: ExperimentOrganizer, store: Store) -> Delivered:
    trials = best_distinct(study.optuna, study.config.hpo.ensemble)
    hpo, winner = study.config.hpo, trials[0]
    seeds = seeds_of(study.trial_config(winner.params), hpo.reseeds, hpo.repeats)
    places = [each for each in (seeds_folder(study, winner) / str(seed) for seed in seeds) if is_kept(each)]
    named = " ".join([f"{winner.number}({len(places)})", *(str(trial.number) for trial in trials[1:])])
    with FileLock(study.folder / ".ensemble.lock"):  # of several processes, the second finds it recorded
        known = _earlier(store, parent.run_id, named)
        if known is None:
            members = [_Member.of(store, trial) for trial in trials]
            config = _configuration(study, trials)
            tags = {MEMBERS.replace(".", "__"): named}
            with organizer.start_run(f"ensemble-{study.name}", kind=ENSEMBLE, parent=parent.run_id, **tags) as record:
                _record(config, members, places, record)
            known = store.run(record.run_id)
        run_id = str(known.info.run_id)
        parent.set_tags({DELIVERED: run_id, MEMBERS: named})
        parent.flush()
    numbers = tuple(trial.number for trial in trials)
    return Delivered(run_id, numbers, len(places), dict(known.data.metrics), asked=hpo.ensemble)


def _earlier(store: Store, parent_id: str, named: str) -> Run | None:
    """Find the ensemble of these members, if an earlier start recorded it whole."""
    query = f"tags.`mlflow.parentRunId` = '{parent_id}' and tags.`{MEMBERS}` = '{named}'"
    found = store.search(f"{query} and attributes.status = 'FINISHED'", store.experiments(), newest_first=True, most=1)
    return next(iter(found), None)


def lines_of(delivered: Delivered, metrics: Sequence[str]) -> list[str]:
    """Say on the terminal what was delivered, and what its values of the study's `metrics` are worth."""
    if delivered.problem:
        return textwrap.wrap(f"No ensemble is delivered, but the winner: {delivered.problem}", WIDTH)
    first, *others = delivered.trials
    seeds = f" (with {plural(delivered.seeds, 'other seed')})" if delivered.seeds else ""
    numbers = listed([f"{first}{seeds}", *map(str, others)])
    shown = [f"{name} {delivered.metrics[name]:.3g}" for name in metrics if name in delivered.metrics]
    fewer = f" ({delivered.asked} were asked for)" if len(delivered.trials) < delivered.asked else ""
    worth = f": {', '.join(shown)} on the bars that chose them, which says little" if shown else ""
    said = f"The model delivered is the mean of the trials {numbers}{fewer}{worth}. Its run: {delivered.run_id}"
    return textwrap.wrap(said, WIDTH, subsequent_indent="  ")


@dataclass(frozen=True, eq=False)
class _Member:
    """A trial whose model is averaged: what reads its files, its forecasts, and their spread on the train rows."""

    read: Callable[[str], bytes | None]
    forecasts: pd.DataFrame
    spread: tuple[float, ...]

    @classmethod
    def of(cls, store: Store, trial: FrozenTrial) -> _Member:
        """Read the forecasts of a trial, and see that its model is there."""
        run = store.run(str(trial.user_attrs.get("run_id")))

        def read(name: str) -> bytes | None:
            found: bytes | None = store.artifact(run, f"{_DATA}/{name}", Path.read_bytes)
            return found

        forecasts = store.artifact(run, PREDICTIONS, predictions_file)
        if forecasts is None or read("model.json") is None:
            raise TrackingError(f"the model of trial {trial.number} is not in its run {run.info.run_id}.")
        spread = tuple(float(each) for each in run.data.tags.get(TRAIN_SPREAD, "").split(",") if each)
        return cls(read, forecasts, spread)

    def write(self, folder: Path) -> None:
        """Copy the model's files."""
        folder.mkdir(parents=True)
        for name in FILES:
            content = self.read(name)
            if content is not None:
                (folder / name).write_bytes(content)


def _configuration(study: Study, trials: Sequence[FrozenTrial]) -> Config:
    """Return the winner's configuration, with the features and the windows of all members."""
    configs = [study.trial_config(trial.params) for trial in trials]
    features = list(dict.fromkeys(name for each in configs for name in each.data.features))
    length = max(each.data.sequence_length for each in configs)
    return replace(configs[0], data=replace(configs[0].data, features=features, sequence_length=length))


def _record(config: Config, members: Sequence[_Member], seeds: Sequence[Path], record: TrackedRun) -> None:
    """Record configuration, model, and what the mean came to on the validation rows."""
    plain = load_data(config)
    views = fold_views(plain, config.evaluation)
    data, rules = views[-1], Rules.of(config, plain)
    logger = EnhancedMLflowLogger(record)
    record.set_tags(identifying_tags(config, data))
    logger.log_config(config)
    with tempfile.TemporaryDirectory() as scratch:
        _save(Path(scratch), members, seeds, data)
        record.log_artifacts(Path(scratch) / "model", "model")
        own = _spread(Path(scratch) / "model/data/data", data)
    rows = joined([view.val for view in views])
    tables = [predictions_file(each / PREDICTIONS) for each in seeds]
    winner = [_aligned(each, data, rows) for each in (members[0].forecasts, *tables)]
    forecasts = np.array([np.mean(winner, axis=0), *(_aligned(each.forecasts, data, rows) for each in members[1:])])
    if not np.isfinite(forecasts).all():
        log.warning("The ensemble has no validation metrics: its members were validated on different bars.")
        return
    # Of earlier folds, whose models are gone, the mean over the members: an upper bound.
    spread = np.append(np.mean([each.spread[: len(views) - 1] for each in members], axis=0), own)
    known = np.repeat(spread, [len(view.val) for view in views])
    forecast, apart = forecasts.mean(axis=0), forecasts.std(axis=0, ddof=1) if len(members) > 1 else None
    evaluation = judge_rows(data, rows, forecast, rules, known)
    columns: dict[str, Any] = bar_columns(evaluation, data.returns(rows))
    rivals, without = validated_baselines(data, rules) if len(views) == 1 else ({}, {})
    metrics = {f"val_{name}": value for name, value in (evaluation.metrics | rivals).items()}
    if apart is not None:
        columns[MEMBERS_SD] = apart
        metrics[f"val_{MEMBERS_SD}"] = float(apart.mean())
    if len(views) > 1:
        columns["fold"] = np.repeat(np.arange(1, len(views) + 1), [len(view.val) for view in views])
    record.log_metrics(metrics)
    report_undefined(record, {f"val_{name}": why for name, why in (evaluation.undefined | without).items()})
    record.set_tags(spread_tag(spread))
    logger.log_predictions(
        data.targets(rows), forecast, dates=data.dates(rows), columns=columns, unit=unit_of(config, data)
    )


def _save(scratch: Path, members: Sequence[_Member], seeds: Sequence[Path], data: PreparedData) -> None:
    """Write the model of all members: the winner's is that of its seeds."""
    places = []
    for number, member in enumerate(members):
        own = scratch / f"member-{number}"
        member.write(own)
        places.append(own)
    if seeds:
        winner = scratch / "winner"
        write_mean(winner, [places[0], *(each / _DATA for each in seeds)])
        places[0] = winner
    save_mean(scratch / "model", places, example_of(data))


def _spread(files: Path, data: PreparedData) -> float:
    """Return how far the model's forecasts of the train rows spread."""
    model = loaded(files_in(files), "The ensemble", trust=True)
    forecast = model.predict(data.unscaled(slice(0, data.train.stop)))
    return spread_of(forecast[data.train.numbers])


def _aligned(table: pd.DataFrame, data: PreparedData, rows: Any) -> NDArray[np.float64]:
    """Return recorded forecasts of some rows, NaN where there is none; by date, of a panel by symbol, too."""
    # Instants, in UTC where dates have a zone.
    wanted = pd.DataFrame({"date": data.dates(rows).as_unit("ns").asi8})
    found = pd.DataFrame({"date": pd.DatetimeIndex(table["date"]).as_unit("ns").asi8, "forecast": table["forecast"]})
    keys = ["date"]
    if "symbol" in table and data.symbols:
        wanted["symbol"], found["symbol"] = data.layout.take(rows.rows).symbols, table["symbol"].to_numpy()
        keys.append("symbol")
    return wanted.merge(found, on=keys, how="left")["forecast"].to_numpy(dtype=np.float64)
