"""What is judged on the test set: a run's model, configuration, data and forecasts, unless they have changed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from tradingbot_exp.config.paths import place_of
from tradingbot_exp.data.card import GIVEN_ARRAYS
from tradingbot_exp.data.folder import is_there
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.errors import TRUST, ConfigError, DataError, RunError
from tradingbot_exp.evaluation.leakage.gate import check_leaks
from tradingbot_exp.tracking.reading.model import inputs_of
from tradingbot_exp.tracking.store.moved import present_path

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data import Block, PreparedData
    from tradingbot_exp.tracking.reading.recorded_run import RecordedRun

log = logging.getLogger(__name__)

# Share of the spread of a model's validation forecasts by which they may differ from those that the run recorded:
# above what another machine's rounding does, below what a changed feature does.
_FORECAST_TOLERANCE = 1e-2


def configuration_of(loaded: RecordedRun) -> Config:
    """Return the configuration that the run recorded, as a job of today would be given it."""
    from omegaconf import OmegaConf

    from tradingbot_exp.config.finalize import finalize

    if not any(name in loaded.params for name in ("data.source", "training.loss")):
        raise RunError(
            f"The run {loaded.run_id} ({loaded.name}) has no configuration of tradingbot_exp.train, so that its test "
            "set is not known. Give a run that it trained."
        )
    tree = loaded._config_tree()
    OmegaConf.set_struct(tree, False)
    tree.tracking = {"uri": loaded._store.uri, "on_error": "raise"}
    tree.hpo.storage = None
    try:
        config = finalize(tree, load=loaded.load_plugins)
    except ConfigError as error:
        raise RunError(
            f"The configuration of the run {loaded.run_id} ({loaded.name}) is none for this version of tradingbot_exp. "
            f"{error}"
        ) from error
    if config.data.path is not None:
        config.data.path = present_path(config.data.path, loaded.params, loaded._store.uri)
    return config


def data_of(loaded: RecordedRun, config: Config) -> PreparedData:
    """Prepare the data anew, and see that they are the same that the run saw."""
    from tradingbot_exp.experiment.data import load_data

    recorded = loaded.tags.get("data.fingerprint")
    if recorded is None and loaded.record.parent_id is not None:  # a trial whose result was taken from another
        recorded = loaded._store.run(loaded.record.parent_id).data.tags.get("data.fingerprint")
    run = f"the run {loaded.run_id} ({loaded.name})"
    if config.data.name == config.data.path == "arrays":
        raise DataError(f"{run} was trained on {GIVEN_ARRAYS}, which hold no test set. Judge its model yourself.")
    path = None if config.data.path is None else place_of(config.data.path)
    if path is not None and not is_there(path):
        if "${" in path and not loaded.trust:
            raise RunError(f"{run} names its data {config.data.path}, which would read from this machine. {TRUST}")
        raise DataError(
            f"The data of {run} are gone: there is no file {path}. Put it back (fingerprint {recorded}), or start the "
            "command in the folder that the run was started in."
        )
    data = load_data(config)
    if data.fingerprint != recorded:
        raise DataError(
            f"The data of {run} have changed: it saw the fingerprint {recorded}, and {path or data.name} has "
            f"{data.fingerprint} now. Restore the data that it saw, or train again on these."
        )
    check_leaks(data)
    return data


def forecasts_of(loaded: RecordedRun, config: Config, data: PreparedData) -> NDArray[np.float64]:
    """Forecast the test rows, after the model has shown that it still forecasts what the run recorded."""
    model = loaded.model
    last = fold_views(data, config.evaluation)[-1]  # whose model it is, with features that learned from its train bars

    def forecast(block: Block) -> NDArray[np.float64]:
        oldest = int(last.layout.windows(block.numbers, data.sequence_length).min())
        start = int(last.layout.starts[last.layout.days[oldest]])  # of whole dates, as they may be scaled by each other
        rows = last.unscaled(slice(start, block.stop))[inputs_of(model)]
        return np.asarray(model.predict(rows), dtype=np.float64).reshape(-1)[block.numbers - start]

    _see_unchanged(loaded, last, forecast(last.val))
    return forecast(data.test)


def is_of_rows(recorded: pd.DataFrame, data: PreparedData, block: Block) -> bool:
    """Tell whether recorded forecasts are those of the rows of a block, date by date, of a panel symbol by symbol."""
    same = list(recorded["date"]) == list(data.dates(block))
    if not data.symbols or not same:
        return same
    return list(recorded["symbol"]) == list(data.layout.take(block.rows).symbols)


def _see_unchanged(loaded: RecordedRun, data: PreparedData, forecast: NDArray[np.float64]) -> None:
    """Refuse a model whose validation forecasts are no longer those that the run recorded: code has changed."""
    try:
        recorded = loaded.predictions
    except RunError:
        return
    if "fold" in recorded:
        recorded = recorded[recorded["fold"] == recorded["fold"].max()]
    if not is_of_rows(recorded, data, data.val):
        log.warning(
            "The run %s (%s) recorded forecasts of other rows than its validation has now, so whether its model still "
            "forecasts what it did is not checked.",
            loaded.run_id,
            loaded.name,
        )
        return
    before = recorded["forecast"].to_numpy(dtype=np.float64)
    far = float(np.max(np.abs(forecast - before)))
    if far > _FORECAST_TOLERANCE * float(before.std()) + 1e-9:
        raise RunError(
            f"The model of the run {loaded.run_id} ({loaded.name}) forecasts its validation rows otherwise than it "
            f"did, by up to {far:.3g}: features or model are computed in another way now. Check out the code of the "
            f"run (commit {loaded.tags.get('mlflow.source.git.commit', 'not recorded')}), or train again."
        )
