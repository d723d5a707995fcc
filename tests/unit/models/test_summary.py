"""The version hash and the table of layers."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from tradingbot_exp.models import model_summary, model_version
from tradingbot_exp.models.lstm import LSTM
from tradingbot_exp.models.mlp import MLP

BASE = {"input_dim": 10, "output_dim": 1, "hidden_layers": [64, 32], "activation": "relu", "dropout": 0.1}


def test_the_version_does_not_depend_on_weights_mode_or_precision() -> None:
    version = model_version(MLP(**BASE))  # type: ignore[arg-type]
    assert re.fullmatch("[0-9a-f]{12}", version)
    assert model_version(MLP(**BASE).eval().double()) == version  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"input_dim": 11},
        {"hidden_layers": [64, 31]},
        {"activation": "tanh"},
        {"dropout": 0.2},
        {"output_dim": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_change_of_the_architecture_is_another_version(change: dict[str, object]) -> None:
    assert model_version(MLP(**{**BASE, **change})) != model_version(MLP(**BASE))  # type: ignore[arg-type]


def test_a_change_of_the_source_alone_is_another_version(tmp_path: Path) -> None:
    def version(factor: int) -> str:
        path = tmp_path / f"net{factor}.py"
        path.write_text(
            "from torch import nn\nclass Net(nn.Linear):\n    def forward(self, x):\n"
            f"        return {factor} * super().forward(x)\n"
        )
        spec = importlib.util.spec_from_file_location("net", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(__import__("sys").modules, "net", module)
            spec.loader.exec_module(module)
            return model_version(module.Net(2, 1))

    assert version(2) != version(3)
    assert version(2) == version(2)
    assert model_version(nn.Sequential(nn.Linear(2, 1))) != model_version(nn.Sequential(nn.Linear(3, 1)))


def test_the_summary_tells_layers_shapes_and_totals() -> None:
    model = MLP(input_dim=20, hidden_layers=[64], dropout=0.1)
    model.layers[0].weight.requires_grad_(False)
    model.layers[2].eval()
    lines = model_summary(model, (2, 10)).splitlines()
    assert lines[0] == f"MLP, version {model_version(model)}"
    cells = [re.split(r"  +", line) for line in lines]
    assert ["input", "(n, 2, 10)", "-"] in cells
    assert ["layers.0 (Linear)", "(n, 64)", "1,344"] in cells
    assert ["layers.1 (ReLU)", "(n, 64)", "-"] in cells
    assert ["layers.3 (Linear)", "(n, 1)", "65"] in cells
    assert lines[-1] == "parameters: 1,409 (129 trained, 1,280 frozen)"
    # left as it was
    assert [module.training for module in model.layers] == [True, True, False, True]
    assert not any(module._forward_hooks for module in model.modules())


def test_the_summary_of_an_lstm_shows_its_sequence() -> None:
    cells = [re.split(r"  +", line) for line in model_summary(LSTM(10, hidden_layers=[16]), (5, 10)).splitlines()]
    assert ["layers.0 (LSTM)", "(n, 5, 16)", "1,792"] in cells
    assert ["head (Linear)", "(n, 1)", "17"] in cells


def test_the_summary_draws_no_random_numbers() -> None:
    model = MLP(10, dropout=0.5)
    before = torch.get_rng_state()
    model_summary(model, (10,))
    assert torch.equal(torch.get_rng_state(), before)
