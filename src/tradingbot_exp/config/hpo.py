"""The typed schema of a study: the keys of `hpo`, with the facts about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tradingbot_exp.config import choices
from tradingbot_exp.config.facts import key, number
from tradingbot_exp.config.metrics import OBJECTIVES
from tradingbot_exp.config.registries import USER_METRICS, USER_SAMPLERS
from tradingbot_exp.config.values import AT_LEAST_0, AT_LEAST_1, STUDY_NAME_LETTERS, are_points, is_study_name


@dataclass
class HpoConfig:
    """A hyperparameter study."""

    num_trials: int = key(10, wanted="1 or more", holds=AT_LEAST_1)
    metric: Any = key(
        "val_loss", decides="study", one_of=lambda: (*OBJECTIVES, *(f"val_{name}" for name in USER_METRICS))
    )
    direction: Any = key("minimize", decides="study", one_of=choices.DIRECTIONS)
    aggregate: str = key("mean", decides="study", one_of=choices.AGGREGATES)
    std_multiple: float = key(1.0, decides="study", wanted="0 or more", holds=AT_LEAST_0)
    sampler: str = key("tpe", decides="study", one_of=lambda: (*choices.SAMPLERS, *USER_SAMPLERS))
    pruner: str = key("none", decides="study", one_of=choices.PRUNERS)
    n_jobs: int = key(1, wanted="1 or more", holds=AT_LEAST_1)
    workers: int = key(1, wanted="1 or more processes", holds=AT_LEAST_1)
    max_restarts: int = key(3, wanted="0 or more", holds=AT_LEAST_0)
    study_name: str | None = key(
        None,
        wanted=f"one line of at most {STUDY_NAME_LETTERS} letters, or null for a name made of model and data",
        holds=is_study_name,
    )
    storage: str | None = key(None, secret=True)
    repeats: int = key(1, decides="study", wanted="1 or more", holds=AT_LEAST_1)
    ensemble: int = key(1, decides="study", wanted="1 or more trials", holds=AT_LEAST_1)
    keep: str = key("best", decides="study", one_of=choices.KEEP)
    resume: bool = True
    start: list[Any] = key(
        [], decides="study", nested=True, wanted="a list of points, as [{learning_rate: 0.001}]", holds=are_points
    )
    prior: str | None = key(None, decides="study")
    timeout: float | None = key(
        None, wanted="above 0 seconds, or null for no limit", holds=number(lambda v: v > 0, null=True)
    )
    patience: int | None = key(
        None, wanted="1 or more trials, or null for no limit", holds=number(lambda v: v >= 1, whole=True, null=True)
    )
    max_failure_rate: float = key(0.5, decides="study", wanted="from 0 to 1", holds=number(lambda v: 0 <= v <= 1))
    reseeds: int = key(5, wanted="0 or more", holds=AT_LEAST_0)
    null_replays: int = key(0, wanted="0 or more", holds=AT_LEAST_0)
    param_space: dict[str, Any] = key({}, decides="study")
