"""Training without records: several seeds at once, of which one may fail, and folds, of which one may be the last."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_results import config
from torch import nn

from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import TrainingError
from tradingbot_exp.hpo.silent import silent_seeds, silent_values
from tradingbot_exp.hpo.trial_spec import Pruned
from tradingbot_exp.models import register

__all__ = ["config"]  # a fixture

# A run that nothing is written into.
NOWHERE: Any = SimpleNamespace(delivery=SimpleNamespace(training_started=lambda: None))


def test_a_seed_that_cannot_be_judged_costs_the_others_nothing(config: Config) -> None:
    @register("narrow")
    class Narrow(nn.Linear):
        """Trains; built with the seed 8, it cannot forecast all train rows at once."""

        def __init__(self, input_dim: int, output_dim: int, **_: object) -> None:
            super().__init__(input_dim, output_dim)
            self._fails = torch.initial_seed() == 8

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self._fails and len(x) > 1000:
                raise RuntimeError("not enough memory")
            return super().forward(x)

    config.model.name = "narrow"
    first, second, third = silent_seeds(config, [7, 8, 9], NOWHERE)
    assert isinstance(second, TrainingError) and "not enough memory" in str(second)
    for seed, found in ((7, first), (9, third)):
        config.seed = seed
        assert [found] == pytest.approx(silent_values(config, NOWHERE), rel=1e-6)


def test_once_it_is_pruned_no_further_fold_is_trained(config: Config) -> None:
    config.evaluation.scheme, config.evaluation.folds = "walk_forward", 3
    asked: list[float] = []

    def ask(step: int, value: float) -> bool:
        asked.append(value)
        return step == 2

    assert silent_values(config, NOWHERE, ask) == Pruned(2, asked[1]) and len(asked) == 2
