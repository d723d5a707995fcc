"""A squared error that minds the side, and one that minds what is to be had."""

import torch
from torch import Tensor

from tradingbot_exp.plugins import loss


@loss("wrong_side")
def wrong_side(forecast: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, three times as much where forecast and target lie on different sides of zero."""
    error = (forecast - target).square()
    return torch.where(forecast * target < 0, 3 * error, error).mean()


@loss("dear_errors", in_order=True)
def dear_errors(forecast: Tensor, target: Tensor, returns: Tensor | None) -> Tensor:
    """Mean squared error, each row weighted by how far the market moves over its next bar."""
    error = (forecast - target).square()
    if returns is None:
        return error.mean()
    moves = returns.abs()
    return (error * moves).sum() / moves.sum().clamp(min=1e-12)
