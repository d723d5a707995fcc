"""The winner trained again with other seeds: how far its number depends on the one it was found with."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tradingbot_exp.errors import TradingBotError
from tradingbot_exp.evaluation.metrics.objectives import objectives_of
from tradingbot_exp.hpo.silent import silent_seeds

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tradingbot_exp.hpo.study import Study
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)


def reseed(
    study: Study, run: TrackedRun, winner: FrozenTrial, earlier: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Train the winner's configuration with `hpo.reseeds` seeds that the study has not used.

    Parameters
    ----------
    study : Study
    run : TrackedRun
        Open; nothing is written into it.
    winner : FrozenTrial
    earlier : mapping or None
        What an earlier start gave: it stays if it is of this winner and as many seeds.

    Returns
    -------
    dict or None
        `metric`; `trial` and its value `chosen`; `seeds` with their `values`, and `failed`, the seeds without one;
        `mean`, `std` (ddof 1, None for a single value), `min`, `max`; and `ahead`, how many of the values the chosen
        one is better than. None for `hpo.reseeds=0`.
    """
    hpo = study.config.hpo
    if earlier is not None and earlier.get("trial") == winner.number and len(earlier["seeds"]) >= hpo.reseeds:
        return dict(earlier)
    if not hpo.reseeds:
        return None
    objective, chosen = objectives_of(hpo)[0], float(winner.values[0])
    config = study.trial_config(winner.params)
    seeds = [(config.seed + hpo.repeats + shift) % 2**32 for shift in range(hpo.reseeds)]
    values: list[float] = []
    failed: list[int] = []
    for seed, found in zip(seeds, silent_seeds(config, seeds, run), strict=True):
        if isinstance(found, TradingBotError):
            log.warning("the winner with the seed %d: %s", seed, found)
            failed.append(seed)
        elif math.isfinite(found):
            values.append(float(found))
        else:
            failed.append(seed)
    return {
        "metric": objective.metric,
        "trial": winner.number,
        "chosen": chosen,
        "seeds": seeds,
        "values": values,
        "failed": failed,
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "min": min(values, default=None),
        "max": max(values, default=None),
        "ahead": sum(objective.sign * chosen < objective.sign * value for value in values),
    }
