"""The winner trained again with other seeds; see `tradingbot_exp.evaluation.significance.seed_robustness`."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from tradingbot_exp.errors import TradingBotError
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.evaluation.significance.seed_robustness import SeedRobustness
from tradingbot_exp.hpo.ensemble import is_kept, keep_seed, seeds_folder
from tradingbot_exp.hpo.silent import silent_seeds
from tradingbot_exp.hpo.trial_run import seeds_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tradingbot_exp.hpo.study import Study
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)


def train_other_seeds(
    study: Study, run: TrackedRun, winner: FrozenTrial, earlier: Mapping[str, Any] | None
) -> SeedRobustness | None:
    """Train the winner's configuration with `hpo.reseeds` seeds that the study has not used; None for 0.

    What an earlier start gave stays if it is of this winner and of as many seeds. Nothing is written into `run`.
    """
    hpo, folder = study.config.hpo, seeds_folder(study, winner)
    # An ensemble takes the networks, too, which another machine may not have.
    has_networks = hpo.ensemble == 1 or not hpo.reseeds or any(map(is_kept, folder.glob("*")))
    known = earlier is not None and earlier.get("trial") == winner.number and len(earlier["seeds"]) >= hpo.reseeds
    if earlier is not None and known and has_networks:
        return SeedRobustness.read(earlier)
    if not hpo.reseeds:
        return None
    config = study.trial_config(winner.params)
    seeds = seeds_of(config, hpo.reseeds, hpo.repeats)
    keep = partial(keep_seed, folder, run) if hpo.ensemble > 1 else None
    found: dict[int, float] = {}
    for seed, value in zip(seeds, silent_seeds(config, seeds, run, keep), strict=True):
        if isinstance(value, TradingBotError):
            log.warning("the winner with the seed %d: %s", seed, value)
        found[seed] = math.nan if isinstance(value, TradingBotError) else float(value)
    return SeedRobustness.of(objectives_of(hpo)[0], winner.number, float(winner.values[0]), found)
