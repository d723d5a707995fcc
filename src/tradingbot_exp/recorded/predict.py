"""From a recorded run and new bars to forecasts and positions, with features and scaling as in that run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradingbot_exp.config.plugins import load_plugins, plugins_sha256
from tradingbot_exp.config.schema import Config, DataConfig
from tradingbot_exp.data.features import FEATURES
from tradingbot_exp.data.identity import is_same_market, plain_name, stamp
from tradingbot_exp.data.reading import frame_cells, read_cells
from tradingbot_exp.errors import DataError, RunError, TradingBotError
from tradingbot_exp.evaluation.metrics.target import neutral_forecast, target_unit
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.recorded.incoming import incoming_rows
from tradingbot_exp.tracking.reading.markets import recorded_returns
from tradingbot_exp.tracking.saved_model import learned_by_features
from tradingbot_exp.tracking.store.kinds import PREDICT
from tradingbot_exp.tracking.writing.predictions import note_prediction

if TYPE_CHECKING:
    from tradingbot_exp.data.features import FittedFeature
    from tradingbot_exp.data.identity import Span
    from tradingbot_exp.recorded.incoming import Incoming
    from tradingbot_exp.tracking.reading.recorded_run import RecordedRun

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a run's model says about new bars.

    Attributes
    ----------
    frame : pandas.DataFrame
        A row a bar that has enough history, the last one included: `date`; `forecast`, made at the bar's close, in
        `unit`; `signal`, the position that forecasts up to this bar ask for (the mean of the last `horizon` signs);
        `position`, held from this bar's close to the next one's: the signal of `execution_lag` bars before, as in the
        run's backtest, and 0 before the first.
    run_id, run_name : str
        Whose model it was.
    unit : str
        Of the forecasts.
    threshold : float
        The forecast that takes no side: 0.5 for probabilities, else 0.
    horizon, execution_lag : int
        Bars.
    left_out : int
        Bars at the start without enough history for features and model.
    unchecked : str
        What could not be checked, and why; empty if all was.
    """

    frame: pd.DataFrame
    run_id: str
    run_name: str
    unit: str
    threshold: float
    horizon: int
    execution_lag: int
    left_out: int
    unchecked: str = ""


def predict(
    run: RecordedRun,
    bars: pd.DataFrame | str | Path,
    symbol: str | None = None,
    *,
    keys: tuple[str, str] = ("bars", "symbol"),
) -> Prediction:
    """Forecast from new bars, and keep on the run's record that its model saw these dates.

    Parameters
    ----------
    run : RecordedRun
        A training run, a trial that has a model, or a study, which stands for its best trial.
    bars : pandas.DataFrame, or path of a file as `data.path` names it
        In time order, with the columns of the bars that the run was trained on (``data=table``: its features).
        Features that look far back, such as moving averages, want some hundred bars before the first that matters.
    symbol : str, optional
        The instrument, where the bars are of several; else the one that the run was trained on.
    keys : tuple of two str
        What messages call `bars` and `symbol`.

    Raises
    ------
    RunError
        The run has no model, or none that can be fed from bars.
    ConfigError, DataError
        The bars do not fit.
    """
    run = run.required_for(PREDICT)
    config = _config_of(run)
    load_plugins(config.plugins)
    _check_model(run, config)
    if not isinstance(bars, pd.DataFrame | str | Path):
        raise DataError(f"{keys[0]} is of type {type(bars).__name__}: expected is a data frame, or the path of a file.")
    cells = frame_cells(bars, keys[0]) if isinstance(bars, pd.DataFrame) else read_cells(str(bars), keys[0])
    frequency = run.data_card.get("frequency")
    data = replace(config.data, symbol=symbol or config.data.symbol)
    fitted = _learned(run, data.features)
    rows = incoming_rows(cells, data, frequency, keys[1], fitted)
    forecast = np.asarray(run.model.predict(rows.features), dtype=np.float64).ravel()
    first = config.data.sequence_length - 1  # earlier rows have no full window
    forecast, dates = forecast[first:], rows.features.index[first:]
    if not np.isfinite(forecast).all():
        worst = int(np.argmin(np.isfinite(forecast)))
        raise DataError(
            f"{cells.label}: the model's forecast for the bar {dates[worst]} is {forecast[worst]:g}: are its prices "
            "and volume in the unit of those that the model was trained on?"
        )
    neutral = neutral_forecast(config.training.loss, config.data.target)
    rules = Rules(config.data.horizon, config.evaluation.execution_lag, neutral=neutral)
    frame = pd.DataFrame(
        {
            "date": dates,
            "forecast": forecast,
            "signal": rules.positions(forecast, lag=0),
            "position": rules.positions(forecast),
        }
    )
    _note(run, rows, config.data, (stamp(dates[0]), stamp(dates[-1])))
    return Prediction(
        frame,
        run.run_id,
        run.name,
        target_unit(config.data.source, config.data.target, rules.horizon),
        rules.neutral,
        rules.horizon,
        rules.lag,
        rows.bars - len(frame),
        "; ".join(_unchecked(run, config, frequency)),
    )


def _note(run: RecordedRun, rows: Incoming, data: DataConfig, dates: Span) -> None:
    """Keep on record that the model forecast these bars; a store that cannot be written is a warning."""
    store, own = run._store, run.tags.get("data.instrument", "")
    try:
        known = recorded_returns(store, run._run if run.record.parent_id is None else store.run(run.record.parent_id))
        same = None if known is None or rows.returns is None else is_same_market(known, rows.returns)
        unnamed = rows.symbol in (data.name, data.symbol)  # as the run's own bars are called
        if same or (same is None and (unnamed or rows.symbol.upper() == own)):
            note_prediction(store, run.run_id, own, dates)
        else:
            name = "another market" if unnamed else plain_name(rows.symbol.upper())
            note_prediction(store, run.run_id, name, dates, rows.returns)
    except TradingBotError as error:
        log.warning("Whoever opens a test set later will not be told of these forecasts. %s", error)


def _unchecked(run: RecordedRun, config: Config, frequency: str | None) -> list[str]:
    """Say what may have come out otherwise than in the run."""
    said = []
    if not frequency:
        said.append("the run keeps no data card, so whether the bars come as often as its own is not checked")
    recorded, now = run.tags.get("plugins.sha256"), plugins_sha256(config.plugins)
    if recorded is not None and recorded != now:
        said.append(
            f"the source of its plugins ({', '.join(config.plugins)}) has changed since the run, so its features may "
            "be computed in another way now"
        )
    return said


def _learned(run: RecordedRun, names: Sequence[str]) -> dict[str, FittedFeature]:
    """Read what the run's features learned from its train bars."""
    learn = {name for name in names if isinstance(FEATURES.get(name), type)}
    found = learned_by_features(run.model)
    missing = learn - found.keys()
    if missing:
        raise RunError(
            f"The run {run.run_id} ({run.name}) keeps nothing of what {', '.join(sorted(missing))} learned from the "
            "train bars, so that it cannot be computed for new ones. Train again."
        )
    return found


def _config_of(run: RecordedRun) -> Config:
    config = run.config
    if not isinstance(config, Config):
        raise RunError(f"The configuration of the run {run.run_id} ({run.name}) is not one of this package.")
    return config


def _check_model(run: RecordedRun, config: Config) -> None:
    """Refuse a run whose model is not there, or takes other features than its configuration says."""
    schema: Any = run.model.metadata.get_input_schema()
    taken = [] if schema is None else schema.input_names()
    if taken != list(config.data.features):
        said = ", ".join(map(str, taken)) or "features without names"
        raise RunError(
            f"The model of the run {run.run_id} ({run.name}) takes {said}, and its configuration computes "
            f"{', '.join(config.data.features)}: it was trained on arrays. Feed it yourself: load_run(ID).model."
        )
