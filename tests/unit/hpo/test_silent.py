"""Training without records: several seeds at once, of which one may fail."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_results import config
from torch import nn

from tradingbot_exp.config import choices
from tradingbot_exp.config.schema import Config
from tradingbot_exp.errors import TrainingError
from tradingbot_exp.hpo.silent import silent_seeds, silent_values
from tradingbot_exp.models import register, registry

__all__ = ["config"]  # a fixture


def test_a_seed_that_cannot_be_judged_costs_the_others_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.model_class("mlp")  # a model that were loaded only now would be forgotten
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.setattr(choices, "_registered", set(choices._registered))

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
    run: Any = SimpleNamespace(delivery=SimpleNamespace(training_started=lambda: None))
    first, second, third = silent_seeds(config, [7, 8, 9], run)
    assert isinstance(second, TrainingError) and "not enough memory" in str(second)
    for seed, found in ((7, first), (9, third)):
        config.seed = seed
        assert [found] == silent_values(config, run)
