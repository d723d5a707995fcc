"""What a study is told of the ledger: before it starts what its data can bear, at its end how much was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradingbot_exp.config.choices import BLIND_SAMPLERS
from tradingbot_exp.config.metrics import family_of
from tradingbot_exp.data.folds import fold_views
from tradingbot_exp.data.identity import identity_tags, market_returns
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.evaluation.significance.across import by_own_means, together
from tradingbot_exp.evaluation.significance.selection_bias import directions_of, outlook
from tradingbot_exp.experiment.data import load_data
from tradingbot_exp.tracking.reading.ledger import Ledger, read_ledger
from tradingbot_exp.tracking.reading.markets import MarketDates

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.tracking.store.store import Store


def ledger_of(config: Config, store: Store, run_id: str) -> Ledger:
    """Read what was tried on the validation dates, before and in the study of run `run_id`."""
    data = load_data(config)
    views = fold_views(data, config.evaluation)
    tags = identity_tags(config.data, views[-1])
    dates = tags["data.val_start"], tags["data.val_end"]
    asked = MarketDates(tags["data.instrument"], dates, data.fingerprint, market_returns(data))
    judges_returns = family_of(objectives_of(config.hpo)[0].metric, config.training.loss) == "return"
    return read_ledger(store, asked, run_id, with_backtests=judges_returns)


def bearing_line(config: Config, data: PreparedData, before: int, searched: int = 0) -> str:
    """Say what the best of pure noise would show on the validation bars, and what would be needed: see `outlook`.

    Parameters
    ----------
    config : Config
    data : PreparedData
    before : int
        Other configurations tried on these bars.
    searched : int
        Hyper-parameters.
    """
    bars = sum(len(view.days(view.val)) for view in fold_views(data, config.evaluation))
    family = family_of(objectives_of(config.hpo)[0].metric, config.training.loss)
    returns = family == "return" and data.next_return is not None
    year = Rules.of(config, data).periods if returns else None
    directions = 0 if config.hpo.sampler in BLIND_SAMPLERS else directions_of(searched, family)
    return outlook(
        bars,
        config.hpo.num_trials,
        before,
        horizon=1 if returns else data.horizon,
        year=year,
        directions=directions,
        symbols=max(len(data.symbols), 1),
        together=together(data, own=by_own_means(config)),
    )
