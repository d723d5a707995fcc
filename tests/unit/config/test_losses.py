"""What the table of losses says of a run: what its losses count in, and what they judge."""

from __future__ import annotations

import pytest

from tradingbot_exp.config.losses import loss_title
from tradingbot_exp.config.metrics import LOSS_METRICS, family_of


@pytest.mark.parametrize(
    ("params", "title"),
    [
        ({}, "loss"),
        ({"training.loss": "mse", "training.quantile": "0.5", "training.pos_weight": "null"}, "mse"),
        ({"training.loss": "bce"}, "bce"),
        ({"training.loss": "bce", "training.pos_weight": None}, "bce"),
        ({"training.loss": "bce", "training.pos_weight": "balanced"}, "bce, pos_weight balanced"),
        ({"training.loss": "pinball", "training.quantile": 0.9}, "pinball, quantile 0.9"),
        ({"training.loss": "sharpe"}, "sharpe, minus a Sharpe ratio"),
        ({"training.loss": "somebodys_own"}, "somebodys_own"),
    ],
)
def test_a_loss_is_called_by_its_name_and_its_own_number(params: dict[str, object], title: str) -> None:
    assert loss_title(params) == title


def test_a_loss_of_returns_judges_returns_and_every_other_forecasts() -> None:
    assert {family_of(metric, "sharpe") for metric in LOSS_METRICS} == {"return"}
    assert {family_of(metric, loss) for metric in LOSS_METRICS for loss in ("mse", "pinball", "own", "")} == {
        "forecast"
    }
    assert (family_of("val_ic", "sharpe"), family_of("val_sharpe", "mse")) == ("forecast", "return")
