"""Forecasts of a trained network, as numpy numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tradingbot_exp.errors import TrainingError
from tradingbot_exp.models._modes import evaluating
from tradingbot_exp.training.inputs import as_tensor
from tradingbot_exp.training.threads import PASS_WORTH, sharing, size_of


def predict(model: nn.Module, X: Any, batch_size: int = 4096) -> NDArray[np.float64]:
    """Run a model in evaluation mode, without gradients, and leave it in the mode it was in.

    Parameters
    ----------
    model : nn.Module
        Used on its own device, in its own precision.
    X : array-like of shape (n, F) or (n, L, F)
        Windows may be strided views; they are spread out `batch_size` at a time.
    batch_size : int
        Rows a pass; at least 1.

    Returns
    -------
    ndarray of float64, shape (n,), or (n, outputs) for a model of more than one output
        The model's raw output: logits, if it was trained with ``bce``.

    Raises
    ------
    TrainingError
        If X is empty or no array of numbers, or the model cannot take it.
    """
    if batch_size < 1:
        raise TrainingError(f"batch_size={batch_size} given; it has to be at least 1.")
    parameter = next(model.parameters(), torch.zeros(()))
    inputs = as_tensor(X, "X", parameter.dtype, parameter.device)
    if inputs.ndim not in (2, 3) or not inputs.numel():
        shape = tuple(inputs.shape)
        raise TrainingError(f"X has the shape {shape}; it has to be (n, F) or (n, L, F), and not empty.")
    forecast: NDArray[np.float64] = np.empty(0)
    try:
        with evaluating(model), sharing(_threads(model, inputs[:batch_size])):
            for start in range(0, len(inputs), batch_size):
                out = model(inputs[start : start + batch_size])
                if start == 0:  # many small arrays would sit in freed windows' memory and keep it
                    forecast = np.empty((len(inputs), *out.shape[1:]))
                forecast[start : start + batch_size] = out.cpu().double().numpy()
    except (RuntimeError, ValueError, IndexError) as error:
        raise TrainingError(f"The model cannot take X of shape {tuple(inputs.shape)}: {error}") from error
    return forecast[:, 0] if forecast.shape[1:] == (1,) else forecast


def _threads(model: nn.Module, batch: torch.Tensor) -> int:
    """Return how many threads share a pass; on busy cores a small one would take ten times as long on several."""
    worth = size_of(model) * batch[..., 0].numel() >= PASS_WORTH
    return torch.get_num_threads() if worth else 1
