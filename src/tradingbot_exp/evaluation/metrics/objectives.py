"""What a search is for: its metrics with their directions, and one value of each over several folds."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tradingbot_exp.config.metrics import better_direction

if TYPE_CHECKING:
    from tradingbot_exp.config.hpo import HpoConfig


class Objective(NamedTuple):
    """One metric that a study searches for, and ``minimize`` or ``maximize``."""

    metric: str
    direction: str

    @property
    def sign(self) -> float:
        """What a value is multiplied by so that lower is better."""
        return -1.0 if self.direction == "maximize" else 1.0


def objectives_of(hpo: HpoConfig) -> tuple[Objective, ...]:
    """Pair the metrics with their directions; a list of one is the same as the one."""
    metrics, directions = (given if isinstance(given, list) else [given] for given in (hpo.metric, hpo.direction))
    return tuple(Objective(str(metric), str(way)) for metric, way in zip(metrics, directions, strict=True))


def doubtful_directions(hpo: HpoConfig) -> list[str]:
    """Say of each metric that is searched for its worst value what would be right; a user may mean it, seldom does."""
    said = []
    for metric, direction in objectives_of(hpo):
        better = better_direction(metric)
        if better not in (None, direction):
            ends = ("higher", "lowest") if better == "maximize" else ("lower", "highest")
            said.append(
                f"hpo.metric={metric} is better the {ends[0]} it is, and hpo.direction={direction} searches for the "
                f"{ends[1]}. Set hpo.direction={better}, unless that is meant."
            )
    return said


def over_folds(hpo: HpoConfig, folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Make one value of each objective of its values in the folds, as `hpo.aggregate` says.

    Parameters
    ----------
    hpo : HpoConfig
        ``mean``; ``worst``, the highest of a metric that is minimized, else the lowest; or ``mean_less_std``, the mean
        made worse by `hpo.std_multiple` standard deviations over folds (ddof 1).
    folds : sequence of mapping of str to float
        The metrics of each fold; of one fold the values stay as they are.

    Returns
    -------
    dict of str to float
        By the objective's name; NaN for one that is not defined in every fold.
    """
    made = {}
    for metric, direction in objectives_of(hpo):
        values = [float(fold.get(metric, math.nan)) for fold in folds]
        if len(values) == 1 or not all(math.isfinite(value) for value in values):
            made[metric] = values[0] if len(values) == 1 else math.nan
        elif hpo.aggregate == "worst":
            made[metric] = max(values) if direction == "minimize" else min(values)
        else:
            made[metric] = statistics.fmean(values)
            if hpo.aggregate == "mean_less_std":
                worse = hpo.std_multiple * statistics.stdev(values)
                made[metric] += worse if direction == "minimize" else -worse
    return made


def dominates(hpo: HpoConfig, values: Sequence[float], others: Sequence[float]) -> bool:
    """Say whether `values` are nowhere worse than `others`, and somewhere better."""
    signs = [objective.sign for objective in objectives_of(hpo)]
    pairs = [(sign * a, sign * b) for sign, a, b in zip(signs, values, others, strict=True)]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def why_not_finite(hpo: HpoConfig, values: Sequence[float], undefined: dict[str, str]) -> str:
    """Name each objective without a finite value, and why it has none where that is known."""
    missing = [o.metric for o, value in zip(objectives_of(hpo), values, strict=True) if not math.isfinite(value)]
    said = []
    for metric in missing:
        # Over all folds it may be defined, and in one of them not.
        names = (name for name in undefined if name == metric or re.fullmatch(rf"fold_\d+_{metric}", name))
        name = next(names, metric)
        said.append(f"{name} is {undefined.get(name, 'not a finite number')}")
    return "; ".join(said)
