"""From what a caller has (arrays, tensors, sliding windows) to checked tensors on the device."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tradingbot_exp.config.losses import Loss
from tradingbot_exp.errors import TrainingError
from tradingbot_exp.models._modes import evaluating

BLOCK = 1 << 20
"""Values that are gathered from the data at once: 4 MB of float32."""


def as_tensor(values: Any, name: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Turn an array or a tensor into a tensor of a type and device, without spreading windows out.

    Parameters
    ----------
    values : array-like
        Numbers. Overlapping windows (``sliding_window_view``, ``unfold``, ``as_strided``), read-only or not,
        stay a view: what lies under them is converted, not each window.
    name : str
        How messages call it.

    Returns
    -------
    Tensor
        Shares memory with `values` where type and device are right already.

    Raises
    ------
    TrainingError
        If it holds no numbers.
    """
    if isinstance(values, Tensor):
        tensor = values.detach()
    else:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise TrainingError(f"{name} has the type {array.dtype}; it has to hold numbers.")
        if array.dtype.byteorder not in "=|" or any(stride < 0 for stride in array.strides):
            array = array.astype(array.dtype.newbyteorder("="), order="C")  # torch knows neither
        with warnings.catch_warnings():
            # The tensor shares a read-only array's memory, and nothing here writes to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writ", category=UserWarning)
            tensor = torch.from_numpy(array)
    if tensor.is_complex():
        raise TrainingError(f"{name} has the type {tensor.dtype}; it has to hold real numbers.")
    extent = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    if 0 < extent < tensor.numel():
        under = tensor.as_strided((extent,), (1,)).to(device, dtype)
        return under.as_strided(tensor.shape, tensor.stride(), under.storage_offset())
    return tensor.to(device, dtype)


class Data(NamedTuple):
    """Inputs of shape (n, F) or (n, L, F), targets of the shape of the model's output, and what some losses need.

    Attributes
    ----------
    X, y, X_val, y_val : Tensor
    returns, returns_val : Tensor or None
        One-bar log returns, of the shape of the targets, (n, 1) where these have several columns.
    days, days_val : Tensor of int, shape (n,), or None
        Which date each row is of, from 0, ascending by at most 1; None where each is of another.
    starts : Tensor of int, shape (batches + 1,), or None
        The first row of each batch, and the number of rows: see `tradingbot_exp.training.batches.in_order`.
    """

    X: Tensor
    y: Tensor
    X_val: Tensor
    y_val: Tensor
    returns: Tensor | None = None
    returns_val: Tensor | None = None
    days: Tensor | None = None
    days_val: Tensor | None = None
    starts: Tensor | None = None


def prepare_data(
    X_train: Any, y_train: Any, X_val: Any, y_val: Any, *, dtype: torch.dtype, device: torch.device
) -> Data:
    """Convert and check the two sets, each by itself and against each other.

    Raises
    ------
    TrainingError
        If one is empty, has the wrong shape, does not fit another, or holds NaN or infinity.
    """
    data = Data(
        as_tensor(X_train, "X_train", dtype, device),
        as_tensor(y_train, "y_train", dtype, device),
        as_tensor(X_val, "X_val", dtype, device),
        as_tensor(y_val, "y_val", dtype, device),
    )
    for X, y, part in ((data.X, data.y, "train"), (data.X_val, data.y_val, "val")):
        if X.ndim not in (2, 3):
            raise TrainingError(f"X_{part} has the shape {_shape(X)}; it has to be (n, F) or (n, L, F).")
        if y.ndim not in (1, 2):
            raise TrainingError(f"y_{part} has the shape {_shape(y)}; it has to be (n,) or (n, 1).")
        if len(X) != len(y):
            raise TrainingError(f"X_{part} has {len(X)} rows, but y_{part} has {len(y)}: one target a row.")
        if not X.numel() or not y.numel():
            raise TrainingError(f"X_{part} has the shape {_shape(X)}: there is nothing in it to use.")
        for values, name in ((X, f"X_{part}"), (y, f"y_{part}")):
            _check_finite(values, name)
    if data.X.shape[1:] != data.X_val.shape[1:]:
        raise TrainingError(
            f"X_train has the shape {_shape(data.X)} and X_val {_shape(data.X_val)}: only n may differ."
        )
    return data


def with_market(data: Data, loss: Loss, returns: tuple[Any, Any], dates: tuple[Any, Any]) -> Data:
    """Add what the loss takes of one-bar returns and of dates, each of the train and the validation rows, or None.

    Raises
    ------
    TrainingError
        They do not fit the rows, are not finite, or not in order.
    """
    found: dict[str, Any] = {}
    for part, y, given, when in zip(("train", "val"), (data.y, data.y_val), returns, dates, strict=True):
        end = "" if part == "train" else "_val"
        if given is not None and (loss.takes_returns or loss.family == "return"):
            name = f"returns_{part}"
            values = as_tensor(given, name, y.dtype, y.device)
            if values.numel() != len(y) or len(values) != len(y):
                raise TrainingError(f"{name} has the shape {_shape(values)}; it has to be ({len(y)},).")
            _check_finite(values, name)
            found[f"returns{end}"] = values.reshape(y.shape if y.numel() == len(y) else (-1, 1))
        if when is not None and loss.in_order:
            found[f"days{end}"] = _days(np.asarray(when), f"dates_{part}", len(y)).to(y.device)
    return data._replace(**found)


def _days(dates: NDArray[Any], name: str, rows: int) -> Tensor:
    """Count the dates of rows that are in their order, from 0."""
    if dates.shape != (rows,):
        raise TrainingError(f"{name} has the shape {dates.shape}; it has to be ({rows},).")
    if not (dates[1:] >= dates[:-1]).all():
        raise TrainingError(f"{name} are not in order: rows have to be sorted by date.")
    return torch.from_numpy(np.cumsum(np.append(False, dates[1:] != dates[:-1]), dtype=np.int64))


def _check_finite(values: Tensor, name: str) -> None:
    rows = max(1, BLOCK // values[0].numel())
    for start in range(0, len(values), rows):
        good = torch.isfinite(values[start : start + rows]).flatten(1 if values.ndim > 1 else 0)
        if not good.all():
            first = start + int((~(good.all(1) if good.ndim > 1 else good)).nonzero()[0])
            raise TrainingError(f"{name} holds NaN or infinity, first in row {first} (counted from 0).")


def check_targets(data: Data, loss: Loss) -> None:
    """Refuse targets that a loss for probabilities cannot use.

    Raises
    ------
    TrainingError
        If one is below 0 or above 1.
    """
    for y, name in ((data.y, "y_train"), (data.y_val, "y_val")):
        if loss.logits and (y.min() < 0 or y.max() > 1):
            raise TrainingError(
                f"{name} goes from {float(y.min()):g} to {float(y.max()):g}, but binary cross-entropy needs "
                "0 to 1: use data.target=direction, or another training.loss."
            )


def match_targets(model: nn.Module, data: Data) -> Data:
    """Return the targets the shape of the model's output, so that no loss can broadcast (n,) against (n, 1).

    Raises
    ------
    TrainingError
        If the model cannot take the input, or its output and the targets differ in more than an axis of 1.
    """
    probe = data.X[:2]
    try:
        with evaluating(model):
            out = model(probe)
    except (RuntimeError, ValueError, IndexError) as error:
        raise TrainingError(f"The model cannot take X_train of shape {_shape(data.X)}: {error}") from error
    if not isinstance(out, Tensor):
        raise TrainingError(f"The model gives a {type(out).__name__}; it has to give one tensor.")
    if out.ndim not in (1, 2) or len(out) != len(probe):
        raise TrainingError(
            f"The model gives {tuple(out.shape)} for {len(probe)} rows; it has to be (n,) or (n, output_dim)."
        )
    return data._replace(y=_match(data.y, out, "y_train", data.X), y_val=_match(data.y_val, out, "y_val", data.X_val))


def _match(y: Tensor, out: Tensor, name: str, X: Tensor) -> Tensor:
    outputs = out.shape[1:].numel()
    if y.shape[1:].numel() != outputs:
        raise TrainingError(
            f"{name} has the shape {_shape(y)}, but the model gives {outputs} outputs a row for X of shape "
            f"{_shape(X)}: set model.output_dim, or give one target for each output."
        )
    return y.reshape(-1, *out.shape[1:])


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
