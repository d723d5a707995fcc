"""The linear model: what a network has to beat."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tradingbot_exp.errors import ConfigError
from tradingbot_exp.models.registry import register


@register("linear")
class LinearModel(nn.Module):
    """One Linear layer over the flattened input.

    Parameters
    ----------
    input_dim : int
        L·F, the values of one input.
    output_dim : int
        The values of one output.
    hidden_layers : sequence of int
        Has to be empty.
    activation : str
        Has no effect: there is no hidden layer.
    dropout : float
        Has to be 0.

    Raises
    ------
    ConfigError
        If there are hidden layers or dropout, which this model would have to ignore.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int = 1,
        hidden_layers: Sequence[int] = (),
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(hidden_layers):
            raise ConfigError(
                f"model.hidden_layers: {list(hidden_layers)} given, but a linear model has none. "
                "Set model.hidden_layers=[] or choose model=mlp."
            )
        if dropout:
            raise ConfigError(
                f"model.dropout: {dropout} given, but a linear model has no hidden values to drop. "
                "Set model.dropout=0 or choose model=mlp."
            )
        self.layers = nn.Sequential(nn.Linear(input_dim, output_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, input_dim) or (n, L, F) to (n, output_dim)."""
        out: Tensor = self.layers(x.flatten(1))
        return out
