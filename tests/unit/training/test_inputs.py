"""What is refused and how, and windows that are never spread out."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from support import in_ci
from torch import nn

from tradingbot_exp.errors import ConfigError, TradingBotError, TrainingError
from tradingbot_exp.models.lstm import LSTM
from tradingbot_exp.models.mlp import MLP
from tradingbot_exp.training import make_optimizer, train_model
from tradingbot_exp.training.inputs import as_tensor
from tradingbot_exp.training.predict import predict

CPU = torch.device("cpu")


def fit(model: nn.Module | None = None, **changes: Any) -> None:
    model = MLP(3, 1, [4]) if model is None else model
    parameters = list(model.parameters()) or list(nn.Linear(1, 1).parameters())
    arguments: dict[str, Any] = {
        "X_train": torch.zeros(10, 3),
        "y_train": torch.zeros(10),
        "X_val": torch.zeros(5, 3),
        "y_val": torch.zeros(5),
        "optimizer": make_optimizer("SGD", parameters, 0.01),
        "criterion": None,
        "epochs": 1,
        "device": "cpu",
    }
    train_model(model, **arguments | changes)


def nan_at(row: int) -> torch.Tensor:
    X = torch.zeros(10, 3)
    X[row, 1] = torch.nan
    return X


BAD: dict[str, tuple[dict[str, Any], type[TradingBotError], str]] = {
    "epochs": ({"epochs": 0}, ConfigError, "training.epochs must be 1 or more; got 0"),
    "batch": ({"batch_size": 0}, ConfigError, "training.batch_size must be 1 or more rows; got 0"),
    "epochs as text": ({"epochs": "10"}, ConfigError, "training.epochs must be a whole number; got '10'"),
    "half a batch": ({"batch_size": 0.5}, ConfigError, "training.batch_size must be a whole number; got 0.5"),
    "no optimizer": ({"optimizer": None}, TrainingError, r"optimizer is of type NoneType.*Adam\(model.parameters"),
    "a named loss": ({"criterion": "mse"}, TrainingError, "criterion is of type str.*None for the one that `loss`"),
    "no logger": ({"logger": print}, TrainingError, "logger is of type builtin_function.*an EnhancedMLflowLogger"),
    "patience": ({"early_stopping": 0}, ConfigError, "training.early_stopping must be .*or null for off; got 0"),
    "clip": ({"gradient_clip": -1.0}, ConfigError, "training.gradient_clip must be a number above 0.*; got -1.0"),
    "clip nan": ({"gradient_clip": float("nan")}, ConfigError, "training.gradient_clip must be .*; got nan"),
    "loss": ({"loss": "msee"}, ConfigError, "training.loss must be .*; got 'msee'.*Did you mean 'mse'"),
    "scheduler": ({"scheduler": "cosin"}, ConfigError, "training.scheduler must be .*Did you mean 'cosine'"),
    "device": ({"device": "gpu"}, ConfigError, "training.device must be one of auto, cpu, cuda, mps; got 'gpu'"),
    "precision": ({"precision": "fp16"}, ConfigError, "training.precision must be .*; got 'fp16'"),
    "empty train": ({"X_train": torch.zeros(0, 3), "y_train": torch.zeros(0)}, TrainingError, "X_train.*no"),
    "empty val": ({"X_val": torch.zeros(0, 3), "y_val": torch.zeros(0)}, TrainingError, "X_val.*nothing"),
    "rows": ({"y_train": torch.zeros(9)}, TrainingError, "X_train has 10 rows, but y_train has 9"),
    "X axes": ({"X_train": torch.zeros(10)}, TrainingError, r"X_train has the shape \(10,\); it has to be"),
    "y axes": ({"y_val": torch.zeros(5, 1, 1)}, TrainingError, r"y_val has the shape \(5, 1, 1\)"),
    "columns": ({"X_val": torch.zeros(5, 4)}, TrainingError, "only n may differ"),
    "two targets": ({"y_train": torch.zeros(10, 2)}, TrainingError, r"y_train .*\(10, 2\).*1 outputs"),
    "nan in X": ({"X_train": nan_at(4)}, TrainingError, "X_train holds NaN or infinity, first in row 4"),
    "inf in y": ({"y_val": torch.tensor([0, 0, torch.inf, 0, 0])}, TrainingError, "y_val holds NaN.*row 2"),
    "text": ({"X_train": np.full((10, 3), "a")}, TrainingError, "X_train has the type <U1"),
    "objects": ({"y_train": np.full(10, None)}, TrainingError, "y_train has the type object"),
    "complex": ({"X_train": torch.zeros(10, 3) * 1j}, TrainingError, "X_train has the type torch.complex64"),
    "bce": ({"y_train": torch.full((10,), 2.0), "loss": "bce"}, TrainingError, "y_train goes from 2 to 2"),
    "model width": ({"model": MLP(4, 1, [4])}, TrainingError, r"cannot take X_train of shape \(10, 3\)"),
    "model shape": ({"model": nn.Sequential(nn.Linear(3, 1), nn.Flatten(0), nn.Unflatten(0, (1, -1, 1)))},
                    TrainingError, r"The model gives \(1, 2, 1\) for 2 rows"),
    "model output": ({"model": nn.Sequential(nn.LSTM(3, 1))}, TrainingError, "The model gives a tuple"),
    "nothing to train": ({"model": nn.Sequential(nn.Flatten())}, TrainingError, "nothing to train"),
    "optimizer": (
        {"optimizer": torch.optim.SGD(nn.Linear(3, 1).parameters())},
        TrainingError,
        "holds none of the model's parameters",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "error", "message"), BAD.values(), ids=BAD)
def test_what_cannot_work_is_refused(changes: dict[str, Any], error: type[TradingBotError], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(**changes)


def test_the_arguments_above_are_fine_but_for_their_changes() -> None:
    fit()


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"model is of type list; expected a torch.nn.Module"):
        train_model([], *[None] * 6, 1)  # type: ignore[arg-type]


def test_lbfgs_is_refused() -> None:
    model = MLP(3, 1, [4])
    with pytest.raises(TrainingError, match="LBFGS"):
        fit(model, optimizer=torch.optim.LBFGS(model.parameters()))


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training\.optimizer must be .*; got 'Adan'.*Did you mean 'Adam'"):
        make_optimizer("Adan", [], 0.1)


def test_the_optimizer_is_fused_on_the_cpu() -> None:
    parameters = list(nn.Linear(2, 1).parameters())
    for name, fused in {"Adam": True, "AdamW": True, "SGD": True, "RMSprop": None}.items():
        group = make_optimizer(name, parameters, 0.1, 0.2).param_groups[0]
        assert (group.get("fused"), group["lr"], group["weight_decay"]) == (fused, 0.1, 0.2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused_with_what_is() -> None:
    with pytest.raises(ConfigError, match=r"training.device: 'cuda' is not there\. Available: .*cpu; or use auto"):
        fit(device="cuda")


def test_targets_cannot_broadcast_against_outputs() -> None:
    """(n,) against (n, 1) would be n x n pairs: the best fit would be the mean, with a loss near 1."""
    X = torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
    for model in (nn.Sequential(nn.Linear(1, 1)), nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))):
        for y in (X, X[:, 0]):
            optimizer = make_optimizer("Adam", model.parameters(), 0.1)
            history = train_model(model, X, y, X, y, optimizer, nn.MSELoss(), 20, seed=0)
            assert history.best_val_loss < 1e-3


def test_a_model_that_loses_an_axis_on_a_batch_of_one_is_caught() -> None:
    class Squeezing(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).squeeze()

    with pytest.raises(TrainingError, match=r"The model gives \(\) for targets of shape \(1,\)"):
        fit(Squeezing(3, 1), batch_size=9)


def windows_of(bars: np.ndarray, length: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(bars, length, axis=0).transpose(0, 2, 1)


def test_windows_share_the_memory_of_their_bars() -> None:
    bars = np.random.default_rng(0).standard_normal((1000, 10)).astype(np.float32)
    windows = windows_of(bars, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = as_tensor(windows, "X", torch.float32, CPU)
    assert tensor.untyped_storage().data_ptr() == bars.ctypes.data
    assert np.array_equal(tensor.numpy(), windows)


@pytest.mark.parametrize("part", [slice(None), slice(100, 900), slice(3, None, 2)])
def test_windows_of_another_type_are_converted_under_the_view(part: slice) -> None:
    bars = np.random.default_rng(0).standard_normal((1000, 10))
    windows = windows_of(bars, 60)[part]
    for given in (windows, torch.from_numpy(bars).unfold(0, 60, 1).transpose(1, 2)[part]):
        tensor = as_tensor(given, "X", torch.float32, CPU)
        assert tensor.shape == windows.shape
        assert tensor.untyped_storage().nbytes() <= bars.size * 4
        assert np.array_equal(tensor.numpy(), windows.astype(np.float32))


@pytest.mark.parametrize(
    "view",
    [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a.T, lambda a: a[::3, 1:], lambda a: a.astype(">f8"),
     lambda a: a.astype(np.int32), lambda a: a > 0, np.asfortranarray],
)  # fmt: skip
def test_any_numeric_array_arrives_as_it_is(view: Any) -> None:
    given = view(np.random.default_rng(0).standard_normal((30, 4)))
    tensor = as_tensor(given, "X", torch.float64, CPU)
    assert np.array_equal(tensor.numpy(), given.astype(np.float64))


@in_ci
def test_training_on_windows_never_holds_them_all() -> None:
    """100,000 windows of 240 bars by 8 features are 768 MB; the bars are 3 MB, a block 4, predict's 31."""
    code = """if True:
        import resource, numpy as np, torch
        from tradingbot_exp.models.linear import LinearModel
        from tradingbot_exp.training import make_optimizer, train_model
        from tradingbot_exp.training.predict import predict
        def fit(rows, dtype):
            bars = np.random.default_rng(0).standard_normal((rows + 239, 8)).astype(dtype)
            X = np.lib.stride_tricks.sliding_window_view(bars, 240, axis=0).transpose(0, 2, 1)
            y = np.zeros(rows)
            model = LinearModel(1920)
            optimizer = make_optimizer("Adam", model.parameters(), 1e-3)
            train_model(model, X, y, X, y, optimizer, None, 1, batch_size=512, device="cpu")
            predict(model, X)
        fit(9000, "f4")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fit(100_000, "f4")
        fit(100_000, "f8")
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert float(out) < 250, "MB more than for 9,000 windows"


def test_predict_gives_float64_and_restores_the_mode() -> None:
    model = MLP(6, 1, [4], dropout=0.5)
    model.layers[0].eval()
    X = np.random.default_rng(0).standard_normal((11, 3, 2))
    forecast = predict(model, X, batch_size=4)
    assert forecast.shape == (11,)
    assert forecast.dtype == np.float64
    assert [layer.training for layer in model.layers] == [False, True, True, True]
    with torch.no_grad():
        expected = model.eval()(torch.tensor(X, dtype=torch.float32))[:, 0]
    np.testing.assert_allclose(forecast, expected, rtol=1e-6)
    assert predict(MLP(6, 2, [4]), X).shape == (11, 2)
    assert predict(nn.Sequential(nn.Flatten(), nn.Linear(6, 1), nn.Flatten(0)), X).shape == (11,)


def test_predict_refuses_what_the_model_cannot_take() -> None:
    model = LSTM(3, 1, [4])
    with pytest.raises(TrainingError, match=r"cannot take X of shape \(5, 4\)"):
        predict(model, np.zeros((5, 4)))
    with pytest.raises(TrainingError, match=r"X has the shape \(0, 3\)"):
        predict(model, np.zeros((0, 3)))
    with pytest.raises(TrainingError, match="batch_size=0"):
        predict(model, np.zeros((5, 3)), batch_size=0)
