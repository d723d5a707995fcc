"""The TCN: dilated causal convolutions over the last L bars (Bai, Kolter & Koltun 2018), without weight norm.

Read at the last bar alone, it needs of each block but every second value of the block before, counted from the last:
with them left out, a dilated convolution is a plain one, and the layers take half the time for the same output.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from tradingbot_exp.errors import ConfigError
from tradingbot_exp.models.registry import activation_class, register

_KERNEL = 3
"""Bars that a convolution looks at."""


class _Convolution(nn.Linear):
    """A causal convolution, as a product with the last three values of each bar."""

    def __init__(self, before: int, width: int, step: int) -> None:
        super().__init__(_KERNEL * before, width)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, L, before) to every `step`-th bar, the last among them, of (n, L, width); before the first is 0."""
        padded, last = functional.pad(x, (0, 0, _KERNEL - 1, 0)), x.shape[1] - 1
        return super().forward(
            torch.cat(
                [padded[:, shift + last % self.step : shift + last + 1 : self.step] for shift in range(_KERNEL)], -1
            )
        )


class _Block(nn.Module):
    """Two convolutions, each with activation and dropout, beside what comes in."""

    def __init__(self, before: int, width: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.first, self.second = _Convolution(before, width, 1), _Convolution(width, width, 2)
        self.beside = nn.Linear(before, width) if before != width else nn.Identity()
        self.activation = activation_class(activation)()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, L, before) to every second bar of (n, L, width), the last among them."""
        h = self.dropout(self.activation(self.first(x)))
        h = self.dropout(self.activation(self.second(h)))
        out: Tensor = self.activation(h + self.beside(x[:, (x.shape[1] - 1) % 2 :: 2]))
        return out


@register("tcn")
class TCN(nn.Module):
    """Residual blocks of dilated causal convolutions, read at the last bar.

    Block i of `hidden_layers` has the dilation 2^i, so that the last bar sees 4 · (2^blocks − 1) bars before its own.

    Parameters
    ----------
    input_dim : int
        F, the features of one bar.
    output_dim : int
        The values of one output.
    hidden_layers : sequence of int
        The channels of each block; at least one.
    activation : str
        A name of `tradingbot_exp.models.ACTIVATIONS`.
    dropout : float
        The chance that a value behind a convolution is zeroed in training.

    Raises
    ------
    ConfigError
        If there is no hidden layer.
    """

    sequential = True

    def __init__(
        self,
        input_dim: int,
        output_dim: int = 1,
        hidden_layers: Sequence[int] = (32, 32, 32),
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not len(hidden_layers):
            raise ConfigError("model.hidden_layers: [] given, but a tcn needs a block, e.g. [32].")
        sizes = [input_dim, *hidden_layers]
        self.blocks = nn.Sequential(*(_Block(*each, activation, dropout) for each in pairwise(sizes)))
        self.head = nn.Linear(sizes[-1], output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, L, F), or (n, F) for L = 1, to (n, output_dim)."""
        if x.ndim == 2:
            x = x.unsqueeze(1)
        out: Tensor = self.head(self.blocks(x)[:, -1])
        return out
