"""What scripts/bench_width.py compares: searches that share stacks, and their best values seed by seed."""

from __future__ import annotations

import math
import runpy
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import optuna
import pytest
from support import REPOSITORY

from tradingbot_exp.config.compose import compose_config
from tradingbot_exp.hpo.space.space import SearchSpace

BENCH = runpy.run_path(str(REPOSITORY / "scripts" / "bench_width.py"))
SPACE = SearchSpace.parse(BENCH["SPACES"]["default"])


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def losses(points: Sequence[Any]) -> list[float]:
    """Of each point, how far it is from a learning rate that depends on the seed."""
    return [abs(math.log10(values["model.learning_rate"]) + 3 - config.seed / 10) for config, values in points]


def test_searches_that_are_trained_together_find_what_each_finds_alone() -> None:
    config = compose_config(["hpo.num_trials=21"])
    plans = [("1", 0), ("8", 0), ("21", 0), ("4-8", 1), ("1", 1)]

    def searches() -> list[Any]:
        return [BENCH["search"](replace(config, seed=seed), SPACE, plan) for plan, seed in plans]

    together = BENCH["run"](searches(), losses)
    alone = [BENCH["run"]([one], losses)[0] for one in searches()]
    assert together == alone and [len(values) for values in together] == [21] * 5
    assert together[0][:5] == together[1][:5] == together[2][:5]  # random all of them
    assert together[0] != together[1] != together[2]
    sizes: list[int] = []
    BENCH["run"](searches()[3:4], lambda points: sizes.append(len(points)) or losses(points))
    assert sizes == [4, 8, 8, 1] == [*islice(BENCH["sizes"]("4-8"), 3), 1]


def test_a_trial_that_diverged_has_no_value() -> None:
    config = compose_config(["hpo.num_trials=8"])
    (values,) = BENCH["run"]([BENCH["search"](config, SPACE, "1")], lambda points: [math.nan])
    assert len(values) == 8 and np.isnan(values).all()


def test_plans_are_compared_seed_by_seed_with_the_first() -> None:
    base = np.asarray([1.0, 2.0, 4.0, 8.0, 16.0])
    change = np.asarray([1.0, 2.0, 3.0, 4.0, -1.0])
    found = {"1": [[9 * best, best] for best in base], "8": [[math.nan, best] for best in base * (1 + change / 100)]}
    first, second = BENCH["compare"](found)
    assert first["change"] == 0 and math.isnan(first["t"]) and first["median"] == 4.0
    assert second["change"] == pytest.approx(1.8) and second["worse"] == 4 and second["seeds"] == 5
    half = 2.7764451 * np.std(change, ddof=1) / math.sqrt(5)
    assert (second["low"], second["high"]) == pytest.approx((1.8 - half, 1.8 + half))
    assert first["excess"] == pytest.approx(100 * (16 / 15.84 - 1) / 5) and second["excess"] == pytest.approx(2.0)
    assert second["wilcoxon"] == pytest.approx(0.1875, abs=0.02)
