"""A residual network."""

from collections.abc import Sequence

from torch import Tensor, nn

from tradingbot_exp.models import register
from tradingbot_exp.models.registry import activation_class


@register("residual")
class ResidualNetwork(nn.Module):
    """Blocks of a linear layer whose input is added to its output; all are as wide as the first hidden layer.

    Parameters
    ----------
    input_dim, output_dim, hidden_layers, activation, dropout
        From the block `model`, as every model gets them.
    blocks : int
        From `model.options`.
    """

    def __init__(
        self,
        *,
        input_dim: int,
        output_dim: int,
        hidden_layers: Sequence[int],
        activation: str,
        dropout: float,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        width = hidden_layers[0]
        self.enter = nn.Linear(input_dim, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(activation_class(activation)(), nn.Dropout(dropout), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.leave = nn.Linear(width, output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, input_dim), or (n, bars, features), to (n, output_dim)."""
        hidden = self.enter(x.flatten(1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.leave(hidden)
