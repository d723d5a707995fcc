"""From a recorded run and new bars to forecasts and positions, with features and scaling as in that run."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradingbot_exp.config.metrics import MEMBERS_SD
from tradingbot_exp.config.modules import plugins_sha256
from tradingbot_exp.config.positions import POSITIONS
from tradingbot_exp.config.schema import Config, DataConfig
from tradingbot_exp.data.fitted import is_fitted
from tradingbot_exp.data.identity import is_same_by_column, plain_name, stamp
from tradingbot_exp.data.panel import Layout, beside_features, layout_of
from tradingbot_exp.errors import DataError, RunError, TradingBotError
from tradingbot_exp.evaluation.metrics.target import neutral_forecast, target_unit
from tradingbot_exp.evaluation.positions import Sizing, realised_volatility
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.recorded.incoming import Asked, Incoming, incoming_panel, incoming_rows
from tradingbot_exp.tracking.forecaster import BESIDE
from tradingbot_exp.tracking.reading.markets import recorded_returns
from tradingbot_exp.tracking.reading.model import inputs_of
from tradingbot_exp.tracking.saved_model import is_of_panel, learned_by_features, sd_of_members
from tradingbot_exp.tracking.store.kinds import PREDICT
from tradingbot_exp.tracking.writing.predictions import note_prediction

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tradingbot_exp.data.identity import Returns
    from tradingbot_exp.evaluation._arrays import Floats
    from tradingbot_exp.tracking.reading.recorded_run import RecordedRun

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a run's model says about new bars.

    Attributes
    ----------
    frame : pandas.DataFrame
        A row a bar that has enough history, the last one included: `date`; of a run on several symbols `symbol`, in
        whose order the rows of a date are; `forecast`, made at the bar's close, in `unit`; of an
        ensemble `members_sd`, the standard deviation of its networks' forecasts; `signal`, the position that
        forecasts up to this bar ask for (the mean of the last `horizon` positions of the run's rule); `position`, held
        from this bar's close to the next one's: the signal of `execution_lag` bars before, as in the run's backtest,
        and 0 before the first; and of several symbols `weight`, the share of all wealth that the position is, among
        those that have a row on its date.
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
        A training run, a trial that has a model, or a study, for its ensemble or its best trial; or a refit.
    bars : pandas.DataFrame, or path of a file, a folder or a glob, as `data.path` names it
        In time order, with the columns of the bars that the run was trained on (``data=table``: its features), those
        that ``data.columns`` named under the same names.
        Features that look far back, such as moving averages, want some hundred bars before the first that matters.
    symbol : str, optional
        The instrument, where the bars are of several; else the one that the run was trained on. Of a run on several,
        whose rows are wanted: all symbols are forecast, as they are weighed against each other.
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
    run.load_plugins(config.plugins)
    _check_model(run, config)
    if not isinstance(bars, pd.DataFrame | str | Path):
        raise DataError(f"{keys[0]} is of type {type(bars).__name__}: expected is a data frame, or the path of a file.")
    reads_past = "vol_window" in POSITIONS[config.evaluation.position].reads
    given = bars if isinstance(bars, pd.DataFrame) else str(Path(bars).expanduser())
    with_past = reads_past and config.data.returns is not None
    frequency = run.data_card.get("frequency")
    asked = Asked(given, symbol, keys, frequency, _learned(run, config.data.features), with_past)
    panel = is_of_panel(run.model)
    parts = incoming_panel(asked, config, _trained_on(run)) if panel else [incoming_rows(asked, config.data)]
    features, layout, order = _together(parts, panel)
    forecast = np.asarray(run.model.predict(features[inputs_of(run.model)]), dtype=np.float64).ravel()
    first = config.data.sequence_length - 1  # a symbol's earlier rows have no full window
    kept = np.flatnonzero(layout.earlier >= first)
    forecast, dates, layout = forecast[kept], features.index[kept], layout.take(kept)
    columns: dict[str, Any] = {"date": dates}
    if panel:
        columns["symbol"] = layout.symbols
    if not np.isfinite(forecast).all():
        worst = int(np.argmin(np.isfinite(forecast)))
        of = f" of {columns['symbol'][worst]}" if panel else ""
        raise DataError(
            f"{asked.label}: the model's forecast for the bar {dates[worst]}{of} is {forecast[worst]:g}: are its "
            "prices and volume in the unit of those that the model was trained on?"
        )
    rules = _rules_of(run, config)
    volatility = _volatility(parts, rules)[order][kept] if reads_past and parts[0].past is not None else None
    spread = run.record.train_spread[-1:] or math.nan  # of several folds the model is the last one's
    held = held_columns(rules, forecast, layout, spread=spread, volatility=volatility)
    apart = sd_of_members(run.model, features[inputs_of(run.model)])
    own = {} if apart is None else {MEMBERS_SD: apart[kept]}
    frame = pd.DataFrame({**columns, "forecast": forecast, **own, **held})
    _note(run, parts, frame, config.data)
    if panel and symbol is not None:
        frame = frame[frame["symbol"] == symbol].reset_index(drop=True)
    shown = sum(len(part.dates) for part in parts if not panel or symbol in (None, part.symbol))
    return Prediction(
        frame,
        run.run_id,
        run.name,
        target_unit(config.data.source, config.data.target, rules.horizon),
        rules.neutral,
        rules.horizon,
        rules.lag,
        shown - len(frame),
        "; ".join(_unchecked(run, config, frequency)),
    )


def _together(parts: Sequence[Incoming], panel: bool) -> tuple[pd.DataFrame, Layout, NDArray[np.intp]]:
    """Bring the rows into the order of a prediction: features as the model takes them, layout, and places before."""
    features = pd.concat([part.features for part in parts])
    if not panel:
        return features, Layout.of_one(len(features)), np.arange(len(features))
    dates = pd.DatetimeIndex(features.index)
    symbols = pd.Series(np.repeat([part.symbol for part in parts], [len(part.features) for part in parts]))
    layout, order = layout_of(dates.to_series(), symbols)
    return features.assign(**beside_features(dates, symbols.to_numpy())).iloc[order], layout, order


def _volatility(parts: Sequence[Incoming], rules: Rules) -> Floats:
    """Return the realised volatility that is known at the rows of each symbol, one symbol after another."""
    found = []
    for part in parts:
        known = np.empty(0) if part.past is None else part.past
        layout = Layout.of_one(len(known) + 1)
        series = realised_volatility(np.append(known, 0.0), rules.sizing.vol_window, rules.annual, layout)
        found.append(series[len(series) - len(part.features) :])
    return np.concatenate(found)


def held_columns(
    rules: Rules,
    forecast: Floats,
    layout: Layout,
    spread: ArrayLike = math.nan,
    volatility: Floats | None = None,
) -> dict[str, Floats]:
    """Return the columns `signal` and `position` of a `Prediction`, and of a panel `weight`.

    Parameters
    ----------
    rules : Rules
    forecast : ndarray, shape (n,)
    layout, spread, volatility
        See `Rules.wanted`.
    """
    wanted = rules.wanted(forecast, layout, spread, volatility)
    found = {"signal": rules.held(wanted, layout, 0), "position": rules.held(wanted, layout)}
    return {**found, "weight": rules.held(rules.weights(wanted, layout), layout)} if layout.is_panel else found


def _rules_of(run: RecordedRun, config: Config) -> Rules:
    """Return how the run's forecasts become positions; bars a year as the run counted them."""
    asked, neutral = config.evaluation, neutral_forecast(config.training.loss, config.data.target)
    periods = run.tags.get("periods_per_year")
    year = None if periods is None else float(periods)
    return Rules(config.data.horizon, asked.execution_lag, neutral=neutral, periods=year, sizing=Sizing.of(config))


def _note(run: RecordedRun, parts: Sequence[Incoming], frame: pd.DataFrame, data: DataConfig) -> None:
    """Keep on record that the model forecast these bars; a store that cannot be written is a warning."""
    store, own = run._store, run.tags.get("data.instrument", "")
    unnamed = (data.name, data.symbol)  # as the run's own bars are called
    try:
        known = recorded_returns(store, run._run if run.record.parent_id is None else store.run(run.record.parent_id))
        returns = _returns(parts)
        same = [None] * len(parts) if known is None or returns is None else is_same_by_column(known, returns)
        named = {own, *(symbol.upper() for symbol in _trained_on(run))}
        theirs = [
            part.symbol
            for part, is_same in zip(parts, same, strict=True)
            if not (is_same or (is_same is None and (part.symbol.upper() in named or part.symbol in unnamed)))
        ]
        for symbols in ([part.symbol for part in parts if part.symbol not in theirs], theirs):
            rows = frame if "symbol" not in frame else frame[frame["symbol"].isin(symbols)]
            if not symbols or rows.empty:
                continue
            dates = stamp(rows["date"].iloc[0]), stamp(rows["date"].iloc[-1])
            if symbols is not theirs:
                note_prediction(store, run.run_id, own, dates)
                continue
            name = "another market" if symbols[0] in unnamed else plain_name("+".join(symbols).upper())
            other = _returns([part for part in parts if part.symbol in symbols])
            note_prediction(store, run.run_id, name, dates, other)
    except TradingBotError as error:
        log.warning("Whoever opens a test set later will not be told of these forecasts. %s", error)


def _returns(parts: Sequence[Incoming]) -> Returns | None:
    """Return what the market of the bars is known by: of several instruments a column each; None of tables."""
    columns = [part.returns.rename(f"return {part.symbol}") for part in parts if part.returns is not None]
    return columns[0] if len(columns) == 1 else pd.concat(columns, axis=1, sort=True) if columns else None


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


def _learned(run: RecordedRun, names: Sequence[str]) -> dict[str, Any]:
    """Read what the run's features learned from its train bars, by name; of a panel by symbol and name."""
    learn = {name for name in names if is_fitted(name)}
    found: dict[str, Any] = learned_by_features(run.model)
    each = list(found.values()) if is_of_panel(run.model) else [found]
    missing = learn.difference(*([] if not each else [set.intersection(*map(set, each))]))
    if missing:
        raise RunError(
            f"The run {run.run_id} ({run.name}) keeps nothing of what {', '.join(sorted(missing))} learned from the "
            "train bars, so that it cannot be computed for new ones. Train again."
        )
    return found


def _trained_on(run: RecordedRun) -> list[str]:
    """Return the symbols of a run on several, if they are on record."""
    return list(run.data_card.get("symbols", ()))


def _config_of(run: RecordedRun) -> Config:
    config = run.config
    if not isinstance(config, Config):
        raise RunError(f"The configuration of the run {run.run_id} ({run.name}) is not one of this package.")
    return config


def _check_model(run: RecordedRun, config: Config) -> None:
    """Refuse a run whose model is not there, or takes other features than its configuration says."""
    taken = inputs_of(run.model)
    if [name for name in taken if name not in BESIDE] != list(config.data.features):
        said = ", ".join(map(str, taken)) or "features without names"
        raise RunError(
            f"The model of the run {run.run_id} ({run.name}) takes {said}, and its configuration computes "
            f"{', '.join(config.data.features)}: it was trained on arrays. Feed it yourself: load_run(ID).model."
        )
