"""The LSTM: stacked recurrent layers over the last L bars, then a Linear layer on the last step."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from tradingbot_exp.models._recurrent import RecurrentModel
from tradingbot_exp.models.registry import register


@register("lstm")
class LSTM(RecurrentModel):
    """Stacked LSTM layers, each of its own width, read at the last step.

    Parameters
    ----------
    input_dim, output_dim, hidden_layers, dropout
        See `tradingbot_exp.models._recurrent.RecurrentModel`.
    activation : str
        Has no effect: an LSTM's gates have their own.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int = 1,
        hidden_layers: Sequence[int] = (64,),
        activation: str = "tanh",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(nn.LSTM, input_dim, output_dim, hidden_layers, dropout)
