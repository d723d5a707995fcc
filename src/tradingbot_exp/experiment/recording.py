"""What is recorded of a job: what it is made of, and what came of it."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tradingbot_exp.config.finalize import config_sha256, tried_sha256
from tradingbot_exp.config.keys import value_of
from tradingbot_exp.config.losses import LOSS_KEYS, LOSSES, balance, loss_title
from tradingbot_exp.config.modules import plugins_sha256
from tradingbot_exp.config.schema import Config
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.identity import identity_tags, market_returns, write_returns
from tradingbot_exp.evaluation.leakage.gate import check_leaks
from tradingbot_exp.evaluation.metrics.importance import permutation_importance
from tradingbot_exp.evaluation.metrics.target import target_unit
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.experiment.job import Job, row_shape
from tradingbot_exp.experiment.results import Evaluated, loss_of
from tradingbot_exp.tracking.reading.markets import FILE as MARKET_RETURNS
from tradingbot_exp.tracking.reading.run_record import TRAIN_SPREAD
from tradingbot_exp.training.history import mean_history

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.tracking.writing.run import TrackedRun
    from tradingbot_exp.training.history import History

log = logging.getLogger(__name__)

# Rows in MLflow's input example, beyond the first full window.
EXAMPLE_ROWS = 5
# What was said of a study's metrics that are not defined: study, metric, reason.
_TOLD: set[tuple[str, str, str]] = set()


def identifying_tags(
    config: Config, data: PreparedData, views: Sequence[PreparedData] | None = None
) -> dict[str, str | None]:
    """Return the tags that say which model, data and configuration a run is of, and how its data were checked.

    Parameters
    ----------
    config : Config
    data : PreparedData
        As the last fold sees them.
    views : sequence of PreparedData, optional
        What models learn from, where it is not the folds of `evaluation`.
    """
    periods = Rules.of(config, data).periods
    return {
        "model.name": config.model.name,
        "model.version": config.model.version,
        "plugins.sha256": plugins_sha256(config.plugins),
        "data.name": data.name,
        "data.fingerprint": data.fingerprint,
        "config.sha256": config_sha256(config, data.fingerprint),
        "config.tried": tried_sha256(config, data.symbols),
        **identity_tags(config.data, data),
        **check_leaks(data).tags(),
        # What `balanced` came to, of each fold.
        "pos_weight": _balanced(config, views),
        # What `auto` came to; without returns nothing is counted in years.
        "periods_per_year": None if periods is None else f"{periods:.12g}",
        # Whose model it is that is kept.
        "model.fold": None if views or config.evaluation.scheme == "chronological" else str(config.evaluation.folds),
    }


def _balanced(config: Config, views: Sequence[PreparedData] | None) -> str | None:
    if config.training.pos_weight != "balanced":
        return None
    views = views or fold_views(load_data(config), config.evaluation)
    return ", ".join(f"{balance(view.targets(view.train)):.6g}" for view in views)


def record_origin(job: Job, tags: Mapping[str, str | None], overrides: Sequence[str] = ()) -> None:
    """Record what a run is made of."""
    job.run.set_tags({**tags, "engine": "single"})
    job.logger.log_config(job.config, overrides)
    record_run_context(job)
    job.logger.log_model_summary(job.networks[0].model, input_shape=row_shape(job))


def record_run_context(job: Job) -> None:
    """Record what all trials of a study share: environment, code, data."""
    data = job.data
    job.logger.log_environment_details()
    job.logger.log_data_characteristics(
        data.raw[data.train.rows],
        data.raw[data.val.rows],
        feature_names=data.feature_names,
        card=data.card,
        scaler=data.scaler,
    )
    with tempfile.TemporaryDirectory() as scratch:  # what the ledger knows the market by
        folder, _, name = MARKET_RETURNS.partition("/")
        write_returns(market_returns(data), Path(scratch) / name)
        job.run.log_artifact(Path(scratch) / name, folder)
    job.run.log_input(_dataset(data), "training")


def example_of(data: PreparedData) -> pd.DataFrame:
    """Return some rows as the saved model takes them: the first ones of the first symbol."""
    return data.unscaled(data.layout.by_symbol[: data.sequence_length - 1 + EXAMPLE_ROWS])


def _dataset(data: PreparedData) -> dict[str, str]:
    """Describe the data as an MLflow dataset whose digest is our fingerprint."""
    columns = [{"name": name, "type": "double", "required": True} for name in data.feature_names]
    return {
        "name": data.name,
        "digest": data.fingerprint,
        "source_type": "local",
        "source": json.dumps({"uri": str(data.card.get("source", data.name))}),
        "schema": json.dumps({"mlflow_colspec": columns}),
        "profile": json.dumps({"num_rows": len(data.index), "num_features": len(data.feature_names)}),
    }


def record_results(
    run: TrackedRun, metrics: Mapping[str, float], undefined: Mapping[str, str], kept: Evaluated, study: str = ""
) -> None:
    """Record metrics, why others are not defined (`report_undefined`), and what positions need to be formed anew.

    Of several seeds `kept` is the one whose forecasts are.
    """
    run.log_metrics(metrics)
    run.set_tags(spread_tag(kept.spread))
    report_undefined(run, undefined, study)


def spread_tag(spread: Iterable[float]) -> dict[str, str]:
    """Return the tag that says how far the forecasts of the train rows spread, of each fold."""
    return {TRAIN_SPREAD: ",".join(f"{each:.17g}" for each in spread)}


def report_undefined(run: TrackedRun, undefined: Mapping[str, str], study: str = "") -> None:
    """Say of each metric that is not defined why, in the log (one line a reason) and in a tag.

    Of the trials of one study only the first to lack a metric for a reason is named in the log, by its run.
    """
    for reason in dict.fromkeys(undefined.values()):
        names = [name for name in undefined if undefined[name] == reason and (study, name, reason) not in _TOLD]
        if study:
            _TOLD.update((study, name, reason) for name in names)
        if names:
            listed = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {reason}"
            more = "; further trials of which this is true say so in their runs only" if study else ""
            log.warning("%s%s%s.", f"{run.name}: " if study else "", listed, more)
    if undefined:
        run.set_tags({f"undefined.{name}": reason for name, reason in undefined.items()})


def record_history(job: Job, history: History) -> None:
    """Record the figure of a training, and what the run does not have of its curves."""
    job.logger.log_training_history(history, loss_title({key: value_of(job.config, key) for key in LOSS_KEYS}))


def record_artifacts(job: Job, histories: Sequence[History], evaluated: Evaluated) -> None:
    """Record figures, forecasts, the model and the features' importance; of several folds the last one's."""
    from tradingbot_exp.training.predict import predict

    config, data = job.config, job.data
    record_history(job, mean_history(histories))
    record_forecasts(job, evaluated)
    record_model(job)
    importance = permutation_importance(
        lambda inputs: predict(job.model, inputs),
        data.inputs(data.val),
        data.targets(data.val),
        data.feature_names,
        seed=config.seed,
        loss=loss_of(job),
    )
    job.logger.log_feature_importance(importance)


def record_forecasts(job: Job, evaluated: Evaluated) -> None:
    """Record the forecasts of the validated rows, beside what came."""
    data = job.data
    job.logger.log_predictions(
        evaluated.actual,
        evaluated.forecast,
        dates=data.dates(evaluated.rows),
        columns=evaluated.columns,
        unit=unit_of(job.config, data),
    )


def unit_of(config: Config, data: PreparedData) -> str:
    """Return the unit of the target, in words."""
    return target_unit(config.data.source, config.data.target, data.horizon)


def record_model(job: Job) -> None:
    """Record the model, with what it takes to feed it unscaled features."""
    config, data = job.config, job.data
    job.logger.log_model(
        job.model,
        feature_names=data.feature_names,
        scaler=data.scaler,
        example=example_of(data),
        config=config.model,
        sequence_length=data.sequence_length,
        logits=LOSSES[config.training.loss].logits,
        fitted=data.panel.fitted if data.layout.is_panel else data.fitted,
        panel=data.layout.is_panel,
    )
