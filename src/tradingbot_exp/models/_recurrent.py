"""What the recurrent models have in common: layers of one cell each, and a Linear layer on the last step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from tradingbot_exp.errors import ConfigError


class RecurrentModel(nn.Module):
    """Stacked recurrent layers, each of its own width, read at the last step.

    Parameters
    ----------
    input_dim : int
        F, the features of one bar.
    output_dim : int
        The values of one output.
    hidden_layers : sequence of int
        The width of each layer; at least one.
    activation : str
        Has no effect: the gates have their own.
    dropout : float
        The chance that a value which a layer hands on is zeroed in training.

    Raises
    ------
    ConfigError
        If there is no hidden layer.
    """

    sequential = True
    kind: ClassVar[type[nn.LSTM | nn.GRU]]
    """Of a layer."""

    def __init__(
        self,
        input_dim: int,
        output_dim: int = 1,
        hidden_layers: Sequence[int] = (64,),
        activation: str = "tanh",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not len(hidden_layers):
            raise ConfigError("model.hidden_layers: [] given, but a recurrent model needs a layer, e.g. [64].")
        sizes = [input_dim, *hidden_layers]
        self.layers = nn.ModuleList(self.kind(size, width, batch_first=True) for size, width in pairwise(sizes))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(sizes[-1], output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, L, F), or (n, F) for L = 1, to (n, output_dim)."""
        if x.ndim == 2:
            x = x.unsqueeze(1)
        for layer in self.layers:
            x = self.dropout(layer(x)[0])
        out: Tensor = self.head(x[:, -1])
        return out
