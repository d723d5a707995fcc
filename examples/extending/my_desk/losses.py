"""A squared error that minds the side."""

import torch
from torch import Tensor

from tradingbot_exp.plugins import loss


@loss("wrong_side")
def wrong_side(forecast: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, three times as much where forecast and target lie on different sides of zero."""
    error = (forecast - target).square()
    return torch.where(forecast * target < 0, 3 * error, error).mean()
