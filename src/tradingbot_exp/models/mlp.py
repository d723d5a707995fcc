"""The multilayer perceptron: blocks of Linear, activation and dropout, then a Linear layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tradingbot_exp.models.registry import activation_class, register


@register("mlp")
class MLP(nn.Module):
    """A multilayer perceptron over the flattened input.

    Parameters
    ----------
    input_dim : int
        L·F, the values of one input.
    output_dim : int
        The values of one output.
    hidden_layers : sequence of int
        The width of each hidden layer. Empty: a linear model.
    activation : str
        A name of `tradingbot_exp.models.ACTIVATIONS`.
    dropout : float
        The chance that a hidden value is zeroed in training; 0 leaves the layers out.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int = 1,
        hidden_layers: Sequence[int] = (64, 32),
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = input_dim
        for size in hidden_layers:
            layers += [nn.Linear(width, size), activation_class(activation)()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            width = size
        layers.append(nn.Linear(width, output_dim))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, input_dim) or (n, L, F) to (n, output_dim)."""
        out: Tensor = self.layers(x.flatten(1))
        return out
