"""Models by name: discovery without torch, derived input sizes, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import tradingbot_exp.models
from tradingbot_exp.config import choices
from tradingbot_exp.config.schema import ModelConfig
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.models import ACTIVATIONS, build_model, model_names, register


def make(name: str = "mlp", **changes: object) -> ModelConfig:
    defaults = {"hidden_layers": {"linear": [], "transformer": [8, 8]}.get(name, [8, 4])}
    return ModelConfig(name=name, **{**defaults, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", choices.MODEL_KINDS)
@pytest.mark.parametrize("output_dim", [1, 3])
@pytest.mark.parametrize("length", [1, 5])
def test_every_model_maps_windows_to_n_outputs(name: str, output_dim: int, length: int) -> None:
    model = build_model(make(name, output_dim=output_dim), n_features=6, sequence_length=length)
    x = torch.randn(7, length, 6)
    assert model(x).shape == (7, output_dim)
    if length == 1:  # a single bar may come without its axis
        assert torch.equal(model(x), model(x[:, 0]))


def test_every_value_of_every_bar_is_read() -> None:
    for name in choices.MODEL_KINDS:
        model = build_model(make(name, activation="tanh"), n_features=2, sequence_length=4)
        x = torch.randn(1, 4, 2, requires_grad=True)
        model(x).sum().backward()
        assert x.grad is not None
        assert (x.grad != 0).all(), name


@pytest.mark.parametrize(
    ("name", "right"), [("mlp", 30), ("linear", 30), *((name, 6) for name in choices.SEQUENCE_MODELS)]
)
def test_a_wrong_input_dim_is_refused_with_the_right_one(name: str, right: int) -> None:
    build_model(make(name, input_dim=right), n_features=6, sequence_length=5)
    with pytest.raises(ConfigError, match=rf"^model\.input_dim: 7 given, but {name} takes {right} here"):
        build_model(make(name, input_dim=7), n_features=6, sequence_length=5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_activation_is_in_the_network(activation: str) -> None:
    for dropout, parts in ((0.0, []), (0.25, ["Dropout"])):
        model = build_model(make(activation=activation, dropout=dropout), 3)
        kinds = [type(layer).__name__ for layer in model.layers]  # type: ignore[union-attr]
        assert kinds == ["Linear", choices.ACTIVATION_CLASSES[activation], *parts] * 2 + ["Linear"]
        assert {part.p for part in model.modules() if isinstance(part, nn.Dropout)} <= {0.25}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            make("mpl"),
            "model.name must be one of gru, linear, lstm, mlp, tcn, transformer; got 'mpl'. Did you mean 'mlp'?",
        ),
        (make("names"), "model.name must be .*; got 'names'"),
        (make(activation="rleu"), "model.activation must be .*; got 'rleu'.*Did you mean 'relu'"),
        (make(hidden_layers=[8, 0]), r"model.hidden_layers must be a list of .* 1 or more units each; got \[8, 0\]"),
        (make(output_dim=0), "model.output_dim must be 1 or more; got 0"),
        (make(dropout=1.0), "model.dropout must be from 0 to below 1; got 1.0"),
        (make("lstm", hidden_layers=[]), "a recurrent model needs a layer"),
        (make("tcn", hidden_layers=[]), "a tcn needs a block"),
        (make("transformer", hidden_layers=[8, 4]), r"the same and a multiple of 4, e.g. \[32, 32\]; got \[8, 4\]"),
        (make("transformer", hidden_layers=[6]), r"a multiple of 4, .*; got \[6\]"),
        (make("linear", hidden_layers=[8]), r"model.hidden_layers: \[8\] given, but a linear model has none"),
        (make("linear", dropout=0.1), "model.dropout: 0.1 given, but a linear model"),
    ],
)
def test_a_config_that_names_no_network_is_refused(config: ModelConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        build_model(config, 3)


def test_the_seed_decides_the_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build_model(make(), 3).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_a_model_from_elsewhere_can_be_registered() -> None:
    @register("mine")
    class Mine(nn.Linear):
        def __init__(self, input_dim: int, output_dim: int, **_: object) -> None:
            super().__init__(input_dim, output_dim)

    assert "mine" in model_names()
    assert type(build_model(make("mine"), 3)) is Mine
    with pytest.raises(ConfigError, match=r"model\.name: 'mine' is .*Mine already"):
        register("mine")(nn.Linear)


def test_adding_a_model_is_adding_a_file(tmp_path: Path) -> None:
    package = tmp_path / "tradingbot_exp"
    subprocess.run(["cp", "-r", str(Path(tradingbot_exp.models.__file__).parents[1]), package], check=True)
    source = (package / "models" / "linear.py").read_text()
    (package / "models" / "ridge.py").write_text(source.replace('register("linear")', 'register("ridge")'))
    (package / "models" / "empty.py").write_text("")
    code = f"""if True:
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        from types import SimpleNamespace as Config
        from tradingbot_exp.models import build_model, model_names
        print(model_names())
        rest = dict(input_dim=None, hidden_layers=[], output_dim=1, activation="relu", dropout=0)
        print(build_model(Config(name="ridge", **rest), 3))
        try:
            build_model(Config(name="empty", **rest), 3)
        except Exception as error:
            print(error)
    """
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "('empty', 'gru', 'linear', 'lstm', 'mlp', 'ridge', 'tcn', 'transformer')" in out
    assert "LinearModel(" in out
    assert 'registers no model of its own name: add @register("empty")' in out


IMPORTS = {
    "tradingbot_exp.models": "import tradingbot_exp.models as m; assert 'mlp' in m.model_names()",
    "tradingbot_exp.training": "import tradingbot_exp.training, tradingbot_exp.config.choices",
    "progress": "from tradingbot_exp.training import make_progress; make_progress('plain', 3)",
    "unknown name": (
        "from types import SimpleNamespace as C; from tradingbot_exp.models import build_model\n"
        "try: build_model(C(name='mpl'), 3)\n"
        "except Exception as e: assert 'mlp' in str(e)"
    ),
}


@pytest.mark.parametrize("code", IMPORTS.values(), ids=IMPORTS)
def test_names_are_known_without_loading_torch(code: str) -> None:
    check = "\nimport sys; print([m for m in ('torch', 'numpy', 'tqdm') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code + check], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def test_the_check_for_torch_can_fail() -> None:
    code = "from tradingbot_exp.training import train_model; import sys; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "True"
